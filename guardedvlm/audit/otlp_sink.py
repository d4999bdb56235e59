"""Checkpoints for a collector: apart from the other sinks, since nothing that guards may load a network client."""

from __future__ import annotations

import time
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from guardedvlm.audit.allowlist import SCOPE, Boundary
from guardedvlm.audit.checkpoint import EVENT_NAME, SignedCheckpoint
from guardedvlm.audit.conventions import PROVIDER
from guardedvlm.audit.otlp import Collector, NotDelivered
from guardedvlm.audit.sink import SinkFailed
from guardedvlm.audit.telemetry_counts import Counts


class OtlpSink:
    """An OpenTelemetry collector: each checkpoint is a log record whose body is the note, through the allow-list of all
    telemetry.

    `endpoint` and `ca` are as of `audit.otlp.Collector`, which raises ConfigurationError(SETTINGS_INVALID).
    """

    def __init__(self, endpoint: str, ca: Path | None = None) -> None:
        self._collector = Collector(endpoint, ca)

    def deliver(self, signed: SignedCheckpoint) -> None:
        """Export and wait for the collector's word; what it does not keep has not arrived."""
        counts = Counts()
        allowed = Boundary(counts).allowed(_request(signed))
        try:
            is_kept = not counts.dropped and self._collector.send(allowed) == 0
        except NotDelivered:
            raise SinkFailed from None
        if not is_kept:
            raise SinkFailed

    def close(self) -> None:
        """Close the channel."""
        self._collector.close()


def _request(signed: SignedCheckpoint) -> ExportLogsServiceRequest:
    record = LogRecord(
        time_unix_nano=time.time_ns(),
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        event_name=EVENT_NAME,
        body=AnyValue(string_value=signed.note.encode().decode()),
    )
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=PROVIDER))])
    scoped = ScopeLogs(scope=SCOPE, log_records=[record])
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[scoped])])
