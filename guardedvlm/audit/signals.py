"""Records as OTLP: a log record for each, and the spans of a request when it is over. The same record always gives the
same ids, so that what is delivered twice is recognised: `log.record.uid`, and trace and span ids made from the audit
id.

The root span is the request, in the caller's trace where its record names one, else in a trace whose id is the audit
id. Spans below it are as long as the stage was measured to take and end when the record was written that closed it: the
length is exact, the place is not where several stages share a record.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from guardedvlm.audit import conventions as names
from guardedvlm.audit.checks import Value
from guardedvlm.audit.facts import Facts, Stage
from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.summary import StageTime, Summary
from guardedvlm.core.lifecycle import State

SAMPLED = 1
"""Trace flags: every record is told."""
_CONTEXT = b"guardedvlm.v1.span\x00"
_NO_SPAN = frozenset({Stage.TOTAL, Stage.LEDGER})
"""The root is the total; the ledger's time is spread over all steps."""
_SCOPE = InstrumentationScope(name=names.PROVIDER)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEVERITY = {
    State.REFUSED: SeverityNumber.SEVERITY_NUMBER_WARN,
    LedgerEvent.INCIDENT: SeverityNumber.SEVERITY_NUMBER_ERROR,
}
_LOG_NAME = re.compile(r"[a-z]{1,16}(-[0-9]{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Told:
    """A record, the hash of its line, and the trace of its request when that is known."""

    record: Record
    hash: str
    trace: str


def log_name(ledger: Path, log: Path) -> str:
    """Name of a log in telemetry: its folder's, or "ledger" where the ledger itself is one; never an unknown text."""
    if log == ledger:
        return "ledger"
    plain = _LOG_NAME.match(log.name) and log.name != "ledger"
    return log.name if plain else f"log-{hashlib.sha256(log.name.encode()).hexdigest()[:12]}"


def trace_id(request: str, facts: Facts) -> str:
    """The caller's trace, or the audit id as a trace of its own."""
    return facts["trace"]["id"] if "trace" in facts else request


def span_id(request: str, part: str) -> bytes:
    """Id of the span of `part` of a request; "" is the request itself."""
    return hashlib.sha256(_CONTEXT + f"{request}/{part}".encode("ascii")).digest()[:8]


def resource(version: str, instance: str) -> Resource:
    """Who tells: the service, and the replica that wrote the records."""
    return Resource(
        attributes=_pairs(
            {
                "service.name": names.PROVIDER,
                "service.version": version,
                "service.instance.id": instance,
                "guardedvlm.semconv.revision": names.REVISION,
            }
        )
    )


def logs_request(told: Sequence[Told], log: str, version: str) -> ExportLogsServiceRequest:
    """Log records in the order of `told`, under the replica that wrote them."""
    observed = time.time_ns()
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=resource(version, origin),
                scope_logs=[ScopeLogs(scope=_SCOPE, log_records=[_log(one, log, observed) for one in some])],
            )
            for origin, some in itertools.groupby(told, lambda one: one.record.origin)
        ]
    )


def traces_request(summaries: Iterable[Summary], log: str, version: str) -> ExportTraceServiceRequest:
    """The spans of finished requests."""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=resource(version, origin),
                scope_spans=[ScopeSpans(scope=_SCOPE, spans=[span for one in some for span in _spans(one, log)])],
            )
            for origin, some in itertools.groupby(summaries, lambda one: one.origin)
        ]
    )


def _log(told: Told, log: str, observed: int) -> LogRecord:
    record = told.record
    told_by_all: dict[str, Value] = {
        names.UID: f"{record.origin}/{log}/{record.sequence}",
        names.EVENT: record.event.value,
        names.LEDGER_LOG: log,
        names.LEDGER_ORIGIN: record.origin,
        names.SEQUENCE: record.sequence,
        names.RECORD_HASH: told.hash,
    }
    made = LogRecord(
        time_unix_nano=_nanoseconds(record.at),
        observed_time_unix_nano=observed,
        severity_number=_SEVERITY.get(record.event, SeverityNumber.SEVERITY_NUMBER_INFO),
        event_name=names.EVENT_NAME,
        attributes=_pairs(told_by_all | names.told(record.facts)),
    )
    if record.request is not None:
        made.attributes.append(_pair(names.REQUEST_ID, record.request))
        made.trace_id, made.span_id = bytes.fromhex(told.trace), span_id(record.request, "")
        made.flags = SAMPLED
    return made


def _spans(summary: Summary, log: str) -> Iterable[Span]:
    facts = summary.facts
    trace = bytes.fromhex(trace_id(summary.request, facts))
    root = Span(
        trace_id=trace,
        span_id=span_id(summary.request, ""),
        parent_span_id=bytes.fromhex(facts["trace"]["parent"]) if "trace" in facts else b"",
        flags=SAMPLED,
        name=names.root_name(summary),
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nanoseconds(summary.began),
        end_time_unix_nano=_nanoseconds(summary.ended),
        attributes=_pairs(_root_values(summary, log) | names.told(facts)),
    )
    if summary.outcome != State.RELEASED:
        root.status.code = Status.STATUS_CODE_ERROR
    yield root
    for part in summary.stages:
        if part.stage not in _NO_SPAN:
            yield _stage(part, summary, root)


def _root_values(summary: Summary, log: str) -> dict[str, Value]:
    return {
        names.REQUEST_ID: summary.request,
        names.OUTCOME: summary.outcome,
        names.SEQUENCE: summary.sequence,
        names.LEDGER_LOG: log,
    }


def _stage(part: StageTime, summary: Summary, root: Span) -> Span:
    end = _nanoseconds(part.closed_at)
    return Span(
        trace_id=root.trace_id,
        span_id=span_id(summary.request, part.stage.value),
        parent_span_id=root.span_id,
        flags=SAMPLED,
        name=names.child_name(part.stage),
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=max(end - part.milliseconds * 1_000_000, root.start_time_unix_nano),
        end_time_unix_nano=end,
        attributes=_pairs(names.child_attributes(part.stage, summary)),
    )


def _pairs(values: Mapping[str, Value]) -> list[KeyValue]:
    return [_pair(name, value) for name, value in values.items()]


def _pair(name: str, value: Value) -> KeyValue:
    return KeyValue(key=name, value=_any(value))


def _any(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=str(value))
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=item) for item in value]))


def _nanoseconds(moment: datetime) -> int:
    """Unix time in nanoseconds, exact to the record's millisecond."""
    return (moment - _EPOCH) // timedelta(milliseconds=1) * 1_000_000
