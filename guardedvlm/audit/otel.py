"""Telemetry: spans and metrics of finished requests, made from their records, and the state of the ledger.

A trace is not an audit: spans may be lost under load, records may not. So spans are made after the fact from what the
ledger already holds and can say nothing else. `Telemetry` is an object that its owner shuts down; no global provider is
set or used, and nothing is instrumented. A failure here is counted and never reaches a request.

Spans below the root are as long as the stage was measured to take and end when the record was written that closed it:
the length is exact, the place is not where several stages share a record.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, TextIO

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, NoOpMeterProvider, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from guardedvlm.audit import conventions as names
from guardedvlm.audit.allowlist import AllowListMetricExporter, AllowListSpanExporter, Counts
from guardedvlm.audit.conventions import PROVIDER, REVISION, Metric
from guardedvlm.audit.facts import Stage
from guardedvlm.audit.record import Record
from guardedvlm.audit.summary import StageTime, Summary, summarize
from guardedvlm.audit.traceparent import TraceParent
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason

EXPORT_SECONDS = 5.0
"""Limit of one delivery to the collector, its retries included."""
METRIC_SECONDS = 15.0
"""Between two deliveries of metrics: a Prometheus-like scrape interval."""
QUEUE_SPANS = 8_192
BATCH_SPANS = 512
BATCH_SECONDS = 1.0
SHUTDOWN_SECONDS = 10.0
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds; the longest request that a policy may allow is 600 s, the default 120 s."""
_NO_BAGGAGE = Context()
"""An empty context: what the calling task carries (baggage, another span) is not taken over."""


_NO_SPAN = frozenset({Stage.TOTAL, Stage.LEDGER})
"""The root is the total; the ledger's time is spread over all steps."""
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class Telemetry:
    """Makes spans and metrics of finished requests and delivers them to `otel`.

    `endpoint` is the collector's "http://host:port" (plain text, for a collector beside the service) or "https://...".
    `origin` is the replica's pseudonym, as in the ledger. `out` is where the console exporter writes (stderr).
    Raises ValueError on an unknown `otel`, ConfigurationError on an endpoint that is no such address.
    """

    def __init__(
        self, otel: Otel | str, *, version: str, origin: str, endpoint: str = "", out: TextIO | None = None
    ) -> None:
        otel = Otel(otel)
        self.counts = Counts()
        self._tracers: TracerProvider | None = None
        self._meters: MeterProvider | None = None
        if otel is Otel.NONE:
            return
        spans, metrics = _console(out or sys.stderr) if otel is Otel.CONSOLE else _otlp(endpoint)
        # `Resource.create` would add what OTEL_RESOURCE_ATTRIBUTES and the process say.
        resource = Resource(
            {
                "service.name": PROVIDER,
                "service.version": version,
                "service.instance.id": origin,
                "guardedvlm.semconv.revision": REVISION,
            }
        )
        self._tracers = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._boundary = AllowListSpanExporter(spans, self.counts)
        processor = BatchSpanProcessor(
            self._boundary,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=BATCH_SECONDS * 1000,
            max_export_batch_size=BATCH_SPANS,
            meter_provider=NoOpMeterProvider(),
        )
        self._tracers.add_span_processor(processor)
        self._tracer = self._tracers.get_tracer(PROVIDER)
        self._made = 0  # spans
        reader = PeriodicExportingMetricReader(
            AllowListMetricExporter(metrics, self.counts), export_interval_millis=METRIC_SECONDS * 1000
        )
        self._meters = MeterProvider(
            [reader], resource=resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
        )
        self._make_instruments(self._meters)

    def finished(self, records: Sequence[Record], parent: TraceParent | None = None) -> None:
        """Tell a finished request. Never raises: a request that cannot be told is counted in `counts.failures`."""
        if self._tracers is None:
            return
        try:
            summary = summarize(records)
            self._trace(summary, parent)
            self._measure(summary)
        except Exception:  # telemetry's fault is never a request's
            self.counts.fail()

    def watch(self, ledger: LedgerState) -> None:
        """Report the appends, failures and health of `ledger`. Call it once."""
        if self._meters is None:
            return
        self._observe_total(names.LEDGER_APPENDS, lambda: ledger.appended)
        self._observe_total(names.LEDGER_FAILURES, lambda: ledger.failures)
        healthy = names.LEDGER_HEALTHY
        self._meter.create_observable_gauge(
            healthy.name, [lambda _: [Observation(int(ledger.healthy))]], healthy.unit, healthy.description
        )

    def flush(self) -> None:
        """Deliver what waits; takes at most a delivery's limit for spans and another for metrics."""
        if self._tracers is not None and self._meters is not None:
            self._tracers.force_flush(int(EXPORT_SECONDS * 1000))
            self._meters.force_flush(EXPORT_SECONDS * 1000)

    def shutdown(self) -> None:
        """Deliver what waits, within `SHUTDOWN_SECONDS`, and stop. Later requests are not told."""
        tracers, meters, self._tracers, self._meters = self._tracers, self._meters, None, None
        if tracers is None or meters is None:
            return
        # The SDK waits up to 30 s for a collector that does not answer.
        thread = threading.Thread(target=_shut_down, args=(tracers, meters), daemon=True)
        thread.start()
        thread.join(SHUTDOWN_SECONDS)

    def _trace(self, summary: Summary, parent: TraceParent | None) -> None:
        parts = [time for time in summary.stages if time.stage not in _NO_SPAN]
        if self._made + 1 + len(parts) - self._boundary.received > QUEUE_SPANS:
            raise OverflowError  # the SDK would throw spans away and not count them
        self._made += 1 + len(parts)
        root = self._tracer.start_span(
            names.root_name(summary),
            context=_context_of(parent),
            kind=SpanKind.INTERNAL,
            attributes=names.root_attributes(summary),
            start_time=_nanoseconds(summary.began),
        )
        if summary.outcome == State.REFUSED:
            root.set_status(StatusCode.ERROR)
        for time in parts:
            self._trace_stage(time, summary, root)
        root.end(_nanoseconds(summary.ended))

    def _trace_stage(self, time: StageTime, summary: Summary, root: Span) -> None:
        end = _nanoseconds(time.closed_at)
        span = self._tracer.start_span(
            names.child_name(time.stage),
            context=set_span_in_context(root, _NO_BAGGAGE),
            attributes=names.child_attributes(time.stage, summary),
            start_time=max(end - time.milliseconds * 1_000_000, _nanoseconds(summary.began)),
        )
        span.end(end)

    def _measure(self, summary: Summary) -> None:
        facts = summary.facts
        self._requests.add(1, names.request_labels(summary))
        for kind, count in facts.get("regions", {}).items():
            self._regions.add(count, {names.KIND: kind.value})
        for time in summary.stages:
            self._stage_duration.record(time.milliseconds / 1000, {names.STAGE: time.stage.value})
            if time.stage is Stage.INFER:
                self._inference_duration.record(time.milliseconds / 1000, names.inference_labels(summary))

    def _make_instruments(self, meters: MeterProvider) -> None:
        self._meter = meters.get_meter(PROVIDER)
        self._requests = self._counter(names.REQUESTS)
        self._regions = self._counter(names.REGIONS)
        self._stage_duration = self._histogram(names.STAGE_DURATION)
        self._inference_duration = self._histogram(names.INFERENCE_DURATION)
        self._observe_total(names.TELEMETRY_DROPPED, lambda: self.counts.dropped)
        self._observe_total(names.TELEMETRY_FAILURES, lambda: self.counts.failures)

    def _counter(self, metric: Metric) -> Counter:
        return self._meter.create_counter(metric.name, metric.unit, metric.description)

    def _histogram(self, metric: Metric) -> Histogram:
        return self._meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=DURATION_BOUNDS
        )

    def _observe_total(self, metric: Metric, read: Callable[[], int]) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(read())]

        self._meter.create_observable_counter(metric.name, [observe], metric.unit, metric.description)


def _shut_down(tracers: TracerProvider, meters: MeterProvider) -> None:
    tracers.shutdown()
    meters.shutdown(EXPORT_SECONDS * 1000)


def _console(out: TextIO) -> tuple[SpanExporter, MetricExporter]:
    return ConsoleSpanExporter(out=out), ConsoleMetricExporter(out=out)


def _otlp(endpoint: str) -> tuple[SpanExporter, MetricExporter]:
    """Exporters to a collector. Raises ConfigurationError when `endpoint` is not an http or https address."""
    if not _ENDPOINT.match(endpoint):
        raise ConfigurationError(
            Reason.SETTINGS_INVALID, explanation="the OTLP endpoint is not http://host:port or https://host:port"
        )
    insecure = endpoint.startswith("http://")
    return (
        OTLPSpanExporter(endpoint=endpoint, insecure=insecure, timeout=EXPORT_SECONDS),
        OTLPMetricExporter(endpoint=endpoint, insecure=insecure, timeout=EXPORT_SECONDS),
    )


def _context_of(parent: TraceParent | None) -> Context:
    """A context in which the caller's span is the parent; an empty one without a caller's span."""
    if parent is None:
        return _NO_BAGGAGE
    there = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(there), _NO_BAGGAGE)


def _nanoseconds(time: datetime) -> int:
    """Unix time in nanoseconds, exact to the record's millisecond."""
    return (time - _EPOCH) // timedelta(milliseconds=1) * 1_000_000
