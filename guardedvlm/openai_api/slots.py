"""What this process takes at once, and of that each caller's part: no token keeps the others out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter
from contextlib import AsyncExitStack
from typing import Literal

from guardedvlm.errors import Overloaded, Reason

WAIT_SECONDS = 10.0
"""For a slot; then the caller comes back."""
RETRY_SECONDS = 5.0
PART = 4
"""A caller has at most this part of all slots, and at least one."""


class Slots:
    """`most` requests at a time, `most // PART` of one token. Who waits for their own part keeps no other waiting."""

    def __init__(self, most: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._each = max(1, most // PART)
        self._key = secrets.token_bytes(32)
        self._parts: dict[bytes, asyncio.Semaphore] = {}
        self._requests = Counter[bytes]()  # of those whose part is there

    async def take(self, token: str, held: AsyncExitStack) -> Literal[True]:
        """Put a slot into `held`, which lets it go. Raises Overloaded(QUEUE_FULL) after WAIT_SECONDS."""
        name = hmac.digest(self._key, token.encode(), hashlib.sha256)
        own = self._parts.setdefault(name, asyncio.Semaphore(self._each))
        self._requests[name] += 1
        held.callback(self._leave, name)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await held.enter_async_context(own)
                await held.enter_async_context(self._all)
        except TimeoutError:
            full = Overloaded(Reason.QUEUE_FULL)
            full.retry_after = RETRY_SECONDS
            raise full from None
        return True

    def _leave(self, name: bytes) -> None:
        """Keep nothing of a caller who has no request any more."""
        self._requests[name] -= 1
        if not self._requests[name]:
            del self._requests[name], self._parts[name]
