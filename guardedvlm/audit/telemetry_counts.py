"""What did not leave, and why: counted in one place, from several threads."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """Counters of one process's telemetry; they only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.dropped = 0
        """Spans, log records, points, attributes, events and links that the allow-list kept back."""
        self.untold = 0
        """Requests whose spans could not be made: their beginning is not in the log any more."""
        self.rejected: Counter[str] = Counter()
        """By signal: what the collector took notice of and did not keep."""
        self.failures: Counter[str] = Counter()
        """By signal: deliveries that failed."""
        self.delivered: Counter[str] = Counter()
        """By log: records that the collector took."""
        self.broken: dict[str, int] = {}
        """By log: 1 while it does not go on from what was delivered of it, else 0."""

    def drop(self, number: int) -> None:
        """Count what the allow-list kept back."""
        with self._lock:
            self.dropped += number

    def leave_untold(self) -> None:
        """Count a request without spans."""
        with self._lock:
            self.untold += 1

    def reject(self, signal: str, number: int) -> None:
        """Count what the collector did not keep."""
        with self._lock:
            self.rejected[signal] += number

    def fail(self, signal: str) -> None:
        """Count a delivery that failed."""
        with self._lock:
            self.failures[signal] += 1

    def deliver(self, log: str, number: int) -> None:
        """Count records that the collector took."""
        with self._lock:
            self.delivered[log] += number

    def judge(self, log: str, *, broken: bool) -> None:
        """Say whether a log goes on from what was delivered of it."""
        with self._lock:
            self.broken[log] = int(broken)
