"""The ledger: `append` returns when the record is durable. No answer is released before that.

Group commit: one thread takes every entry that waits, writes them in one go and syncs once, so that a sync is shared by
the requests that are in flight. There is no delay to collect more: while one batch syncs, the next one gathers.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.record import Entry, Record
from guardedvlm.audit.writer import MAX_BATCH, SEGMENT_BYTES, ChainWriter, Head
from guardedvlm.errors import Reason, Unavailable

T = TypeVar("T")

APPEND_SECONDS = 10.0
"""Without a durable record for so long a request is refused: a disk that hangs is one that cannot be written."""
CLOSE_SECONDS = 15.0
"""How long the end waits for the writer."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry and the future of the task that waits for it."""

    entry: Entry
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Record]


@dataclass(frozen=True, slots=True)
class _Probe:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[bool]


class Ledger:
    """One log: an append-only, hash-chained record of what the service did, in `folder` (`audit.logs` holds several).

    One process writes a folder. `origin` is the replica's pseudonym (`AuditKey.pseudonym(Purpose.REPLICA, ...)`).
    Raises ConfigurationError as `ChainWriter` does. Call `close` at the end; a crash instead loses nothing that was
    acknowledged.
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keys: Callable[[], PublicKeys] | None = None,
    ) -> None:
        self._writer = ChainWriter(folder, origin, segment_bytes=segment_bytes, keys=keys)
        self._queue: queue.SimpleQueue[_Waiting | _Probe | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # between `append` and `close`: nothing is queued behind the end
        self._closed = False
        self.folder = folder
        self.origin = origin
        self.appended = 1  # the OPENED record
        self.failures = 0
        self._since: float | None = None  # when the write began that runs
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """False from the first record that could not be made durable until a probe succeeds, while one write takes too
        long, and after `close`."""
        since = self._since
        is_stalled = since is not None and time.monotonic() - since >= APPEND_SECONDS
        return self._writer.healthy and not self._closed and not is_stalled

    @property
    def head(self) -> Head:
        """The log as far as it is durable. Any thread may ask."""
        return self._writer.head

    async def append(self, entry: Entry) -> Record:
        """Return the record of `entry` once it is on disk. Raises Unavailable(LEDGER_UNWRITABLE), also when that takes
        longer than APPEND_SECONDS.

        A task that is cancelled while it waits, or gives up, does not take its entry back: the record may be written.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(entry, loop, loop.create_future())
        self._put(waiting)
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                return await waiting.future
        except TimeoutError:
            raise Unavailable(Reason.LEDGER_UNWRITABLE) from None

    async def probe(self) -> bool:
        """Try to write again after a failure; True when the ledger is healthy."""
        loop = asyncio.get_running_loop()
        probe = _Probe(loop, loop.create_future())
        try:
            self._put(probe)
        except Unavailable:
            return False
        return await probe.future

    def drain(self) -> None:
        """Write what waits; later appends are refused. The folder is still this ledger's. A write that hangs is given
        up after CLOSE_SECONDS."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def close(self) -> None:
        """`drain`, then give the folder back. A second call does nothing."""
        self.drain()
        if (
            not self._thread.is_alive()
        ):  # else its descriptors are in use, and the folder is given back with the process
            self._writer.close()

    def _put(self, item: _Waiting | _Probe) -> None:
        with self._gate:
            if self._closed:
                raise Unavailable(Reason.LEDGER_UNWRITABLE)
            self._queue.put(item)

    def _run(self) -> None:
        """Body of the writer thread: one batch a turn until the end is queued."""
        end = False
        while not end:
            batch, probes, end = self._gather()
            self._since = time.monotonic()
            if batch:
                self._commit(batch)
            for probe in probes:
                _settle(probe.loop, [_setter(probe.future, self._writer.mend())])
            self._since = None

    def _gather(self) -> tuple[list[_Waiting], list[_Probe], bool]:
        """Wait for one item, then take what else is there."""
        batch: list[_Waiting] = []
        probes: list[_Probe] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, probes, True
            if isinstance(item, _Probe):
                probes.append(item)
            else:
                batch.append(item)
            if len(batch) >= MAX_BATCH:
                return batch, probes, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, probes, False

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            records = self._writer.commit([waiting.entry for waiting in batch])
        except Exception:  # whatever it was: nobody may go on without a record, and the thread must live
            self._writer.healthy = False
            self.failures += len(batch)
            _settle_all(batch, [_failer(waiting.future) for waiting in batch])
            return
        self.appended += len(records)
        _settle_all(batch, [_setter(one.future, record) for one, record in zip(batch, records, strict=True)])


def _settle_all(batch: Sequence[_Waiting], calls: Sequence[Callable[[], None]]) -> None:
    """Wake the tasks of a batch with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for waiting, call in zip(batch, calls, strict=True):
        by_loop.setdefault(waiting.loop, []).append(call)
    for loop, some in by_loop.items():
        _settle(loop, some)


def _settle(loop: asyncio.AbstractEventLoop, calls: Sequence[Callable[[], None]]) -> None:
    def run() -> None:
        for call in calls:
            call()

    try:
        loop.call_soon_threadsafe(run)
    except RuntimeError:
        return  # the loop was closed: nobody waits there any more


def _setter(future: asyncio.Future[T], value: T) -> Callable[[], None]:
    def call() -> None:
        if not future.done():
            future.set_result(value)

    return call


def _failer(future: asyncio.Future[Record]) -> Callable[[], None]:
    def call() -> None:
        if not future.done():
            future.set_exception(Unavailable(Reason.LEDGER_UNWRITABLE))

    return call
