"""Metrics: from finished requests, from the tailer itself, and from the running service. Delivered every 15 s.

Sums count since the start of the process that delivers (`start_time_unix_nano`): what a killed process had counted it
does not count again, and a batch that is delivered twice across a kill is counted by the second one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from guardedvlm.audit import metric_table as table
from guardedvlm.audit.conventions import KIND, LEDGER_LOG, PROVIDER, REVISION, STAGE
from guardedvlm.audit.facts import Stage
from guardedvlm.audit.metric_table import Metric
from guardedvlm.audit.otlp import EXPORT_SECONDS, Exporter, NotDelivered
from guardedvlm.audit.summary import Summary

METRIC_SECONDS = 15.0
"""Between two deliveries of metrics: a Prometheus-like scrape interval."""
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds; the longest request that a policy may allow is 600 s, the default 120 s."""
TOKEN_BOUNDS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536)
"""Those of the GenAI conventions for token usage, up to the longest context of the models here."""

Read = Callable[[], float | Mapping[str, float]]
"""A number, or numbers by the value of the metric's one label."""


class _Delivery(MetricExporter):
    """The SDK's exporter, as a request to ours."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__()
        self._exporter = exporter

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  # the SDK's signature; a delivery has its own limit
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Deliver; what is not delivered is part of the next delivery's sums."""
        try:
            self._exporter.export(encode_metrics(metrics_data))
        except NotDelivered:
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """The exporter belongs to somebody else."""


class Measures:
    """The metrics of one process. No global provider is set or used, and nothing is instrumented."""

    def __init__(self, exporter: Exporter, *, version: str, instance: str) -> None:
        # `Resource.create` would add what OTEL_RESOURCE_ATTRIBUTES and the process say.
        resource = Resource(
            {
                "service.name": PROVIDER,
                "service.version": version,
                "service.instance.id": instance,
                "guardedvlm.semconv.revision": REVISION,
            }
        )
        reader = PeriodicExportingMetricReader(_Delivery(exporter), export_interval_millis=METRIC_SECONDS * 1000)
        self._meters = MeterProvider(
            [reader], resource=resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
        )
        self._meter = self._meters.get_meter(PROVIDER)

    def flush(self) -> None:
        """Deliver now."""
        self._meters.force_flush(EXPORT_SECONDS * 1000)

    def shutdown(self) -> None:
        """Deliver once more and stop; a second call does nothing."""
        meters, self._meters = self._meters, MeterProvider(shutdown_on_exit=False)
        meters.shutdown(EXPORT_SECONDS * 1000)

    def total(self, metric: Metric, read: Read) -> None:
        """Report a sum that only grows."""
        self._meter.create_observable_counter(metric.name, [_observer(metric, read)], metric.unit, metric.description)

    def gauge(self, metric: Metric, read: Read) -> None:
        """Report a value as it is now."""
        self._meter.create_observable_gauge(metric.name, [_observer(metric, read)], metric.unit, metric.description)

    def counter(self, metric: Metric) -> Counter:
        """A sum that is added to."""
        return self._meter.create_counter(metric.name, metric.unit, metric.description)

    def histogram(self, metric: Metric, bounds: tuple[float, ...]) -> Histogram:
        """A distribution with the given limits of its buckets."""
        return self._meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=bounds
        )


class RequestMeasures:
    """What finished requests add to the metrics."""

    def __init__(self, measures: Measures) -> None:
        self._requests = measures.counter(table.REQUESTS)
        self._regions = measures.counter(table.REGIONS)
        self._stages = measures.histogram(table.STAGE_DURATION, DURATION_BOUNDS)
        self._inference = measures.histogram(table.INFERENCE_DURATION, DURATION_BOUNDS)
        self._input_tokens = measures.histogram(table.INPUT_TOKENS, TOKEN_BOUNDS)
        self._output_tokens = measures.histogram(table.OUTPUT_TOKENS, TOKEN_BOUNDS)

    def finished(self, summary: Summary) -> None:
        """Count a request that is over."""
        facts = summary.facts
        self._requests.add(1, table.request_labels(summary))
        for kind, count in facts.get("regions", {}).items():
            self._regions.add(count, {KIND: kind.value})
        labels = table.inference_labels(summary)
        for time in summary.stages:
            self._stages.record(time.milliseconds / 1000, {STAGE: time.stage.value})
            if time.stage is Stage.INFER:
                self._inference.record(time.milliseconds / 1000, labels)
        if "input_tokens" in facts:
            self._input_tokens.record(facts["input_tokens"], labels)
        if "output_tokens" in facts:
            self._output_tokens.record(facts["output_tokens"], labels)


def report_delivery(measures: Measures, exporter: Exporter) -> None:
    """Report what was delivered, kept back, rejected and not delivered."""
    counts = exporter.counts
    measures.total(table.DELIVERED, lambda: dict(counts.delivered))
    measures.total(table.DROPPED, lambda: counts.dropped)
    measures.total(table.REJECTED, lambda: dict(counts.rejected))
    measures.total(table.FAILURES, lambda: dict(counts.failures))
    measures.total(table.UNTOLD, lambda: counts.untold)
    measures.gauge(table.LOG_BROKEN, lambda: dict(counts.broken))


_LABEL: Mapping[str, str] = {
    table.DELIVERED.name: LEDGER_LOG,
    table.LAG_RECORDS.name: LEDGER_LOG,
    table.LAG_SECONDS.name: LEDGER_LOG,
    table.LOG_BROKEN.name: LEDGER_LOG,
    table.REJECTED.name: table.SIGNAL,
    table.FAILURES.name: table.SIGNAL,
    table.REFUSALS.name: "error.type",
    table.QUEUE.name: table.ROLE,
    table.LIMITED.name: table.LIMIT,
    table.BROKEN.name: table.PART,
}
"""The label of a metric that is read as numbers by its value."""


def _observer(metric: Metric, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    label = _LABEL.get(metric.name, "")

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        found = read()
        if isinstance(found, Mapping):
            return [Observation(value, {label: key}) for key, value in found.items()]
        return [Observation(found)]

    return observe
