"""OTLP over gRPC: one request, one answer. What is sent went through the allow-list; the answer's text is not read.

Not the SDK's exporters: they throw a batch away after some tries and do not tell of a partial success.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from guardedvlm.audit.allowlist import Boundary, Request
from guardedvlm.audit.telemetry_counts import Counts
from guardedvlm.errors import ConfigurationError, Reason

EXPORT_SECONDS = 10.0
"""Limit of one delivery: OTLP's default (OTEL_EXPORTER_OTLP_TIMEOUT)."""
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.\-\[\]:]+)\Z")
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # telemetry goes where the settings say
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # the tailer has a back-off of its own
)


class NotDelivered(Exception):
    """A request that the collector did not take; `retry_seconds` is when it asks for it again, None when it does not
    say."""

    def __init__(self, retry_seconds: float | None = None) -> None:
        super().__init__()
        self.retry_seconds = retry_seconds


class Sink(Protocol):
    """Where requests go."""

    def send(self, request: Request) -> int:
        """Deliver a request and return how many of its items were not kept. Raises NotDelivered."""
        ...

    def close(self) -> None:
        """Give back what the sink holds."""
        ...


class Collector:
    """A collector at "http://host:port" (plain text, for one beside the service) or "https://host:port".

    `ca` is the authority of an https collector's certificate; without it those of the system count. Raises
    ConfigurationError(SETTINGS_INVALID) when `endpoint` is no such address or `ca` cannot be read.
    """

    def __init__(self, endpoint: str, ca: Path | None = None) -> None:
        found = _ENDPOINT.match(endpoint)
        if found is None:
            raise _invalid("the OTLP endpoint is not http://host:port or https://host:port")
        if endpoint.startswith("https:"):
            self._channel = grpc.secure_channel(found[1], _credentials(ca), options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(found[1], options=_OPTIONS)
        self._traces = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated code
        self._logs = LogsServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._metrics = MetricsServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def send(self, request: Request) -> int:
        """Deliver a request. Raises NotDelivered, for a refusal too: what to do about it is the caller's."""
        if isinstance(request, ExportTraceServiceRequest):
            return _rejected(_call(self._traces.Export, request), "rejected_spans")
        if isinstance(request, ExportLogsServiceRequest):
            return _rejected(_call(self._logs.Export, request), "rejected_log_records")
        return _rejected(_call(self._metrics.Export, request), "rejected_data_points")

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class Console:
    """Writes requests as JSON, one a line, to `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, request: Request) -> int:
        """Write a request. Raises NotDelivered."""
        try:
            self._out.write(MessageToJson(request, indent=None) + "\n")
            self._out.flush()
        except (OSError, ValueError):  # a closed stream is a ValueError
            raise NotDelivered from None
        return 0

    def close(self) -> None:
        """Leave the stream to its owner."""


class Exporter:
    """Sends what the allow-list lets through, and counts."""

    def __init__(self, sink: Sink, counts: Counts) -> None:
        self.counts = counts
        self._sink = sink
        self._boundary = Boundary(counts)

    def export(self, request: Request) -> None:
        """Return when the collector took `request`. Raises NotDelivered."""
        signal = _signal(request)
        allowed = self._boundary.allowed(request)
        try:
            self.counts.reject(signal, self._sink.send(allowed))
        except NotDelivered:
            self.counts.fail(signal)
            raise

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def _call(export: Callable[..., Any], request: Request) -> Any:
    try:
        return export(request, timeout=EXPORT_SECONDS)
    except grpc.RpcError as failure:
        raise NotDelivered(_retry_seconds(failure)) from None
    except ValueError:  # the channel was closed
        raise NotDelivered from None


def _rejected(response: Any, field: str) -> int:
    """Items that a partial success tells of; its message may say anything and is not read."""
    return int(getattr(response.partial_success, field))


def _retry_seconds(failure: grpc.RpcError) -> float | None:
    """What the collector asks for in the details of its status (RetryInfo)."""
    info = RetryInfo()
    with contextlib.suppress(DecodeError, ValueError):  # details that are damaged, or contradict the status
        status = rpc_status.from_call(cast(grpc.Call, failure))
        for detail in status.details if status is not None else ():
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None


def _signal(request: Request) -> str:
    if isinstance(request, ExportTraceServiceRequest):
        return "traces"
    return "logs" if isinstance(request, ExportLogsServiceRequest) else "metrics"


def _credentials(ca: Path | None) -> grpc.ChannelCredentials:
    if ca is None:
        return grpc.ssl_channel_credentials()
    try:
        return grpc.ssl_channel_credentials(ca.read_bytes())
    except OSError:
        raise _invalid("the collector's authority cannot be read") from None


def _invalid(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place="otlp", explanation=explanation)
