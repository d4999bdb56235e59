"""Writes the checkpoints of a replica's logs: every N records or T seconds, and at the close.

One thread for all logs, beside the writers: neither a slow signer nor a sink that hangs holds up a request. A
checkpoint goes to the log's own file first and then to the sink. While the sink fails, the newest one of each log waits
(its root covers those before it) and is tried again; after a bound the replica is no longer ready, because from then on
a cut ledger would go unnoticed for too long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from guardedvlm.audit.checkpoint import CHECKPOINTS, Checkpoint, SignedCheckpoint, origin_line, sign_checkpoint
from guardedvlm.audit.keys import PublicKey, Signer, UnknownKey
from guardedvlm.audit.sink import CheckpointSink, FileSink, SinkFailed
from guardedvlm.audit.writer import Head
from guardedvlm.errors import Unavailable

EVERY_RECORDS = 1_000
EVERY_SECONDS = 60.0
BOUND_SECONDS = 300.0
"""How long a checkpoint may wait for its sink before the replica is not ready."""
TICK_SECONDS = 0.25
"""How late a checkpoint may be that is due by records."""
RETRY_SECONDS = 5.0
"""Between two tries of a sink that fails."""


class Checkpointed(Protocol):
    """A log: its name is that of its folder."""

    folder: Path

    @property
    def head(self) -> Head:
        """The log as far as it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class Cadence:
    """When a checkpoint is due, and how long one may wait for its sink."""

    records: int = EVERY_RECORDS
    seconds: float = EVERY_SECONDS
    bound: float = BOUND_SECONDS


class _Watched:
    """One log: what was signed last and when, and the checkpoint that has not arrived yet."""

    def __init__(self, log: Checkpointed) -> None:
        self.log = log
        self.own = FileSink(log.folder / CHECKPOINTS)
        self.size = 0
        self.signed_at = 0.0  # the first one is due at once
        self.waiting: SignedCheckpoint | None = None

    def is_due(self, cadence: Cadence, *, last: bool) -> bool:
        """Whether a checkpoint is due now; at the close it is where anything is new."""
        new = self.log.head.size - self.size
        is_late = time.monotonic() - self.signed_at >= cadence.seconds
        return new >= cadence.records or (new > 0 and (last or is_late or not self.size))


class Checkpointer:
    """Signs with `signer`, whose public keys `key_of` finds by id, and delivers to `sink`; None is no second place."""

    def __init__(
        self,
        signer: Signer,
        key_of: Callable[[str], PublicKey],
        sink: CheckpointSink | None,
        cadence: Cadence | None = None,
    ) -> None:
        self._signer = signer
        self._key_of = key_of
        self._sink = sink
        self._cadence = cadence or Cadence()
        self._watched: list[_Watched] = []
        self._gate = threading.Lock()
        self._end = threading.Event()
        self._failing_since: float | None = None
        self._retry_at = 0.0
        self.made = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """False while something has failed for longer than the bound."""
        since = self._failing_since
        return since is None or time.monotonic() - since < self._cadence.bound

    @property
    def delivered(self) -> bool:
        """Whether the last turn left nothing behind: after `close`, whether every log is told to its end."""
        return self._failing_since is None

    def watch(self, log: Checkpointed) -> None:
        """Write checkpoints of `log` from now on."""
        with self._gate:
            self._watched.append(_Watched(log))

    def close(self) -> None:
        """Write the last checkpoint of every log, try the sink once more, and stop. The logs must take no more."""
        self._end.set()
        self._thread.join()
        self._retry_at = 0.0
        self._turn(last=True)
        if self._sink is not None:
            self._sink.close()

    def _run(self) -> None:
        while not self._end.wait(min(TICK_SECONDS, self._cadence.seconds)):
            self._turn(last=False)

    def _turn(self, *, last: bool) -> None:
        with self._gate:
            watched = list(self._watched)
        if time.monotonic() < self._retry_at:
            return
        try:
            for one in watched:
                self._checkpoint(one, last=last)
            for one in watched:
                self._deliver(one)
        except Exception:  # whatever it was, it is counted and tried again, and the thread must live
            self._fail()
        else:
            self._failing_since = None

    def _checkpoint(self, one: _Watched, *, last: bool) -> None:
        """Sign the log's head when it is due. Raises SinkFailed when the log's own file cannot take it."""
        if not one.is_due(self._cadence, last=last):
            return
        head = one.log.head
        try:
            told = Checkpoint(origin_line(head.origin, one.log.folder.name), head.size, head.root())
            signed = sign_checkpoint(told, self._signer, self._key_of)
        except (Unavailable, UnknownKey):
            raise SinkFailed from None
        one.own.deliver(signed)
        one.size, one.signed_at, one.waiting = head.size, time.monotonic(), signed
        self.made += 1

    def _deliver(self, one: _Watched) -> None:
        if one.waiting is not None and self._sink is not None:
            self._sink.deliver(one.waiting)
        one.waiting = None

    def _fail(self) -> None:
        now = time.monotonic()
        self.failures += 1
        self._retry_at = now + min(RETRY_SECONDS, self._cadence.seconds)
        if self._failing_since is None:
            self._failing_since = now
