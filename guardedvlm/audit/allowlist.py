"""The boundary to telemetry: what leaves is built anew from what `audit.conventions` and `audit.metric_table` name.

It stands on the OTLP messages themselves, behind every library, so that it also stops what a library, the environment
or a later change puts there: unknown names and unknown values of known names, bodies, events, links, status
descriptions, trace state, resource attributes, exemplars, scopes, schema addresses. What it keeps back it counts.
The one body that leaves is a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from guardedvlm.audit.checkpoint import EVENT_NAME as CHECKPOINT_EVENT
from guardedvlm.audit.checkpoint import is_checkpoint
from guardedvlm.audit.checks import Check, Value
from guardedvlm.audit.conventions import (
    EVENT_NAME,
    LOG_ATTRIBUTES,
    PROVIDER,
    RESOURCE,
    SPAN_ATTRIBUTES,
    is_span_name,
)
from guardedvlm.audit.metric_table import METRICS
from guardedvlm.audit.telemetry_counts import Counts

Request = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest
SCOPE = InstrumentationScope(name=PROVIDER)
TRACE_BYTES, SPAN_BYTES = 16, 8
_KINDS = ("sum", "gauge", "histogram")
"""Of metrics; there is no other among ours."""


class Boundary:
    """Builds requests anew from what may leave. Counts the rest in `counts.dropped`."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def allowed(self, request: Request) -> Request:
        """The part of `request` that may leave."""
        if isinstance(request, ExportTraceServiceRequest):
            return self._traces(request)
        if isinstance(request, ExportLogsServiceRequest):
            return self._logs(request)
        return self._metrics(request)

    def _traces(self, request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
        return ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=self._resource(one.resource),
                    scope_spans=[
                        ScopeSpans(scope=SCOPE, spans=self._kept(map(self._span, scope.spans)))
                        for scope in one.scope_spans
                    ],
                )
                for one in request.resource_spans
            ]
        )

    def _logs(self, request: ExportLogsServiceRequest) -> ExportLogsServiceRequest:
        return ExportLogsServiceRequest(
            resource_logs=[
                ResourceLogs(
                    resource=self._resource(one.resource),
                    scope_logs=[
                        ScopeLogs(scope=SCOPE, log_records=self._kept(map(self._log, scope.log_records)))
                        for scope in one.scope_logs
                    ],
                )
                for one in request.resource_logs
            ]
        )

    def _metrics(self, request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
        return ExportMetricsServiceRequest(
            resource_metrics=[
                ResourceMetrics(
                    resource=self._resource(one.resource),
                    scope_metrics=[
                        ScopeMetrics(scope=SCOPE, metrics=self._kept(map(self._metric, scope.metrics)))
                        for scope in one.scope_metrics
                        if self._is_ours(scope)
                    ],
                )
                for one in request.resource_metrics
            ]
        )

    def _span(self, span: Span) -> Span | None:
        if not is_span_name(span.name) or len(span.trace_id) != TRACE_BYTES or len(span.span_id) != SPAN_BYTES:
            return None
        more = (span.trace_state, span.status.message)
        self._counts.drop(len(span.events) + len(span.links) + sum(map(bool, more)))
        return Span(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_span_id if len(span.parent_span_id) == SPAN_BYTES else b"",
            flags=span.flags,
            name=span.name,
            kind=span.kind,
            start_time_unix_nano=span.start_time_unix_nano,
            end_time_unix_nano=span.end_time_unix_nano,
            attributes=self._attributes(span.attributes, SPAN_ATTRIBUTES),
            status=Status(code=span.status.code),
        )

    def _log(self, record: LogRecord) -> LogRecord | None:
        if record.event_name == CHECKPOINT_EVENT:
            return self._checkpoint(record)
        if record.event_name != EVENT_NAME:
            return None
        self._counts.drop(int(record.HasField("body")) + bool(record.severity_text))
        return LogRecord(
            time_unix_nano=record.time_unix_nano,
            observed_time_unix_nano=record.observed_time_unix_nano,
            severity_number=record.severity_number,
            event_name=EVENT_NAME,
            attributes=self._attributes(record.attributes, LOG_ATTRIBUTES),
            flags=record.flags,
            trace_id=record.trace_id if len(record.trace_id) == TRACE_BYTES else b"",
            span_id=record.span_id if len(record.span_id) == SPAN_BYTES else b"",
        )

    def _checkpoint(self, record: LogRecord) -> LogRecord | None:
        """The one body that leaves: a signed checkpoint in its one form."""
        note = record.body.string_value
        if not is_checkpoint(note):
            return None
        self._counts.drop(len(record.attributes) + bool(record.severity_text))
        return LogRecord(
            time_unix_nano=record.time_unix_nano,
            severity_number=record.severity_number,
            event_name=CHECKPOINT_EVENT,
            body=AnyValue(string_value=note),
        )

    def _metric(self, metric: Metric) -> Metric | None:
        known, kind = METRICS.get(metric.name), metric.WhichOneof("data")
        if known is None or kind not in _KINDS:
            return None
        made = Metric(name=known.name, unit=known.unit, description=known.description)
        data = getattr(made, kind)
        data.CopyFrom(getattr(metric, kind))
        del data.data_points[:]
        # A point without one of its labels would be another point's twin: it goes as a whole.
        for point in getattr(metric, kind).data_points:
            if all(_allows(known.labels, pair) for pair in point.attributes):
                data.data_points.append(point)
                data.data_points[-1].ClearField("exemplars")
            else:
                self._counts.drop(1)
        return made if data.data_points else None

    def _is_ours(self, scope: ScopeMetrics) -> bool:
        if scope.scope.name == PROVIDER:
            return True
        self._counts.drop(len(scope.metrics))  # somebody else's meter
        return False

    def _resource(self, resource: Resource) -> Resource:
        return Resource(attributes=self._attributes(resource.attributes, RESOURCE))

    def _attributes(self, found: Iterable[KeyValue], allowed: Mapping[str, Check]) -> list[KeyValue]:
        pairs = list(found)
        kept = [KeyValue(key=pair.key, value=pair.value) for pair in pairs if _allows(allowed, pair)]
        self._counts.drop(len(pairs) - len(kept))
        return kept

    def _kept(self, found: Iterable[Any]) -> list[Any]:
        """What is there; what is not was kept back."""
        everything = list(found)
        kept = [one for one in everything if one is not None]
        self._counts.drop(len(everything) - len(kept))
        return kept


def _allows(allowed: Mapping[str, Check], pair: KeyValue) -> bool:
    check, value = allowed.get(pair.key), _value(pair.value)
    return check is not None and value is not None and check(value)


def _value(found: AnyValue) -> Value | None:
    """The value of an attribute, None for a form that no attribute of ours has."""
    kind = found.WhichOneof("value")
    if kind in ("string_value", "bool_value", "int_value"):
        value: Value = getattr(found, kind)
        return value
    if kind == "array_value" and all(item.WhichOneof("value") == "string_value" for item in found.array_value.values):
        return tuple(item.string_value for item in found.array_value.values)
    return None
