"""Telemetry at a real collector: a process that the test starts, kills with SIGKILL and starts again."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.trace import get_tracer_provider
from otlp_collector import Collector, collecting, values, wait_until

from guardedvlm.audit import conventions as names
from guardedvlm.audit import otel, otlp
from guardedvlm.audit.facts import Facts, Method, Stage, Verification, VerifyVerdict
from guardedvlm.audit.grid import hidden_grid
from guardedvlm.audit.lag import LagWatch
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.measures import DURATION_BOUNDS
from guardedvlm.audit.metric_table import METRICS
from guardedvlm.audit.otel import Otel, Tailing, TailProcess, Telemetry
from guardedvlm.audit.record import LedgerEvent, make_entry, record_hash
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.tail import BATCH_RECORDS
from guardedvlm.audit.telemetry_table import telemetry_table
from guardedvlm.audit.verify import read_records
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.core.quota import Quota
from guardedvlm.core.region import Box, Size
from guardedvlm.errors import ConfigurationError, Reason, Unavailable
from guardedvlm.rpc.calls import Calls
from guardedvlm.transport.dev_pki import write_dev_pki

ROOT = Path(__file__).parents[2]
ORIGIN, TENANT = "a0" * 16, "b1" * 16
ERROR = 2  # opentelemetry.proto.trace.v1.Status.STATUS_CODE_ERROR


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with collecting(tmp_path) as started:
        yield started


def telemetry_of(ledger: Path, collector: Collector, tailing: Tailing | None = None) -> Telemetry:
    return Telemetry(
        Otel.OTLP, ledger, tailing or Tailing(), version="0.1.0", origin=ORIGIN, endpoint=collector.endpoint
    )


async def lived(ledger: Ledger, life: dict[State, Facts]) -> RequestLog:
    (_, first), *rest = life.items()
    log = await RequestLog.begin(ledger, **first)
    for state, facts in rest:
        await log.advance(state, **facts)
    return log


def delivered(ledger: Path, collector: Collector) -> None:
    """Deliver all that is there, with a service's own telemetry, and end it."""
    telemetry = telemetry_of(ledger, collector)
    telemetry.shutdown()
    assert telemetry.counts.dropped == 0


async def test_a_request_becomes_a_trace(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts]
) -> None:
    trace = life[State.RECEIVED]["trace"]
    log = await lived(ledger, life)
    delivered(folder, collector)
    spans = {span.name: span for span in collector.spans()}
    root = spans.pop("chat reader")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (trace["id"], trace["parent"])
    assert set(spans) == {
        "guardedvlm.stage decode",
        "run_guardrail redact",
        "run_guardrail verify",
        "run_guardrail prompt",
        "guardedvlm.stage infer",
        "run_guardrail screen",
    }
    for span in spans.values():
        assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    facts = values(root)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.provider.name"] == "guardedvlm"
    assert facts["gen_ai.request.model"] == "reader"
    assert facts["gen_ai.request.stream"] is False
    assert facts["gen_ai.response.finish_reasons"] == ["stop"]
    assert (facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"]) == (100, 7)
    assert facts["guardedvlm.regions.PERSON"] == 2
    assert facts["guardedvlm.area_permille.FACE"] == 40
    assert facts["guardedvlm.tenant"] == TENANT
    assert facts["guardedvlm.policy.name"] == "healthcare"
    assert facts[names.SEQUENCE] == log.records[-1].sequence
    assert facts[names.OUTCOME] == "RELEASED"
    screen = values(spans["run_guardrail screen"])  # a check that only watches
    assert (screen[names.VERDICT], screen[names.ACTION], screen[names.TARGET]) == ("deny", "allow", "output")
    assert values(spans["run_guardrail verify"])[names.VERDICT] == "allow"
    redact = values(spans["run_guardrail redact"])
    assert (redact[names.VERDICT], redact[names.MODIFIED], redact[names.POLICY_ID]) == ("modify", True, "healthcare")
    assert values(spans["guardedvlm.stage infer"]) == {names.STAGE: "infer"}


async def test_each_record_becomes_a_log_record(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts]
) -> None:
    await lived(ledger, life)
    delivered(folder, collector)
    told = [values(record) for record in collector.log_records()]
    assert [one[names.EVENT] for one in told] == ["OPENED", *life]
    assert [one[names.RECORD_HASH] for one in told] == [record_hash(one.encode()) for one in read_records(folder)]
    by_event = {one[names.EVENT]: one for one in told}
    assert by_event["GENERATING"]["guardedvlm.prompt.verdict"] == "modify"
    assert (by_event["RELEASE_OPEN"]["guardedvlm.answer.verdict"]) == "deny"
    assert by_event["RELEASED"]["guardedvlm.grounding.masked"] == 1
    assert by_event["DECODED"]["guardedvlm.milliseconds.decode"] == 12
    for request in collector.received("logs"):
        for one in request.resource_logs:
            assert values(one.resource)["service.instance.id"] == ORIGIN


async def test_an_incident_is_an_error_that_names_kinds(folder: Path, collector: Collector, ledger: Ledger) -> None:
    """What a SIEM alerts on; the name of a sample that nobody has marked does not leave."""
    of = {"tenant": TENANT, "policy": "aa" * 32}
    kinds = (Kind.PERSON, Kind.DATE)
    marked = {"sample": "5a" * 16, "reviewer": "c3" * 16, "verdict": ReviewVerdict.LEAKED, "kinds": kinds}
    cells = {"cells": hidden_grid([Box(0, 0, 2, 2)], Size(32, 32)), "of": "d4" * 16, "basis": Basis.RANDOM}
    sampled = {"tenant": TENANT, "basis": Basis.RANDOM, "sample": "5b" * 16, "expires": 1_800_000_000}
    pruned = {"log": "years-6", "origin": ORIGIN, "records": 7, "root": "bb" * 32, "until": "2028-02-29T12:00:00.000Z"}
    for event, fact, told in (
        (LedgerEvent.SAMPLED, "sampled", sampled),
        (LedgerEvent.MARKED, "marked", marked | cells | of),
        (LedgerEvent.INCIDENT, "incident", {"sample": "5a" * 16, "of": "d4" * 16, "kinds": kinds} | of),
        (LedgerEvent.DESTROYED, "destroyed", {"sample": "5a" * 16, "cause": Destruction.LEAKED}),
        (LedgerEvent.PRUNED, "pruned", pruned),
    ):
        await ledger.append(make_entry(event, None, {fact: told}))
    delivered(folder, collector)
    by_event = {values(one)[names.EVENT]: one for one in collector.log_records()}
    incident = values(by_event["INCIDENT"])
    assert by_event["INCIDENT"].severity_number == SeverityNumber.SEVERITY_NUMBER_ERROR
    assert by_event["MARKED"].severity_number == SeverityNumber.SEVERITY_NUMBER_INFO
    assert incident["guardedvlm.incident.kinds"] == ["PERSON", "DATE"]
    assert incident["guardedvlm.incident.tenant"] == TENANT
    said = values(by_event["MARKED"])
    assert (said["guardedvlm.marked.verdict"], said["guardedvlm.marked.cells"]) == ("leaked", 4)
    assert values(by_event["DESTROYED"])["guardedvlm.destroyed.cause"] == "leaked"
    assert values(by_event["PRUNED"])["guardedvlm.pruned.records"] == 7
    assert values(by_event["PRUNED"])["guardedvlm.pruned.until"] == pruned["until"]
    assert values(by_event["SAMPLED"])["guardedvlm.sampled.basis"] == "random"
    assert "5b" * 16 not in values(by_event["SAMPLED"]).values()


async def test_a_residual_is_refused_with_a_reason_and_no_description(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts]
) -> None:
    kept = {state: facts for state, facts in life.items() if state in (State.RECEIVED, State.ADMITTED, State.DECODED)}
    kept[State.RECEIVED] = Facts(method=Method.REDACT_IMAGE)
    residual = Verification(verdict=VerifyVerdict.RESIDUAL, passes=2, residual={Kind.FACE: 1})
    kept[State.REFUSED] = Facts(reason=Reason.RESIDUAL_FOUND, verification=residual, timings={Stage.VERIFY: 5})
    await lived(ledger, kept)
    delivered(folder, collector)
    spans = {span.name: span for span in collector.spans()}
    root = spans["redact"]
    assert (root.status.code, root.status.message) == (ERROR, "")
    assert values(root)["error.type"] == "RESIDUAL_FOUND"
    assert "gen_ai.operation.name" not in values(root)
    verify = values(spans["run_guardrail verify"])
    assert (verify[names.VERDICT], verify[names.ACTION]) == ("deny", "deny")
    assert verify[names.VERDICT_REASON] == "RESIDUAL_FOUND"
    assert verify[names.INPUT_HASH] == "05" * 32
    (point,) = collector.points()["guardedvlm.requests"]
    assert values(point)["error.type"] == "RESIDUAL_FOUND"


async def test_guardrails_that_came_to_no_judgement_say_none(
    folder: Path, collector: Collector, ledger: Ledger
) -> None:
    timings = dict.fromkeys((Stage.REDACT, Stage.VERIFY, Stage.PROMPT, Stage.INFER, Stage.SCREEN), 1)
    for method in (Method.ANALYZE_IMAGE, Method.STREAM_REDACT_IMAGE, Method.GET_POLICY):
        refused = Facts(reason=Reason.UNAUTHENTICATED, timings=timings)
        await lived(ledger, {State.RECEIVED: Facts(method=method), State.REFUSED: refused})
    delivered(folder, collector)
    assert {span.name for span in collector.spans()} >= {"chat", "redact", "policy"}
    for span in collector.spans():
        if span.name.startswith("run_guardrail"):
            assert set(values(span)) == {names.OPERATION, names.COMPONENT, names.TARGET}


async def test_metrics(folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts]) -> None:
    telemetry = telemetry_of(folder, collector)
    calls = Calls(lambda: {"reader": 2, "text_verifier": 0})
    calls.broken = lambda: {"tenants": 1, "server_tls": 0}
    telemetry.watch(ledger, calls)
    with pytest.raises(ConfigurationError), calls.counted():
        raise ConfigurationError(Reason.POLICY_MISSING)
    for _ in range(2):
        await lived(ledger, life)
    telemetry.shutdown()
    points = collector.points()
    assert set(points) | {"guardedvlm.telemetry.rejected", "guardedvlm.telemetry.failures"} == set(METRICS)
    (requests,) = points["guardedvlm.requests"]
    assert requests.as_int == 2
    assert values(requests) == {
        "guardedvlm.method": "AnalyzeImage",
        "guardedvlm.outcome": "RELEASED",
        "guardedvlm.tenant": TENANT,
    }
    assert {values(point)[names.KIND]: point.as_int for point in points["guardedvlm.regions"]} == {
        "FACE": 2,
        "PERSON": 4,
    }
    stages = {values(point)[names.STAGE]: point for point in points["guardedvlm.stage.duration"]}
    assert set(stages) == {"decode", "redact", "verify", "prompt", "infer", "screen", "ledger", "total"}
    assert stages["verify"].sum == pytest.approx(1.0)
    assert list(stages["verify"].explicit_bounds) == list(DURATION_BOUNDS)
    assert points["gen_ai.client.inference.usage.input_tokens"][0].sum == 200
    assert points["guardedvlm.ledger.appends"][0].as_int == ledger.appended == 17
    assert points["guardedvlm.ledger.healthy"][0].as_int == 1
    assert points["guardedvlm.telemetry.records"][0].as_int == 17
    assert points["guardedvlm.ledger.lag.records"][0].as_int == 0
    assert points["guardedvlm.calls.running"][0].as_int == 0
    (refused,) = points["guardedvlm.calls.refused"]
    assert (values(refused), refused.as_int) == ({"error.type": "POLICY_MISSING"}, 1)
    waiting = {values(point)["guardedvlm.role"]: point.as_int for point in points["guardedvlm.queue.depth"]}
    assert waiting == {"reader": 2, "text_verifier": 0, "admission": 0, "model": 0}
    limited = {values(point)["guardedvlm.limit"]: point.as_int for point in points["guardedvlm.admission.refused"]}
    assert limited == dict.fromkeys(Quota, 0)
    broken = {values(point)["guardedvlm.part"]: point.as_int for point in points["guardedvlm.reload.broken"]}
    assert broken == {"tenants": 1, "server_tls": 0}


async def test_the_resource_is_ours_alone(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "canary.name=Canary")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "Canary")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "canary=Canary")
    await lived(ledger, life)
    delivered(folder, collector)
    resources = [one.resource for message in collector.received("traces") for one in message.resource_spans]
    resources += [one.resource for message in collector.received("logs") for one in message.resource_logs]
    resources += [one.resource for message in collector.received("metrics") for one in message.resource_metrics]
    assert len(resources) >= 3
    for resource in resources:
        assert values(resource) == {
            "service.name": "guardedvlm",
            "service.version": "0.1.0",
            "service.instance.id": ORIGIN,
            "guardedvlm.semconv.revision": names.REVISION,
        }
    assert b"anary" not in collector.wire()


def test_a_partial_success_is_taken_and_counted(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    with collecting(tmp_path, "--reject", "1") as collector:
        telemetry = telemetry_of(folder, collector)
        telemetry.shutdown()
    assert telemetry.counts.rejected["logs"] == 1
    assert telemetry.counts.delivered == {"ledger": 1}
    assert len(collector.log_records()) == 1


async def test_what_was_not_acknowledged_comes_again_with_the_same_ids(
    tmp_path: Path, folder: Path, ledger: Ledger, life: dict[State, Facts]
) -> None:
    """The collector has kept it, and its answer was lost."""
    await lived(ledger, life)
    with collecting(tmp_path, "--unacknowledged", "1") as collector:
        telemetry = telemetry_of(folder, collector)
        await asyncio.to_thread(wait_until, lambda: telemetry.counts.delivered["ledger"] == 9)
        telemetry.shutdown()
        uids = [values(record)[names.UID] for record in collector.log_records()]
    assert len(uids) == 18
    assert uids[:9] == uids[9:] == [f"{ORIGIN}/ledger/{number}" for number in range(9)]


@pytest.mark.parametrize(("options", "asked"), [((), None), (("--retry", "7"), 7.0)])
def test_a_collector_may_ask_for_a_pause(tmp_path: Path, options: tuple[str, ...], asked: float | None) -> None:
    with collecting(tmp_path, "--unacknowledged", "9", *options) as collector:
        sink = otlp.Collector(collector.endpoint)
        with pytest.raises(otlp.NotDelivered) as caught:
            sink.send(ExportTraceServiceRequest())
        assert caught.value.retry_seconds == asked
        sink.close()
        with pytest.raises(otlp.NotDelivered):
            sink.send(ExportTraceServiceRequest())


def test_a_collector_behind_tls(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        otlp.Collector("https://localhost:4317", tmp_path / "absent.pem")
    assert caught.value.reason is Reason.SETTINGS_INVALID
    pki = write_dev_pki(tmp_path / "pki")
    received: list[bytes] = []
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: received.append(request) or b"")
    service = "opentelemetry.proto.collector.logs.v1.LogsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    pair = (pki.server.key.read_bytes(), pki.server.certificate.read_bytes())
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        with pytest.raises(otlp.NotDelivered):  # no authority of the system's has signed it
            otlp.Collector(f"https://localhost:{port}").send(ExportLogsServiceRequest())
        sink = otlp.Collector(f"https://localhost:{port}", pki.ca)
        assert sink.send(ExportLogsServiceRequest()) == 0
        sink.close()
    finally:
        server.stop(0).wait()
    assert received == [b""]


class Load:
    """Requests in two logs, several at a time, until it is stopped."""

    def __init__(self, ledger: Path, life: dict[State, Facts], pause: float = 0.1) -> None:
        names = ("service", "years-6")
        self.logs = {name: Ledger(ledger / name, ORIGIN, segment_bytes=50_000) for name in names}
        self._life = life
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for log in self.logs.values():
            log.close()

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask(log) for log in self.logs.values() for _ in range(2)))

    async def _ask(self, log: Ledger) -> None:
        while not self._stop.is_set():
            await lived(log, self._life)
            await asyncio.sleep(self._pause)


def _check_all_arrived(ledger: Path, collector: Collector) -> dict[str, int]:
    """Every record, in the order of its log, none twice by id. Returns raw numbers."""
    first_seen: dict[str, bytes] = {}
    raw = Counter()
    for record in collector.log_records():
        facts = values(record)
        raw[facts[names.UID]] += 1
        assert first_seen.setdefault(facts[names.UID], facts[names.RECORD_HASH]) == facts[names.RECORD_HASH]
    for log in ("service", "years-6"):
        written = [
            (f"{record.origin}/{log}/{record.sequence}", record_hash(record.encode()))
            for record in read_records(ledger / log)
        ]
        arrived = [(uid, digest) for uid, digest in first_seen.items() if f"/{log}/" in uid]
        assert arrived == written
        assert written
    requests = {record.request for log in ("service", "years-6") for record in read_records(ledger / log)} - {None}
    roots = {values(span)[names.REQUEST_ID] for span in collector.spans() if names.REQUEST_ID in values(span)}
    assert roots == requests
    return {"records": len(raw), "arrivals": raw.total(), "twice": sum(count > 1 for count in raw.values())}


@pytest.mark.parametrize("seconds", [pytest.param(2.0, id="2s"), pytest.param(30.0, id="30s", marks=pytest.mark.slow)])
def test_a_collector_killed_under_load_loses_nothing(
    tmp_path: Path, collector: Collector, life: dict[State, Facts], seconds: float
) -> None:
    ledger = tmp_path / "ledger"
    load = Load(ledger, life)
    telemetry = telemetry_of(ledger, collector)
    try:
        wait_until(lambda: telemetry.counts.delivered["service"] > 50 and telemetry.counts.delivered["years-6"] > 50)
        collector.kill()
        time.sleep(seconds)
        lags = LagWatch(ledger, ledger / "tail").lags()
        assert min(lag.records for lag in lags.values()) > 10 * seconds
        assert max(lag.seconds for lag in lags.values()) > seconds / 2
        collector.start()
        before = telemetry.counts.delivered.total()
        wait_until(lambda: telemetry.counts.delivered.total() > before, 60)
    finally:
        load.stop()
    written = sum(log.appended for log in load.logs.values())
    wait_until(lambda: telemetry.counts.delivered.total() == written, 120)
    telemetry.shutdown()
    assert telemetry.counts.failures.total() > 0
    told = _check_all_arrived(ledger, collector)
    print(f"collector killed for {seconds} s: {told}")
    assert told["records"] == written
    assert telemetry.counts.dropped == telemetry.counts.untold == 0


def _tail(ledger: Path, collector: Collector, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "guardedvlm", "audit", "tail", str(ledger), "--otlp", collector.endpoint, *options]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_tailer_killed_under_load_goes_on_where_it_was(
    tmp_path: Path, collector: Collector, life: dict[State, Facts], kills: int
) -> None:
    ledger = tmp_path / "ledger"
    load = Load(ledger, life, 0.3)
    try:
        for _ in range(kills):
            arrived = len(collector.log_records())
            tailer = _tail(ledger, collector)
            try:
                wait_until(lambda before=arrived: len(collector.log_records()) > before + 40, 60)
            finally:
                tailer.kill()
                tailer.communicate()
    finally:
        load.stop()
    last = _tail(ledger, collector, "--once")
    _, said = last.communicate(timeout=200)
    assert last.returncode == 0, said
    assert said.strip().endswith(b"records delivered")
    told = _check_all_arrived(ledger, collector)
    print(f"tailer killed {kills} times: {told}")
    assert told["twice"] <= kills * 2 * BATCH_RECORDS  # a batch of each log for each kill
    assert "guardedvlm.requests" in collector.points()


async def test_a_process_of_its_own(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(ledger, life)
    process = TailProcess(folder, None, otlp.Collector(collector.endpoint), version="0.1.0")
    assert process.once() == 9
    stop = threading.Event()
    thread = threading.Thread(target=process.run, args=(stop,))
    thread.start()
    await lived(ledger, life)
    await asyncio.to_thread(wait_until, lambda: len(collector.log_records()) == 17)
    stop.set()
    thread.join(5)
    list_segments(folder)[-1].path.write_bytes(b"")  # the lag cannot be told: the other metrics still are
    process.close()
    points = collector.points()
    assert points["guardedvlm.telemetry.records"][0].as_int == 17
    assert "guardedvlm.ledger.lag.records" not in points
    instances = {
        values(one.resource)["service.instance.id"]
        for request in collector.received("metrics")
        for one in request.resource_metrics
    }
    assert len(instances) == 1
    assert ORIGIN not in instances


def test_a_collector_that_is_absent_ends_once(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    process = TailProcess(folder, None, otlp.Collector(Collector(tmp_path).endpoint), version="0.1.0")
    with pytest.raises(Unavailable) as caught:
        process.once()
    assert caught.value.reason is Reason.COLLECTOR_UNAVAILABLE
    process.close()


def test_a_console_that_is_closed_takes_nothing() -> None:
    out = io.StringIO()
    out.close()
    with pytest.raises(otlp.NotDelivered):
        otlp.Console(out).send(ExportLogsServiceRequest())


@pytest.mark.slow  # a command line starts in seconds on a busy machine
def test_once_without_a_collector(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    done = _tail(folder, Collector(tmp_path), "--once")
    _, said = done.communicate(timeout=60)
    assert done.returncode == 4
    assert b"COLLECTOR_UNAVAILABLE" in said


async def test_a_service_is_behind_beyond_the_bound(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Also where the tailer is another process: files alone tell."""
    absent = Collector(tmp_path)
    telemetry = telemetry_of(folder, absent, Tailing(inside=False, most_records=8))
    assert not telemetry.is_behind()
    for _ in range(4):
        log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
        await log.advance(State.REFUSED, reason=Reason.STAGE_TIMEOUT)
    assert telemetry.is_behind()
    with collecting(tmp_path) as collector:
        other = telemetry_of(folder, collector)
        await asyncio.to_thread(wait_until, lambda: not telemetry.is_behind())
        other.shutdown()
    telemetry.shutdown()


def test_a_collector_that_is_absent_does_not_hold_up_the_end(
    folder: Path, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "SHUTDOWN_SECONDS", 1.0)
    telemetry = telemetry_of(folder, Collector(tmp_path))
    wait_until(lambda: telemetry.counts.failures["logs"] > 0)
    began = time.monotonic()
    telemetry.shutdown()
    telemetry.shutdown()
    assert time.monotonic() - began < 5


async def test_the_console(folder: Path, ledger: Ledger, life: dict[State, Facts]) -> None:
    out = io.StringIO()
    await lived(ledger, life)
    telemetry = Telemetry("console", folder, version="0.1.0", origin=ORIGIN, out=out)
    telemetry.shutdown()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {next(iter(one)) for one in told} == {"resourceLogs", "resourceSpans", "resourceMetrics"}


def test_none_tells_nothing_and_is_never_behind(folder: Path, ledger: Ledger) -> None:
    telemetry = Telemetry("none", folder, version="0.1.0", origin=ORIGIN)
    telemetry.watch(ledger)
    assert not telemetry.is_behind()
    telemetry.shutdown()
    assert not (folder / "tail").exists()


def test_no_global_provider_is_set(folder: Path, collector: Collector, ledger: Ledger) -> None:
    delivered(folder, collector)
    assert "Proxy" in type(get_tracer_provider()).__name__


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:4317", "ftp://host:1", "http://user:pw@host:1", "http://host/path"]
)
def test_an_endpoint_that_is_none(folder: Path, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        Telemetry("otlp", folder, version="0.1.0", origin=ORIGIN, endpoint=endpoint)
    with pytest.raises(ValueError, match="udp"):
        Telemetry("udp", folder, version="0.1.0", origin=ORIGIN)


def test_the_table_is_the_one_that_is_checked_in() -> None:
    assert telemetry_table() + "\n" == (ROOT / "docs" / "telemetry.md").read_text(), (
        "run: guardedvlm audit telemetry > docs/telemetry.md"
    )


async def test_a_tailer_that_is_stopped_delivers_what_is_left(
    folder: Path, tmp_path: Path, ledger: Ledger, life: dict[State, Facts]
) -> None:
    """Also to a collector that comes back only then; one that stays away holds up the end no longer than was said."""
    collector = Collector(tmp_path)
    await lived(ledger, life)
    process = TailProcess(folder, None, otlp.Collector(collector.endpoint), version="0.1.0")
    stop = threading.Event()
    stop.set()
    began = time.monotonic()
    await asyncio.to_thread(process.run, stop, 1.5)
    assert 1.0 < time.monotonic() - began < 10
    thread = threading.Thread(target=process.run, args=(stop, 60.0))
    thread.start()
    collector.start()
    try:
        await asyncio.to_thread(thread.join, 60)
        assert not thread.is_alive()
        assert len(collector.log_records()) == 9
        process.close()
    finally:
        collector.kill()


async def test_a_log_that_does_not_go_on_is_a_metric(
    folder: Path, collector: Collector, ledger: Ledger, life: dict[State, Facts]
) -> None:
    await lived(ledger, life)
    process = TailProcess(folder, None, otlp.Collector(collector.endpoint), version="0.1.0")
    process.once()
    process._measures.flush()
    assert [point.as_int for point in collector.points()["guardedvlm.ledger.broken"]] == [0]
    await lived(ledger, life)
    (path,) = [segment.path for segment in list_segments(folder)]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:9], lines[10], *lines[11:]]))  # a record is gone from the middle
    with pytest.raises(ConfigurationError):
        process.once()
    process.close()
    (point,) = collector.points()["guardedvlm.ledger.broken"]
    assert (point.as_int, values(point)) == (1, {names.LEDGER_LOG: "ledger"})
