"""How far telemetry is behind the ledger: from the logs and the cursors alone, whoever delivers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardedvlm.audit.cursor import CursorFile
from guardedvlm.audit.log_reader import LogReader, newest_sequence
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.record import Record
from guardedvlm.audit.signals import log_name
from guardedvlm.errors import ConfigurationError

MOST_RECORDS, MOST_SECONDS = 100_000, 900.0
"""How far delivery may be behind before a service is not ready: some 10,000 requests, a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Records not delivered, and the age of the oldest of them in seconds."""

    records: int
    seconds: float

    def within(self, records: int, seconds: float) -> bool:
        """Whether it is at most so much."""
        return self.records <= records and self.seconds <= seconds


class LagWatch:
    """Measures the lag of every log of a ledger. Not thread-safe."""

    def __init__(self, ledger: Path, state: Path) -> None:
        self._ledger = ledger
        self._state = state
        self._readers: dict[Path, LogReader] = {}

    def lags(self) -> Mapping[str, Lag]:
        """The lag of each log by its name. Raises ConfigurationError when a log or a cursor cannot be read, or when a
        log does not hold what was delivered of it."""
        return {log_name(self._ledger, log): self._lag(log) for log in list_logs(self._ledger)}

    def _lag(self, log: Path) -> Lag:
        cursor = CursorFile(self._state, log_name(self._ledger, log)).load()
        try:
            reader = self._reader(log, cursor.sequence if cursor else None)
            end, line = newest_sequence(log), reader.peek()
        except ConfigurationError:
            self._readers.pop(log, None)
            raise
        if line is None:
            return Lag(0, 0.0)
        return Lag(max(1, end - reader.sequence), max(0.0, (datetime.now(UTC) - _time(line)).total_seconds()))

    def _reader(self, log: Path, sequence: int | None) -> LogReader:
        """A reader at `sequence`; the one of the last look where it has only to go on."""
        known = self._readers.get(log)
        if known is None or (sequence is not None and sequence < known.sequence):
            known = self._readers[log] = LogReader(log, sequence)
        if sequence is not None:
            known.skip_to(sequence)
        return known


class Lagging:
    """The lag against a bound, asked for by several threads."""

    def __init__(self, watch: LagWatch, most_records: int = MOST_RECORDS, most_seconds: float = MOST_SECONDS) -> None:
        self._watch = watch
        self._most = most_records, most_seconds
        self._lock = threading.Lock()

    def lags(self) -> Mapping[str, Lag]:
        """As `LagWatch.lags`."""
        with self._lock:
            return self._watch.lags()

    def is_beyond_bound(self) -> bool:
        """Whether a log is further behind than it may be, or it cannot be told how far."""
        try:
            return not all(lag.within(*self._most) for lag in self.lags().values())
        except ConfigurationError:
            return True


def _time(line: bytes) -> datetime:
    """When a record was written; now for what is none: the tailer says what is wrong with it."""
    try:
        return Record.decode(line).at
    except ValueError:
        return datetime.now(UTC)
