"""What a streaming call sends while it works: released messages, which a replay gives again, and passing ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

M = TypeVar("M")


class Outbox(Generic[M]):
    """Messages of one call in the order in which they were made."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[M | None] = asyncio.Queue()
        self._released: list[M] = []

    @property
    def released(self) -> tuple[M, ...]:
        """Every released message so far."""
        return tuple(self._released)

    def release(self, message: M) -> None:
        """Send a message that belongs to the output."""
        self._released.append(message)
        self._waiting.put_nowait(message)

    def tell(self, message: M) -> None:
        """Send a message that is worth nothing later."""
        self._waiting.put_nowait(message)

    def close(self) -> None:
        """Nothing comes any more."""
        self._waiting.put_nowait(None)

    async def messages(self) -> AsyncIterator[M]:
        """What is sent, until `close`."""
        while (message := await self._waiting.get()) is not None:
            yield message
