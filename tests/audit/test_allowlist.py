"""Nothing passes the boundary that the tables do not name: canaries in everything that a message can carry."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from otlp_collector import values

from guardedvlm.audit import conventions as names
from guardedvlm.audit.allowlist import Boundary
from guardedvlm.audit.checkpoint import Checkpoint
from guardedvlm.audit.metric_table import METRICS
from guardedvlm.audit.note import Note, NoteSignature
from guardedvlm.audit.telemetry_counts import Counts

CANARY = "Canary Q. Person 123-45-6789"
TRACE, SPAN = b"t" * 16, b"s" * 8


def pair(key: str, value: str = CANARY) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


RESOURCE = Resource(attributes=[pair("canary"), pair("service.name"), pair("service.name", "guardedvlm")])
SCOPE = InstrumentationScope(name=CANARY, version=CANARY, attributes=[pair("canary")])
OURS = InstrumentationScope(name="guardedvlm", version=CANARY, attributes=[pair("canary")])


def through(request: Any) -> tuple[Any, Counts]:
    counts = Counts()
    allowed = Boundary(counts).allowed(request)
    wire = allowed.SerializeToString()
    assert b"anary" not in wire
    assert b"123-45-6789" not in wire
    return allowed, counts


def traces(*spans: Span) -> ExportTraceServiceRequest:
    scope = ScopeSpans(scope=SCOPE, spans=spans, schema_url=CANARY)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=RESOURCE, scope_spans=[scope], schema_url=CANARY)]
    )


def test_a_span() -> None:
    everything = Span(
        trace_id=TRACE,
        span_id=SPAN,
        parent_span_id=CANARY.encode(),
        trace_state=f"canary={CANARY}",
        name="redact",
        attributes=[
            *map(pair, names.SPAN_ATTRIBUTES),
            pair("canary"),
            pair(CANARY, "1"),
            pair("error.type", "INTERNAL"),
        ],
        events=[Span.Event(name=CANARY, attributes=[pair("canary")])],
        links=[Span.Link(trace_id=TRACE, span_id=SPAN, trace_state=CANARY)],
        status=Status(code=Status.STATUS_CODE_ERROR, message=CANARY),
    )
    allowed, counts = through(traces(everything))
    (span,) = allowed.resource_spans[0].scope_spans[0].spans
    assert values(span) == {"error.type": "INTERNAL"}
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert (span.trace_id, span.span_id, span.parent_span_id) == (TRACE, SPAN, b"")
    assert values(allowed.resource_spans[0].resource) == {"service.name": "guardedvlm"}
    assert counts.dropped == len(names.SPAN_ATTRIBUTES) + 2 + 4 + 2


@pytest.mark.parametrize("name", [CANARY, f"chat {CANARY}", "run_guardrail canary", "guardedvlm.stage Canary", ""])
def test_a_span_of_another_name(name: str) -> None:
    allowed, counts = through(traces(Span(trace_id=TRACE, span_id=SPAN, name=name)))
    assert not allowed.resource_spans[0].scope_spans[0].spans
    assert counts.dropped == 1 + 2


@pytest.mark.parametrize("ids", [{"trace_id": CANARY.encode()}, {"span_id": CANARY.encode()}])
def test_a_span_of_other_ids(ids: dict[str, bytes]) -> None:
    given = {"trace_id": TRACE, "span_id": SPAN, **ids}
    allowed, _ = through(traces(Span(name="redact", **given)))
    assert not allowed.resource_spans[0].scope_spans[0].spans


def test_a_log_record() -> None:
    everything = LogRecord(
        event_name=names.EVENT_NAME,
        severity_text=CANARY,
        body=AnyValue(string_value=CANARY),
        trace_id=CANARY.encode(),
        span_id=CANARY.encode(),
        attributes=[*map(pair, names.LOG_ATTRIBUTES), pair("canary"), pair(names.EVENT, "RELEASED")],
    )
    other = LogRecord(event_name=CANARY)
    scope = ScopeLogs(scope=SCOPE, log_records=[everything, other], schema_url=CANARY)
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=RESOURCE, scope_logs=[scope])])
    allowed, counts = through(request)
    (record,) = allowed.resource_logs[0].scope_logs[0].log_records
    assert values(record) == {names.EVENT: "RELEASED"}
    assert (record.trace_id, record.span_id) == (b"", b"")
    assert counts.dropped == len(names.LOG_ATTRIBUTES) + 1 + 2 + 1 + 2


def point(number: int, *labels: KeyValue) -> NumberDataPoint:
    exemplar = Exemplar(filtered_attributes=[pair("canary")], trace_id=TRACE)
    return NumberDataPoint(as_int=number, attributes=labels, exemplars=[exemplar])


def test_metrics() -> None:
    face = pair(names.KIND, "FACE")
    found = [
        Metric(name="canary", sum=Sum(data_points=[point(1)])),
        Metric(
            name="guardedvlm.regions",
            unit=CANARY,
            description=CANARY,
            metadata=[pair("canary")],
            sum=Sum(data_points=[point(7, face), point(3, face, pair("canary")), point(2, pair(names.KIND))]),
        ),
        Metric(name="guardedvlm.requests", gauge=Gauge(data_points=[point(1, pair("guardedvlm.tenant"))])),
        Metric(name="guardedvlm.ledger.healthy", summary=Summary()),
    ]
    scopes = [ScopeMetrics(scope=OURS, metrics=found), ScopeMetrics(scope=SCOPE, metrics=found[1:2])]
    request = ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=RESOURCE, scope_metrics=scopes, schema_url=CANARY)]
    )
    allowed, counts = through(request)
    (scope,) = allowed.resource_metrics[0].scope_metrics
    (metric,) = scope.metrics
    assert (metric.name, metric.unit) == ("guardedvlm.regions", METRICS["guardedvlm.regions"].unit)
    assert [(one.as_int, len(one.exemplars)) for one in metric.sum.data_points] == [(7, 0)]
    assert counts.dropped == 1 + 2 + 2 + 1 + 1 + 2


@settings(max_examples=50)
@given(st.sampled_from(sorted(names.SPAN_ATTRIBUTES | names.LOG_ATTRIBUTES)), st.text(min_size=1))
def test_free_text_passes_no_row(name: str, text: str) -> None:
    """Whatever a caller writes: no row takes it, unless it is of the row's closed form."""
    words = f"{text} of Quillfeather"
    for table in (names.SPAN_ATTRIBUTES, names.LOG_ATTRIBUTES):
        assert name not in table or not table[name](words)


@pytest.mark.parametrize(
    "value",
    [
        AnyValue(bytes_value=CANARY.encode()),
        AnyValue(kvlist_value=KeyValueList(values=[pair("canary")])),
        AnyValue(),
    ],
)
def test_values_of_other_forms(value: AnyValue) -> None:
    odd = [KeyValue(key=key, value=value) for key in names.SPAN_ATTRIBUTES]
    allowed, _ = through(traces(Span(trace_id=TRACE, span_id=SPAN, name="redact", attributes=odd)))
    assert not allowed.resource_spans[0].scope_spans[0].spans[0].attributes


def test_no_label_of_a_metric_is_a_callers() -> None:
    for metric in METRICS.values():
        for name, allows in metric.labels.items():
            assert not allows(CANARY), (metric.name, name)
            assert not allows("quillfeather@canary.example"), (metric.name, name)


ORIGIN = f"guardedvlm/{'a0' * 16}/years-6"
SIGNED = NoteSignature(ORIGIN, b"hash", b"s" * 64)


def checkpoint(*signatures: NoteSignature, origin: str = ORIGIN, extensions: tuple[str, ...] = ()) -> str:
    text = Checkpoint(origin, 57, b"r" * 32, extensions).text
    return Note(text, signatures or (SIGNED,)).encode().decode()


def checkpoints(body: str) -> ExportLogsServiceRequest:
    record = LogRecord(
        event_name="guardedvlm.checkpoint",
        body=AnyValue(string_value=body),
        severity_text=CANARY,
        attributes=[pair("canary"), pair("guardedvlm.log")],
        trace_id=TRACE,
    )
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=RESOURCE, scope_logs=[ScopeLogs(scope=SCOPE, log_records=[record])])]
    )


def test_a_checkpoint_is_the_one_body_that_leaves() -> None:
    allowed, _ = through(checkpoints(checkpoint()))
    (record,) = allowed.resource_logs[0].scope_logs[0].log_records
    assert record.body.string_value == checkpoint()
    assert not record.attributes
    assert not record.trace_id


@pytest.mark.parametrize(
    "body",
    [
        "",
        CANARY,
        checkpoint() + CANARY,
        checkpoint(origin=f"guardedvlm/{CANARY}"),
        checkpoint(extensions=(CANARY,)),
        checkpoint(SIGNED, NoteSignature("Canary", b"hash", b"s" * 64)),
        checkpoint(SIGNED, NoteSignature(ORIGIN, b"hash", CANARY.encode())),
        checkpoint(NoteSignature("Canary", b"hash", b"s" * 64)),
    ],
)
def test_a_body_that_is_no_checkpoint_of_ours_does_not_leave(body: str) -> None:
    allowed, counts = through(checkpoints(body))
    assert not allowed.resource_logs[0].scope_logs[0].log_records
    assert counts.dropped > 0
