"""Everywhere that content could show besides pixels: telemetry on the wire, logs and streams, files."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(slots=True)
class Telemetry:
    """An OTLP receiver that keeps what it is sent."""

    endpoint: str
    traces: list[bytes] = field(default_factory=list)
    logs: list[bytes] = field(default_factory=list)
    metrics: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def receiving() -> Iterator[Telemetry]:
    """A receiver on a free port of this machine."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    kept = Telemetry(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Receiver(kept.traces, trace_service_pb2.ExportTraceServiceResponse), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Receiver(kept.logs, logs_service_pb2.ExportLogsServiceResponse), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Receiver(kept.metrics, metrics_service_pb2.ExportMetricsServiceResponse), server
    )
    server.start()
    try:
        yield kept
    finally:
        server.stop(1).wait()


class _Receiver:
    """All services have one method of the same name."""

    def __init__(self, kept: list[bytes], response: type[Any]) -> None:
        self._kept = kept
        self._response = response

    def Export(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: N802 - the proto's name
        """Keep the message."""
        self._kept.append(request.SerializeToString())
        return self._response()


@contextlib.contextmanager
def captured(log: Path) -> Iterator[None]:
    """Standard output and error of this process and its children, and every log record, into a file; what this process
    prints through `sys.stdout` and `sys.stderr` still reaches the terminal."""
    streams = sys.stdout, sys.stderr
    terminal = [os.fdopen(os.dup(descriptor), "w", buffering=1) for descriptor in (1, 2)]
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handler = logging.FileHandler(log)
    root = logging.getLogger()
    level = root.level
    try:
        sys.stdout, sys.stderr = terminal
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
        sys.stdout, sys.stderr = streams
        for descriptor, stream in zip((1, 2), terminal, strict=True):
            stream.flush()
            os.dup2(stream.fileno(), descriptor)
            stream.close()
        os.close(sink)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[None]:
    """Temporary files of this process and its children lie in `folder`."""
    before, environment = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if environment is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = environment


def text_of(content: bytes) -> str:
    """Bytes as text to search in: what is no UTF-8 becomes a mark."""
    return content.decode("utf-8", "replace")


def files_under(folder: Path) -> str:
    """Everything that files hold."""
    return "\n".join(text_of(path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())
