"""An OTLP collector in a process of its own: writes every request to a file, then acknowledges it.

    python otlp_collector.py PORT FILE [--reject N] [--unacknowledged N [--retry SECONDS]]

A line is the signal and the request's bytes in base64. `--reject` keeps back N items of each request, as a partial
success; `--unacknowledged` writes the first N requests and answers UNAVAILABLE all the same, asking for
a pause of `--retry`.
"""

import argparse
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


class Collector:
    """A collector process that a test starts, kills and starts again, at one port, with one file."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.file = folder / "collected"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [sys.executable, __file__, str(self.port), str(self.file), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """SIGKILL: whatever it was doing, it does no more."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        self.process = None

    def received(self, name: str) -> list:
        """Requests of a signal in the order of arrival."""
        if not self.file.exists():
            return []
        lines = [line.split(b" ", 1) for line in self.file.read_bytes().split(b"\n")[:-1]]
        wanted = [content for found, content in lines if found.decode() == name]
        return [REQUESTS[name].FromString(base64.b64decode(content)) for content in wanted]

    def log_records(self) -> list:
        """Every log record that arrived, as often as it did."""
        return [
            record
            for request in self.received("logs")
            for one in request.resource_logs
            for scope in one.scope_logs
            for record in scope.log_records
        ]

    def spans(self) -> list:
        """Every span that arrived, as often as it did."""
        return [
            span
            for request in self.received("traces")
            for one in request.resource_spans
            for scope in one.scope_spans
            for span in scope.spans
        ]

    def points(self) -> dict:
        """The newest points of each metric."""
        found = {}
        for request in self.received("metrics"):
            for one in request.resource_metrics:
                for scope in one.scope_metrics:
                    for metric in scope.metrics:
                        found[metric.name] = list(getattr(metric, metric.WhichOneof("data")).data_points)
        return found

    def wire(self) -> bytes:
        """All bytes that arrived."""
        return b"".join(request.SerializeToString() for name in REQUESTS for request in self.received(name))


def values(thing) -> dict:
    """Attributes of a span, a log record, a point or a resource."""
    found = {}
    for pair in thing.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@contextlib.contextmanager
def collecting(folder: Path, *options: str):
    """A started collector with its file in `folder`."""
    collector = Collector(folder)
    collector.start(*options)
    try:
        yield collector
    finally:
        collector.kill()


def wait_until(is_so, seconds: float = 30.0) -> None:
    """Return when `is_so()`; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


class _Servicer:
    def __init__(self, name: str, response, rejected: str, service: "_Service") -> None:
        self._name = name
        self._response = response
        self._rejected = rejected
        self._service = service

    def Export(self, request, context):
        if not self._service.take(self._name, request.SerializeToString()):
            context.abort_with_status(rpc_status.to_status(self._service.refusal()))
        response = self._response()
        if self._service.reject:
            setattr(response.partial_success, self._rejected, self._service.reject)
            response.partial_success.error_message = "what a collector says of it"
        return response


class _Service:
    def __init__(self, file: Path, reject: int, unacknowledged: int, retry: int) -> None:
        self.reject = reject
        self._retry = retry
        self._lock = threading.Lock()
        self._unacknowledged = unacknowledged
        with contextlib.suppress(FileNotFoundError):  # what a kill left of a last line
            whole = file.read_bytes()
            os.truncate(file, whole.rfind(b"\n") + 1)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def refusal(self) -> status_pb2.Status:
        refusal = status_pb2.Status(code=code_pb2.UNAVAILABLE)
        if self._retry:
            refusal.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=self._retry)))
        return refusal

    def take(self, name: str, content: bytes) -> bool:
        with self._lock:
            os.write(self._descriptor, name.encode() + b" " + base64.b64encode(content) + b"\n")
            self._unacknowledged -= 1
            return self._unacknowledged < 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--reject", type=int, default=0)
    parser.add_argument("--unacknowledged", type=int, default=0)
    parser.add_argument("--retry", type=int, default=0)
    given = parser.parse_args()
    service = _Service(given.file, given.reject, given.unacknowledged, given.retry)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        _Servicer("traces", trace_service_pb2.ExportTraceServiceResponse, "rejected_spans", service), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        _Servicer("logs", logs_service_pb2.ExportLogsServiceResponse, "rejected_log_records", service), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        _Servicer("metrics", metrics_service_pb2.ExportMetricsServiceResponse, "rejected_data_points", service), server
    )
    assert server.add_insecure_port(f"127.0.0.1:{given.port}")
    server.start()
    os.write(1, b"ready\n")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
