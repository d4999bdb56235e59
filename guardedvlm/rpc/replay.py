"""Idempotency: what a repeated request_id gets back.

Key: (tenant, caller, its roles, request_id), with a keyed digest of the payload. Who comes with other roles, as under a
token of less scope, makes a request of its own, and may be refused what the first was given. Held: released output, in
RAM, for at most ten minutes, and of one tenant no more than its part. A second call that comes while the first runs
waits for it. A call that failed leaves nothing behind, so that it can be tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from guardedvlm.core.tenant import Caller
from guardedvlm.errors import Conflict, Reason

Output = TypeVar("Output")
_Key: TypeAlias = tuple[str, str, tuple[str, ...], str]

KEEP_SECONDS = 600.0
MAX_ENTRIES = 10_000
MAX_BYTES = 256 * 2**20
"""Released output that is held in all; the oldest of the tenant that holds most goes first."""
TENANT_PART = 2
"""One tenant holds at most this part (a half) of the entries and bytes."""
LARGEST = MAX_BYTES // 4
"""A larger output is not held: it would drive out those of every other caller."""


@dataclass(slots=True)
class _Entry:
    digest: str
    output: asyncio.Future[Any]
    size: int = 0
    until: float = float("inf")


class _Held:
    """Of one tenant, in the order in which they ended; `size` in bytes."""

    def __init__(self) -> None:
        self.entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self.size = 0

    def add(self, key: _Key, entry: _Entry) -> None:
        self.entries[key] = entry
        self.size += entry.size

    def drop_oldest(self) -> _Key:
        key, entry = self.entries.popitem(last=False)
        self.size -= entry.size
        return key

    def is_due(self, now: float) -> bool:
        """Whether the oldest has to go for itself: too old, or more than the tenant's part."""
        oldest = next(iter(self.entries.values()), None)
        is_over = self.size > MAX_BYTES // TENANT_PART or len(self.entries) > max(1, MAX_ENTRIES // TENANT_PART)
        return oldest is not None and (oldest.until <= now or is_over)


class Replays:
    """Outputs by request_id. `size_of` gives an output's bytes, `clock` seconds; the digest covers its type."""

    def __init__(self, size_of: Callable[[Any], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._size_of = size_of
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._held: dict[str, _Held] = {}  # by tenant: of them, those that are over

    async def once(self, caller: Caller, request_id: str, digest: str, make: Callable[[], Awaitable[Output]]) -> Output:
        """The output of the first call with this id, made by `make` when there is none.

        Raises Conflict(REQUEST_ID_REUSED) when the id was used with another `digest`.
        """
        if not request_id:
            return await make()
        self._forget()
        key = (caller.tenant, caller.name, tuple(sorted(role.value for role in caller.roles)), request_id)
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
        else:
            self._held.setdefault(caller.tenant, _Held()).add(key, entry)
        self._forget()
        return output

    def check_integrity(self) -> None:
        """Raise AssertionError when a bound is broken."""
        done = {key: entry for key, entry in self._entries.items() if entry.output.done()}
        assert sum(entry.size for entry in done.values()) <= MAX_BYTES
        assert len(done) <= MAX_ENTRIES
        assert all(entry.until <= self._clock() + KEEP_SECONDS for entry in done.values())
        assert done == {key: entry for held in self._held.values() for key, entry in held.entries.items()}
        assert all(held.size == sum(entry.size for entry in held.entries.values()) for held in self._held.values())

    def _forget(self) -> None:
        """Drop what is too old, then the oldest until the bounds hold; calls that still run stay."""
        now = self._clock()
        for tenant, held in list(self._held.items()):
            while held.is_due(now):
                del self._entries[held.drop_oldest()]
            if not held.entries:
                del self._held[tenant]
        while sum(held.size for held in self._held.values()) > MAX_BYTES:
            del self._entries[max(self._held.values(), key=lambda held: held.size).drop_oldest()]
        while sum(len(held.entries) for held in self._held.values()) > MAX_ENTRIES:
            del self._entries[max(self._held.values(), key=lambda held: len(held.entries)).drop_oldest()]
