"""The boundary to telemetry: exporters that let through what `audit.conventions` names, and count what they drop.

It stands between the SDK and the network, so that it also stops what a library, the environment or a later change puts
on a span: unknown names and unknown values of known names, events, links, status descriptions, trace state, resource
attributes, exemplars, scope attributes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opentelemetry.sdk.metrics.export import Metric as ExportedMetric
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status
from opentelemetry.util.types import AttributeValue

from guardedvlm.audit.conventions import METRICS, PROVIDER, RESOURCE, SPAN_ATTRIBUTES, Check, is_span_name

SCOPE = InstrumentationScope(PROVIDER)


class Counts:
    """What did not leave. Counted from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.dropped = 0
        """Spans, metric points, attributes, events and links that the allow-list kept back."""
        self.failures = 0
        """Spans and metric batches that an exporter did not deliver, and requests that could not be told at all."""

    def drop(self, number: int) -> None:
        """Count what the allow-list kept back."""
        with self._lock:
            self.dropped += number

    def fail(self, number: int = 1) -> None:
        """Count what was not delivered."""
        with self._lock:
            self.failures += number


@dataclass(frozen=True, slots=True)
class _Filter:
    """Keeps the allowed part of things, counts the rest."""

    counts: Counts

    def attributes(
        self, found: Mapping[str, AttributeValue] | None, allowed: Mapping[str, Check]
    ) -> dict[str, AttributeValue]:
        kept = {name: value for name, value in (found or {}).items() if _allows(allowed, name, value)}
        self.counts.drop(len(found or {}) - len(kept))
        return kept

    def resource(self, found: Resource) -> Resource:
        return Resource(self.attributes(found.attributes, RESOURCE))

    def span(self, span: ReadableSpan) -> ReadableSpan | None:
        if not is_span_name(span.name):
            self.counts.drop(1)
            return None
        description = 1 if span.status.description else 0
        self.counts.drop(len(span.events) + len(span.links) + description)
        return ReadableSpan(
            name=span.name,
            context=_bare(span.context),
            parent=_bare(span.parent),
            resource=self.resource(span.resource),
            attributes=self.attributes(span.attributes, SPAN_ATTRIBUTES),
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=SCOPE,
        )

    def metric(self, metric: ExportedMetric) -> ExportedMetric | None:
        known = METRICS.get(metric.name)
        if known is None:
            self.counts.drop(1)
            return None
        # A point without one of its labels would be another point's twin: it goes as a whole.
        points = [
            replace(point, exemplars=[])
            for point in metric.data.data_points
            if all(_allows(known.labels, name, value) for name, value in (point.attributes or {}).items())
        ]
        self.counts.drop(len(metric.data.data_points) - len(points))
        if not points:
            return None
        data = replace(metric.data, data_points=points)  # type: ignore[arg-type]  # points of the same kind
        return ExportedMetric(known.name, known.description, known.unit, data)

    def scope(self, found: ScopeMetrics) -> ScopeMetrics | None:
        if found.scope.name != PROVIDER:  # somebody else's meter
            self.counts.drop(len(found.metrics))
            return None
        kept = [metric for metric in map(self.metric, found.metrics) if metric is not None]
        return ScopeMetrics(SCOPE, kept, "")

    def metrics(self, found: MetricsData) -> MetricsData:
        return MetricsData(
            [
                ResourceMetrics(
                    self.resource(one.resource),
                    [scope for scope in map(self.scope, one.scope_metrics) if scope is not None],
                    "",
                )
                for one in found.resource_metrics
            ]
        )


def _allows(allowed: Mapping[str, Check], name: str, value: AttributeValue) -> bool:
    check = allowed.get(name)
    # The SDK hands sequences back as tuples.
    return check is not None and check(value)  # type: ignore[arg-type]  # a check refuses types that it does not know


def _bare(context: SpanContext | None) -> SpanContext | None:
    """The ids alone, without the trace state."""
    if context is None:
        return None
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


class AllowListSpanExporter(SpanExporter):
    """Hands the allowed part of each span to `inner`; a failure of `inner` is counted, never raised."""

    def __init__(self, inner: SpanExporter, counts: Counts) -> None:
        self._inner = inner
        self._counts = counts
        self._filter = _Filter(counts)
        self.received = 0
        """Spans that came this far, delivered or not."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export what may leave."""
        self.received += len(spans)
        allowed = [span for span in map(self._filter.span, spans) if span is not None]
        try:
            result = self._inner.export(allowed) if allowed else SpanExportResult.SUCCESS
        except Exception:  # an exporter's fault is never a request's
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._counts.fail(len(allowed))
        return result

    def shutdown(self) -> None:
        """Shut `inner` down."""
        self._inner.shutdown()


class AllowListMetricExporter(MetricExporter):
    """Hands the allowed metrics and points to `inner`; a failure of `inner` is counted, never raised."""

    def __init__(self, inner: MetricExporter, counts: Counts) -> None:
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)
        self._inner = inner
        self._counts = counts
        self._filter = _Filter(counts)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: object,  # noqa: ARG002  # the SDK's signature
    ) -> MetricExportResult:
        """Export what may leave."""
        try:
            result = self._inner.export(self._filter.metrics(metrics_data), timeout_millis)
        except Exception:  # an exporter's fault is never a request's
            result = MetricExportResult.FAILURE
        if result is not MetricExportResult.SUCCESS:
            self._counts.fail()
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush `inner`."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:  # noqa: ARG002  # the SDK's signature
        """Shut `inner` down."""
        self._inner.shutdown(timeout_millis)
