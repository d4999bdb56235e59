"""Delivers the ledger to a collector: every record at least once, each log in order, from where the last one stopped.

For each log a batch of records becomes log records and, for requests that end in it, spans. When the collector has
taken all of a batch the cursor is written, and only then is the next batch read; a batch that was not taken is sent
again, the very same, until it is. So a record may arrive twice (killed between the collector's answer and the cursor),
and is then recognised by its ids, but none is left out and none overtakes another of its log.

What the collector says it will not keep (partial success) counts as taken, as OTLP demands, and is counted. A request
that it refuses as a whole is not dropped, although OTLP would allow it: it is tried again, the lag grows, and the
service stops being ready at the bound.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.audit.allowlist import Request
from guardedvlm.audit.chain import BrokenChain, Chain, Flaw
from guardedvlm.audit.cursor import Cursor, CursorFile, lock_state
from guardedvlm.audit.log_reader import LogReader
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.open_requests import OpenRequests
from guardedvlm.audit.otlp import Exporter, NotDelivered
from guardedvlm.audit.record import GENESIS, Record
from guardedvlm.audit.signals import Told, log_name, logs_request, traces_request
from guardedvlm.audit.summary import Summary
from guardedvlm.errors import ConfigurationError, Reason

LOG = logging.getLogger("guardedvlm")

BATCH_RECORDS = 128
"""Of one delivery. With every fact stated a log record has some 10 KB: a batch stays below the 4 MiB of one gRPC
message (`tests/audit/test_tail.py`)."""
POLL_SECONDS = 0.5
"""Between two looks at logs of which all is delivered."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 15.0
"""Seconds after a failure; twice as many after each further one."""

Finished = Callable[[Summary], None]


class BackOff:
    """How long to wait after failures: a random part of a time that doubles, or what the collector asks for."""

    def __init__(self) -> None:
        self._limit = FIRST_BACK_OFF

    def succeed(self) -> None:
        """Begin anew."""
        self._limit = FIRST_BACK_OFF

    def fail(self, asked: float | None = None) -> float:
        """Seconds to wait now. Jitter: tailers of several replicas must not come back in one moment."""
        limit, self._limit = self._limit, min(2 * self._limit, LONGEST_BACK_OFF)
        seconds = limit * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        return seconds if asked is None else min(max(asked, seconds), LONGEST_BACK_OFF)


@dataclass(slots=True)
class _Batch:
    """What is to be delivered next of a log, and the cursor when it is. `requests` loses what the collector took."""

    records: int
    requests: list[Request]
    finished: list[Summary]
    cursor: Cursor
    untold: int


class LogTail:
    """Delivery of one log. Raises ConfigurationError(LEDGER_BROKEN) where the log does not follow from what was
    delivered of it, and ConfigurationError when log or cursor cannot be read or written."""

    def __init__(self, log: Path, name: str, state: Path, version: str) -> None:
        self.name = name
        self._log = log
        self._version = version
        self._file = CursorFile(state, name)
        self._open = OpenRequests()
        self._waiting: _Batch | None = None
        self._broken: ConfigurationError | None = None
        cursor = self._file.load()
        self._reader, self._chain = self._resume(cursor) if cursor else self._begin()

    def deliver(self, exporter: Exporter, finished: Finished) -> int:
        """Deliver one batch; returns its number of records, 0 when there is none. Raises NotDelivered; the same batch
        is then the next one."""
        if self._waiting is None:
            self._waiting = self._batch()
        batch = self._waiting
        if batch is None:
            return 0
        while batch.requests:
            exporter.export(batch.requests[0])
            del batch.requests[0]
        self._file.save(batch.cursor)
        self._waiting = None
        exporter.counts.deliver(self.name, batch.records)
        for summary in batch.finished:
            finished(summary)
        for _ in range(batch.untold):
            exporter.counts.leave_untold()
        return batch.records

    def _begin(self) -> tuple[LogReader, Chain]:
        """At the oldest record that is there; what was pruned before it left its hash there."""
        reader = LogReader(self._log, None)
        first = reader.peek()
        if first is None or reader.sequence == 0:
            return reader, Chain(reader.sequence, GENESIS)
        return reader, Chain(reader.sequence, self._decoded(first).previous)

    def _resume(self, cursor: Cursor) -> tuple[LogReader, Chain]:
        """At the cursor, with the requests that were not over there."""
        reader = LogReader(self._log, cursor.sequence)
        with contextlib.suppress(ConfigurationError):  # pruned: such a request is told in part, or not at all
            earlier = LogReader(self._log, cursor.open_from, known=cursor.sequence)
            while left := cursor.sequence - earlier.sequence:
                lines = earlier.read(min(BATCH_RECORDS, left))
                if not lines:  # cut off: reading on at the cursor tells
                    break
                for line in lines:
                    self._open.add(self._decoded(line))
        return reader, Chain(cursor.sequence, cursor.previous)

    def _batch(self) -> _Batch | None:
        """The next records that hold together; those before a flaw are delivered, and then the flaw is told."""
        if self._broken is not None:
            raise self._broken
        told: list[Told] = []
        over: list[Summary] = []
        for line in self._reader.read(BATCH_RECORDS):
            try:
                record = self._chain.extend(line)
            except BrokenChain as broken:
                self._broken = self._flawed(broken.flaw)
                break
            told.append(Told(record, self._chain.previous, self._open.trace_of(record)))
            over += self._open.add(record)
        if told:
            return self._made(told, over)
        if self._broken is not None:
            raise self._broken
        return None

    def _made(self, told: Sequence[Told], over: Sequence[Summary]) -> _Batch:
        whole = [summary for summary in over if "method" in summary.facts]
        requests: list[Request] = [logs_request(told, self.name, self._version)]
        if whole:
            requests.append(traces_request(whole, self.name, self._version))
        cursor = Cursor(self._chain.sequence, self._chain.previous, self._open.oldest(self._chain.sequence))
        return _Batch(len(told), requests, whole, cursor, len(over) - len(whole))

    def _decoded(self, line: bytes) -> Record:
        try:
            return Record.decode(line)
        except ValueError:
            raise self._flawed(Flaw.UNREADABLE) from None

    def _flawed(self, flaw: Flaw) -> ConfigurationError:
        explanation = f"the log does not go on from what was delivered of it: {flaw}"
        return ConfigurationError(Reason.LEDGER_BROKEN, place=self.name, explanation=explanation)


class Tailer:
    """Delivers every log of `ledger`, also logs that appear later. Cursors lie in `state`, which it alone holds.

    Raises ConfigurationError(OUTPUT_UNWRITABLE) when it cannot have `state`. Call `close` at the end.
    """

    def __init__(
        self, ledger: Path, state: Path, exporter: Exporter, version: str, finished: Finished = lambda _: None
    ) -> None:
        self._ledger = ledger
        self._state = state
        self._exporter = exporter
        self._version = version
        self._finished = finished
        self._tails: dict[Path, LogTail] = {}
        self._lock = lock_state(state)

    def close(self) -> None:
        """Give the cursors back."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def deliver(self) -> int:
        """Deliver a batch of every log; returns the number of records.

        One log does not hold up another: what a log raised (NotDelivered, ConfigurationError) is raised when all have
        been tried.
        """
        delivered = 0
        failures: list[Exception] = []
        for log in list_logs(self._ledger):
            try:
                delivered += self._tail(log).deliver(self._exporter, self._finished)
                self._judge(log, None)
            except NotDelivered as failure:
                failures.append(failure)
            except ConfigurationError as failure:
                self._tails.pop(log, None)  # read anew, in case somebody mends it
                self._judge(log, failure)
                failures.append(failure)
        if failures:
            raise failures[0]
        return delivered

    def drain(self, seconds: float | None = None) -> int:
        """Deliver until nothing is left, or `seconds` are over; returns the number of records. Raises as `deliver`."""
        end = None if seconds is None else time.monotonic() + seconds
        total = 0
        while (delivered := self.deliver()) and (end is None or time.monotonic() < end):
            total += delivered
        return total + delivered

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set. Raises nothing: what fails is counted, said once, and tried again."""
        back_off, said = BackOff(), ""
        while not stop.is_set():
            try:
                idle, problem = (0.0 if self.deliver() else POLL_SECONDS), ""
                back_off.succeed()
            except NotDelivered as failure:
                idle, problem = back_off.fail(failure.retry_seconds), "the collector does not take the ledger's records"
            except ConfigurationError as failure:
                idle, problem = back_off.fail(), failure.for_operator()
            except Exception as failure:  # a defect of ours; its text could show content
                idle, problem = back_off.fail(), f"internal error {type(failure).__name__}"
            if problem and problem != said:
                LOG.error("telemetry: %s", problem)
            said = problem
            stop.wait(idle)

    def _judge(self, log: Path, failure: ConfigurationError | None) -> None:
        broken = failure is not None and failure.reason is Reason.LEDGER_BROKEN
        self._exporter.counts.judge(log_name(self._ledger, log), broken=broken)

    def _tail(self, log: Path) -> LogTail:
        if log not in self._tails:
            self._tails[log] = LogTail(log, log_name(self._ledger, log), self._state, self._version)
        return self._tails[log]
