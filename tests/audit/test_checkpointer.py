"""Checkpoints are written when they are due, to both places; a sink that fails takes readiness away, not requests."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from guardedvlm.audit import checkpointer
from guardedvlm.audit.checkpoint import CHECKPOINTS, SignedCheckpoint, last_checkpoint, read_checkpoints
from guardedvlm.audit.checkpointer import Cadence, Checkpointer
from guardedvlm.audit.facts import Method
from guardedvlm.audit.keys import KeyRing, Signature, UnknownKey, create_keys
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.otlp_sink import OtlpSink
from guardedvlm.audit.record import make_entry
from guardedvlm.audit.sink import CheckpointSink, FileSink, LineSink, SinkFailed
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

ORIGIN = "a0" * 16
OFTEN = Cadence(records=10, seconds=0.05, bound=0.3)
SELDOM = Cadence(records=10, seconds=3600.0, bound=3600.0)
Make = Callable[..., Logs]


class Fails:
    """A sink that fails until it is told otherwise."""

    def __init__(self) -> None:
        self.fails = True
        self.got: list[SignedCheckpoint] = []

    def deliver(self, signed: SignedCheckpoint) -> None:
        if self.fails:
            raise SinkFailed
        self.got.append(signed)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return create_keys(tmp_path / "keys")


@pytest.fixture
def make(folder: Path, ring: KeyRing) -> Iterator[Make]:
    made: list[Logs] = []

    def make_logs(sink: CheckpointSink | None = None, cadence: Cadence = OFTEN, signer: object = None) -> Logs:
        writes = Checkpointer(signer or ring, ring.public.find, sink, cadence)  # type: ignore[arg-type]
        made.append(Logs(folder, ORIGIN, checkpointer=writes))
        return made[-1]

    yield make_logs
    for logs in made:
        logs.close()


def _wait(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


async def _append(logs: Logs, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await logs.service.append(make_entry(State.RECEIVED, f"{number:032x}", {"method": Method.ANALYZE_IMAGE}))


def _sizes(path: Path) -> list[int]:
    return [signed.checkpoint.size for signed in read_checkpoints(path).found] if path.exists() else []


async def test_they_are_written_in_time_and_at_the_close_to_both_places(
    make: Make, folder: Path, tmp_path: Path, ring: KeyRing
) -> None:
    own, elsewhere = folder / "service" / CHECKPOINTS, tmp_path / "elsewhere"
    logs = make(FileSink(elsewhere))
    _wait(lambda: _sizes(elsewhere))
    await _append(logs, 3)
    _wait(lambda: _sizes(elsewhere)[-1] == 4)
    await _append(logs, 1, 3)
    logs.close()
    assert _sizes(own) == _sizes(elsewhere)
    assert _sizes(own)[-1] == 5
    assert all(signed.verify(ring.public.keys) for signed in read_checkpoints(elsewhere).found)
    assert read_checkpoints(own).damaged == 0
    assert last_checkpoint(own) == read_checkpoints(own).found[-1]


async def test_they_are_due_by_records_too_and_nothing_new_is_not_told_again(make: Make, folder: Path) -> None:
    own = folder / "service" / CHECKPOINTS
    logs = make(cadence=SELDOM)
    _wait(lambda: _sizes(own) == [1])
    await _append(logs, 9)
    await asyncio.sleep(0.6)
    assert _sizes(own) == [1]
    await _append(logs, 1, 9)
    _wait(lambda: _sizes(own) == [1, 11])
    logs.close()
    assert _sizes(own) == [1, 11]


async def test_a_sink_that_fails_is_tried_again_and_ends_readiness_after_the_bound(make: Make, folder: Path) -> None:
    sink = Fails()
    logs = make(sink)
    _wait(lambda: logs.checkpointer is not None and logs.checkpointer.failures)
    assert logs.healthy
    _wait(lambda: not logs.healthy)
    await _append(logs, 2)  # requests go on: their records are durable
    assert not await logs.probe()
    sink.fails = False
    _wait(lambda: logs.healthy)
    _wait(lambda: sink.got and sink.got[-1].checkpoint.size == 3)
    assert await logs.probe()
    assert len(sink.got) <= 2  # the newest one alone: its root covers those that could not be delivered


async def test_a_signer_that_fails_ends_readiness_too(make: Make, ring: KeyRing) -> None:
    class Gone:
        is_gone = True

        def sign(self, message: bytes) -> Signature:
            if self.is_gone:
                raise Unavailable(Reason.EVIDENCE_UNSIGNED)
            return ring.sign(message)

    signer = Gone()
    logs = make(signer=signer)
    _wait(lambda: not logs.healthy)
    signer.is_gone = False
    _wait(lambda: logs.healthy)


async def test_a_key_that_nobody_knows_is_no_checkpoint(make: Make, tmp_path: Path, folder: Path) -> None:
    logs = make(signer=create_keys(tmp_path / "other"))
    _wait(lambda: not logs.healthy)
    assert _sizes(folder / "service" / CHECKPOINTS) == []
    with pytest.raises(UnknownKey):
        create_keys(tmp_path / "keys").public.find("0" * 16)


async def test_what_a_crash_left_half_written_takes_no_other_with_it(make: Make, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    logs = make(FileSink(elsewhere))
    _wait(lambda: _sizes(elsewhere))
    logs.close()
    for cut in (1, 2, 40, 200):
        before = elsewhere.read_bytes()
        elsewhere.write_bytes(before[:-cut])
        logs = make(FileSink(elsewhere))
        logs.close()
        assert elsewhere.read_bytes().startswith(before[:-cut])
        assert _sizes(elsewhere)[-1] == logs.service.head.size


async def test_lines_of_standard_output_are_read_back(make: Make, tmp_path: Path) -> None:
    stream = io.StringIO()
    make(LineSink(stream)).close()
    for line in stream.getvalue().splitlines():
        assert list(json.loads(line)) == ["guardedvlm_checkpoint"]
    (tmp_path / "log").write_text("ready at localhost:8443\n" + stream.getvalue())
    assert _sizes(tmp_path / "log")[-1] == 1
    stream.close()
    with pytest.raises(SinkFailed):
        LineSink(stream).deliver(read_checkpoints(tmp_path / "log").found[0])


async def test_a_collector_gets_each_as_a_log_record(make: Make, tmp_path: Path) -> None:
    bodies: list[str] = []

    class Collector(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: object, context: object) -> object:
            for resource in request.resource_logs:  # type: ignore[attr-defined]
                for scope in resource.scope_logs:
                    bodies.extend(record.body.string_value for record in scope.log_records)
                    assert {record.event_name for record in scope.log_records} == {"guardedvlm.checkpoint"}
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    logs = make(OtlpSink(f"http://127.0.0.1:{port}"))
    _wait(lambda: bodies)
    await _append(logs, 2)
    logs.close()
    server.stop(None).wait()
    found = [SignedCheckpoint.decode(body.encode()).checkpoint.size for body in bodies]
    assert found[0] == 1
    assert found[-1] == 3
    gone = OtlpSink(f"http://127.0.0.1:{port}")
    with pytest.raises(SinkFailed):
        gone.deliver(SignedCheckpoint.decode(bodies[0].encode()))
    gone.close()
    with pytest.raises(ConfigurationError):
        OtlpSink("collector:4317")


async def test_what_a_collector_does_not_keep_has_not_arrived(make: Make, folder: Path) -> None:
    class Rejecting(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: object, context: object) -> object:
            partial = logs_service_pb2.ExportLogsPartialSuccess(rejected_log_records=1)
            return logs_service_pb2.ExportLogsServiceResponse(partial_success=partial)

    make().close()
    (signed, *_) = read_checkpoints(folder / "service" / CHECKPOINTS).found
    server = grpc.server(futures.ThreadPoolExecutor(1))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Rejecting(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sink = OtlpSink(f"http://127.0.0.1:{port}")
    with pytest.raises(SinkFailed):
        sink.deliver(signed)
    sink.close()
    server.stop(None).wait()


class Hangs(Fails):
    """A sink that does not come back from a delivery until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()
        self.closed = False

    def deliver(self, signed: SignedCheckpoint) -> None:
        self.entered.set()
        self.gate.wait()
        self.got.append(signed)

    def close(self) -> None:
        self.closed = True


async def test_a_sink_that_hangs_holds_up_neither_appends_nor_the_logs_own_checkpoints(
    make: Make, folder: Path
) -> None:
    logs = make(sink := Hangs())
    _wait(sink.entered.is_set)
    await _append(logs, 20)
    assert logs.service.head.size == 21
    _wait(lambda: _sizes(folder / "service" / CHECKPOINTS)[-1] == 21)
    sink.gate.set()
    logs.close()
    assert sink.closed
    assert sink.got[-1].checkpoint.size == 21


async def test_a_sink_that_hangs_ends_readiness_after_the_bound_and_comes_back(make: Make) -> None:
    logs = make(sink := Hangs())
    _wait(sink.entered.is_set)
    assert logs.healthy
    _wait(lambda: not logs.healthy)
    sink.gate.set()
    _wait(lambda: logs.healthy)
    assert sink.got


async def test_a_signer_that_hangs_ends_readiness_too(make: Make, ring: KeyRing) -> None:
    gate = threading.Event()

    class Stopped:
        def sign(self, message: bytes) -> Signature:
            gate.wait()
            return ring.sign(message)

    logs = make(signer=Stopped())
    _wait(lambda: not logs.healthy)
    gate.set()
    _wait(lambda: logs.healthy)


async def test_a_checkpoint_that_waits_too_long_ends_readiness_though_every_turn_is_short(make: Make) -> None:
    logs = make(Fails(), SELDOM)
    assert logs.checkpointer is not None
    (watched,) = logs.checkpointer._watched
    assert logs.healthy
    watched.waits_since = time.monotonic() - 2 * SELDOM.bound
    assert not logs.healthy


async def test_the_end_does_not_wait_for_what_hangs(make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "CLOSE_SECONDS", 0.2)
    logs = make(sink := Hangs())
    _wait(sink.entered.is_set)
    await _append(logs, 2)
    began = time.monotonic()
    await asyncio.to_thread(logs.close)
    assert time.monotonic() - began < 5
    assert _sizes(folder / "service" / CHECKPOINTS)[-1] == 3  # the log's own last one is there
    assert not sink.closed
    sink.gate.set()
    _wait(lambda: sink.closed)
