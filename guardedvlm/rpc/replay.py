"""Idempotency: what a repeated request_id gets back.

Key: (tenant, caller, request_id), with a keyed digest of the payload. Held: released output only, in RAM, for at most
ten minutes. A second call that comes while the first runs waits for it. A call that failed leaves nothing behind, so
that it can be tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from guardedvlm.core.tenant import Caller
from guardedvlm.errors import Conflict, Reason

Output = TypeVar("Output")

KEEP_SECONDS = 600.0
MAX_ENTRIES = 10_000
MAX_BYTES = 256 * 2**20
"""Released output that is held in all; the oldest goes first."""
LARGEST = MAX_BYTES // 4
"""A larger output is not held: it would drive out those of every other caller."""


@dataclass(slots=True)
class _Entry:
    digest: str
    output: asyncio.Future[Any]
    size: int = 0
    until: float = field(default=float("inf"))


class Replays:
    """Outputs by request_id. `size_of` gives an output's bytes, `clock` seconds; the digest covers its type."""

    def __init__(self, size_of: Callable[[Any], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._size_of = size_of
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str, str], _Entry] = OrderedDict()

    async def once(self, caller: Caller, request_id: str, digest: str, make: Callable[[], Awaitable[Output]]) -> Output:
        """The output of the first call with this id, made by `make` when there is none.

        Raises Conflict(REQUEST_ID_REUSED) when the id was used with another `digest`.
        """
        if not request_id:
            return await make()
        self._forget()
        key = (caller.tenant, caller.name, request_id)
        while (entry := self._entries.get(key)) is not None:
            if entry.digest != digest:
                raise Conflict(Reason.REQUEST_ID_REUSED)
            try:
                return cast(Output, await asyncio.shield(entry.output))
            except asyncio.CancelledError:
                if not entry.output.cancelled():
                    raise  # this caller was cancelled, not the first one
            # The first call was cancelled: this one becomes the first.
        entry = _Entry(digest, asyncio.get_running_loop().create_future())
        self._entries[key] = entry
        try:
            output = await make()
        except BaseException as failure:
            del self._entries[key]
            if isinstance(failure, Exception):
                entry.output.set_exception(failure)
                entry.output.exception()  # seen: there may be nobody who waits
            else:
                entry.output.cancel()
            raise
        entry.size, entry.until = self._size_of(output), self._clock() + KEEP_SECONDS
        entry.output.set_result(output)
        if entry.size > LARGEST:
            del self._entries[key]
        self._forget()
        return output

    def check_integrity(self) -> None:
        """Raise AssertionError when a bound is broken."""
        held = [entry for entry in self._entries.values() if entry.output.done()]
        assert sum(entry.size for entry in held) <= MAX_BYTES
        assert len(held) <= MAX_ENTRIES
        assert all(entry.until <= self._clock() + KEEP_SECONDS for entry in held)

    def _forget(self) -> None:
        """Drop what is too old, then the oldest until the bounds hold; calls that still run stay."""
        now = self._clock()
        done = [(key, entry) for key, entry in self._entries.items() if entry.output.done()]
        size = sum(entry.size for _, entry in done)
        for index, (key, entry) in enumerate(done):
            if entry.until > now and size <= MAX_BYTES and len(done) - index <= MAX_ENTRIES:
                continue
            size -= entry.size
            del self._entries[key]
