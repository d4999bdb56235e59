"""Writes the checkpoints of a replica's logs: every N records or T seconds, and at the close.

Two threads for all logs, beside the writers: neither a slow signer nor a sink that hangs holds up a request. One signs
and writes each checkpoint to the log's own file; the other one delivers it to the sink, so that a sink which hangs does
not hold up the logs' own checkpoints either. While the sink fails, the newest one of each log waits (its root covers
those before it) and is tried again. Where a turn of either thread, with its failures, takes longer than a bound, the
replica is no longer ready, because from then on a cut ledger would go unnoticed for too long.
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
CLOSE_SECONDS = 15.0
"""How long each thread's end may take: more than a collector has for one delivery."""


class Checkpointed(Protocol):
    """A log: its name is that of its folder."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        ...

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


def write_checkpoint(log: Checkpointed, signer: Signer, key_of: Callable[[str], PublicKey]) -> SignedCheckpoint:
    """Sign the head of `log` into its own file. Raises SinkFailed when nobody signs, or the file cannot take it."""
    head = log.head
    try:
        told = Checkpoint(origin_line(head.origin, log.folder.name), head.size, head.root())
        signed = sign_checkpoint(told, signer, key_of)
    except (Unavailable, UnknownKey):
        raise SinkFailed from None
    FileSink(log.folder / CHECKPOINTS).deliver(signed)
    return signed


class _Watched:
    """One log: what was signed last and when, and the checkpoint that has not arrived yet."""

    def __init__(self, log: Checkpointed) -> None:
        self.log = log
        self.size = 0
        self.signed_at = 0.0  # the first one is due at once
        self.waiting: SignedCheckpoint | None = None
        self.waits_since: float | None = None

    def is_due(self, cadence: Cadence, *, last: bool) -> bool:
        """Whether a checkpoint is due now; at the close it is where anything is new."""
        new = self.log.head.size - self.size
        is_late = time.monotonic() - self.signed_at >= cadence.seconds
        return new >= cadence.records or (new > 0 and (last or is_late or not self.size))


class _Turns:
    """The turns of one thread: when the first of those began that have not succeeded yet, and when the next may."""

    def __init__(self, work: Callable[[bool], None], pause: float) -> None:
        self._work = work
        self._pause = pause
        self._retry_at = 0.0
        self.since: float | None = None
        self.failures = 0

    def take(self, *, last: bool = False) -> None:
        """Work, unless what failed is to be left alone for now; the last turn is taken at once. Raises nothing."""
        if time.monotonic() < self._retry_at and not last:
            return
        if self.since is None:
            self.since = time.monotonic()
        try:
            self._work(last)
        except Exception:  # whatever it was, it is counted and tried again, and the thread must live
            self.failures += 1
            self._retry_at = time.monotonic() + self._pause
        else:
            self.since = None


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
        self._gate = threading.Lock()  # of what is watched, and of what waits
        self._end = threading.Event()
        self._signed = threading.Event()
        pause = min(RETRY_SECONDS, self._cadence.seconds)
        self._signing, self._delivering = _Turns(self._sign_all, pause), _Turns(self._deliver_all, pause)
        self.made = 0
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("checkpoints", self._run), ("checkpoint-sink", self._run_sink))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def failures(self) -> int:
        """Turns that failed."""
        return self._signing.failures + self._delivering.failures

    @property
    def healthy(self) -> bool:
        """False while a turn has lasted or failed, or a checkpoint has waited, for longer than the bound."""
        with self._gate:
            begun = [self._signing.since, self._delivering.since, *(one.waits_since for one in self._watched)]
        now = time.monotonic()
        return all(since is None or now - since < self._cadence.bound for since in begun)

    @property
    def delivered(self) -> bool:
        """Whether the last turn left nothing behind: after `close`, whether every log is told to its end."""
        with self._gate:
            waits = any(one.waiting is not None for one in self._watched)
        return not waits and self._signing.since is None and self._delivering.since is None

    def watch(self, log: Checkpointed) -> None:
        """Write checkpoints of `log` from now on."""
        with self._gate:
            self._watched.append(_Watched(log))

    def close(self) -> None:
        """Write the last checkpoint of every log, try the sink once more, and stop; what hangs is given up after
        CLOSE_SECONDS. The logs must take no more."""
        self._end.set()
        signing, delivering = self._threads
        signing.join(CLOSE_SECONDS)
        if not signing.is_alive():
            self._signing.take(last=True)
        self._signed.set()
        delivering.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._end.wait(min(TICK_SECONDS, self._cadence.seconds)):
            self._signing.take()

    def _run_sink(self) -> None:
        while not self._end.wait(min(TICK_SECONDS, self._cadence.seconds)):
            self._delivering.take()
        self._signed.wait()
        self._delivering.take(last=True)
        if self._sink is not None:
            self._sink.close()

    def _all(self) -> list[_Watched]:
        with self._gate:
            return list(self._watched)

    def _sign_all(self, last: bool) -> None:
        for one in self._all():
            self._checkpoint(one, last=last)

    def _deliver_all(self, _: bool) -> None:
        for one in self._all():
            self._deliver(one)

    def _checkpoint(self, one: _Watched, *, last: bool) -> None:
        """Sign the log's head when it is due. Raises SinkFailed when the log's own file cannot take it."""
        if not one.is_due(self._cadence, last=last):
            return
        signed = write_checkpoint(one.log, self._signer, self._key_of)
        one.size, one.signed_at = signed.checkpoint.size, time.monotonic()
        self.made += 1
        if self._sink is None:
            return
        with self._gate:
            one.waiting = signed
            one.waits_since = one.waits_since or one.signed_at

    def _deliver(self, one: _Watched) -> None:
        """Deliver what waits; a newer one that came meanwhile waits from now on."""
        waiting = one.waiting
        if waiting is None or self._sink is None:
            return
        self._sink.deliver(waiting)
        with self._gate:
            is_newest = one.waiting is waiting
            one.waiting = None if is_newest else one.waiting
            one.waits_since = None if is_newest else one.signed_at
