"""Telemetry of a service: the tailer in a thread of its own, metrics, and how far it may be behind.

A trace is not an audit: spans may be lost, records may not. So nothing is told but what the ledger already holds,
after the fact, by whoever follows the ledger's files: this process, or `guardedvlm audit tail` beside it. A failure
here never reaches a request; it grows the lag, and beyond the bound the service is not ready.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TextIO

from guardedvlm.audit import metric_table as table
from guardedvlm.audit.cursor import FOLDER
from guardedvlm.audit.lag import MOST_RECORDS, MOST_SECONDS, Lag, Lagging, LagWatch
from guardedvlm.audit.measures import Measures, RequestMeasures, report_delivery
from guardedvlm.audit.otlp import Collector, Console, Exporter, NotDelivered, Sink
from guardedvlm.audit.tail import Tailer
from guardedvlm.audit.telemetry_counts import Counts
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

SHUTDOWN_SECONDS = 10.0
"""How long the end of a service may take for what was not delivered yet; the rest waits in the ledger."""


class Otel(StrEnum):
    """Where telemetry goes."""

    NONE = "none"
    CONSOLE = "console"
    OTLP = "otlp"


class LedgerState(Protocol):
    """What the gauges of the ledger read."""

    @property
    def appended(self) -> int:
        """Records made durable since the start."""
        ...

    @property
    def failures(self) -> int:
        """Records that could not be made durable."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether the ledger can be written."""
        ...


class ServiceState(Protocol):
    """What the gauges of the service read; keys are reasons and roles."""

    @property
    def running(self) -> int:
        """Calls that are being served."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """Calls that ended with an error, by reason."""
        ...

    @property
    def limited(self) -> Mapping[str, int]:
        """Calls that met a limit of admission, by the limit."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes of documents that calls hold."""
        ...

    def waiting(self) -> Mapping[str, int]:
        """Calls that wait, by what they wait for."""
        ...

    def broken(self) -> Mapping[str, int]:
        """1 for each part of which something newer cannot be used, else 0."""
        ...


@dataclass(frozen=True, slots=True)
class Tailing:
    """Who delivers, and how far it may be behind. `state` holds the cursors (None: `tail` in the ledger's folder)."""

    inside: bool = True
    state: Path | None = None
    most_records: int = MOST_RECORDS
    most_seconds: float = MOST_SECONDS


class Telemetry:
    """Delivers `ledger` and metrics to `otel` until `shutdown`.

    `origin` is the replica's pseudonym, as in the ledger. `out` is where the console writes (stderr). Raises ValueError
    on an unknown `otel`, ConfigurationError on an endpoint that is no such address and on cursors that somebody has.
    """

    def __init__(
        self,
        otel: Otel | str,
        ledger: Path,
        tailing: Tailing = Tailing(),  # frozen
        *,
        version: str,
        origin: str,
        endpoint: str = "",
        ca: Path | None = None,
        out: TextIO | None = None,
    ) -> None:
        self._otel = Otel(otel)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._measures: Measures | None = None
        self.counts = Counts()
        if self._otel is Otel.NONE:
            return
        state = tailing.state or ledger / FOLDER
        self._lag = Lagging(LagWatch(ledger, state), tailing.most_records, tailing.most_seconds)
        sink: Sink = Collector(endpoint, ca) if self._otel is Otel.OTLP else Console(out or sys.stderr)
        self._exporter = Exporter(sink, self.counts)
        self._measures = Measures(self._exporter, version=version, instance=origin)
        report_delivery(self._measures, self._exporter)
        if tailing.inside:
            self._follow(ledger, state, version, self._measures)

    def watch(self, ledger: LedgerState, service: ServiceState | None = None) -> None:
        """Report the state of `ledger` and of `service`. Call it once."""
        if self._measures is None:
            return
        self._measures.total(table.APPENDS, lambda: ledger.appended)
        self._measures.total(table.LEDGER_FAILURES, lambda: ledger.failures)
        self._measures.gauge(table.HEALTHY, lambda: int(ledger.healthy))
        if service is not None:
            self._measures.gauge(table.RUNNING, lambda: service.running)
            self._measures.total(table.REFUSALS, lambda: dict(service.refused))
            self._measures.gauge(table.QUEUE, service.waiting)
            self._measures.total(table.LIMITED, lambda: dict(service.limited))
            self._measures.gauge(table.HELD, lambda: service.held_bytes)
            self._measures.gauge(table.BROKEN, lambda: service.broken())

    def is_behind(self) -> bool:
        """Whether delivery is further behind than it may be, or it cannot be told how far. Reads files."""
        return self._otel is not Otel.NONE and self._lag.is_beyond_bound()

    def shutdown(self) -> None:
        """Deliver what is there, within `SHUTDOWN_SECONDS`, and stop; a second call does nothing."""
        measures, self._measures = self._measures, None
        if measures is None:
            return
        self._stop.set()
        # A collector that does not answer must not hold up the end.
        ending = threading.Thread(target=self._end, args=(measures,), daemon=True)
        ending.start()
        ending.join(SHUTDOWN_SECONDS)

    def _follow(self, ledger: Path, state: Path, version: str, measures: Measures) -> None:
        self._tailer = Tailer(ledger, state, self._exporter, version, RequestMeasures(measures).finished)
        report_lag(measures, self._lag)
        self._thread = threading.Thread(target=self._tailer.run, args=(self._stop,), name="telemetry", daemon=True)
        self._thread.start()

    def _end(self, measures: Measures) -> None:
        if self._thread is not None:
            self._thread.join()
            with contextlib.suppress(NotDelivered, ConfigurationError):
                self._tailer.drain(SHUTDOWN_SECONDS)
            self._tailer.close()
        measures.shutdown()
        self._exporter.close()


def report_lag(measures: Measures, lagging: Lagging) -> None:
    """Report the lag of each log."""

    def lags() -> Mapping[str, Lag]:
        try:
            return lagging.lags()
        except ConfigurationError:  # a gap in the gauge; readiness tells
            return {}

    measures.gauge(table.LAG_RECORDS, lambda: {log: lag.records for log, lag in lags().items()})
    measures.gauge(table.LAG_SECONDS, lambda: {log: lag.seconds for log, lag in lags().items()})


class TailProcess:
    """What `guardedvlm audit tail` runs: the tailer and the metrics of it and of the records, without a service.

    Raises as `Telemetry` does. `sink` is closed by `close`.
    """

    def __init__(self, ledger: Path, state: Path | None, sink: Sink, *, version: str) -> None:
        state = state or ledger / FOLDER
        self._exporter = Exporter(sink, Counts())
        # Beside the service's own: two processes that report sums are two instances.
        self._measures = Measures(self._exporter, version=version, instance=secrets.token_hex(16))
        finished = RequestMeasures(self._measures).finished
        self._tailer = Tailer(ledger, state, self._exporter, version, finished)
        report_lag(self._measures, Lagging(LagWatch(ledger, state)))
        report_delivery(self._measures, self._exporter)

    def run(self, stop: threading.Event, drain_seconds: float = SHUTDOWN_SECONDS) -> None:
        """Deliver until `stop` is set, and then what is there, within `drain_seconds`; the rest waits in the ledger."""
        self._tailer.run(stop)
        end = time.monotonic() + drain_seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self._tailer.drain(left)
                return
            except NotDelivered:  # a collector that starts anew takes it in the end
                time.sleep(min(1.0, left))
            except ConfigurationError:
                return

    def once(self) -> int:
        """Deliver what is there; returns the number of records. Raises Unavailable when the collector does not take it,
        ConfigurationError when a log is broken."""
        try:
            return self._tailer.drain()
        except NotDelivered:
            raise Unavailable(Reason.COLLECTOR_UNAVAILABLE) from None

    def close(self) -> None:
        """Deliver the metrics once more and give everything back."""
        self._measures.shutdown()
        self._tailer.close()
        self._exporter.close()
