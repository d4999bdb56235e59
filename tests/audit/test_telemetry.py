"""What leaves over OTLP is what the table allows: seen from a real collector at the other end of a real channel."""

import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Link, SpanContext, StatusCode, TraceFlags, TraceState, get_tracer_provider

from guardedvlm.audit import conventions as names
from guardedvlm.audit import otel
from guardedvlm.audit.allowlist import Counts
from guardedvlm.audit.facts import Facts, Method, Stage, Verification, VerifyVerdict
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.otel import Otel, Telemetry
from guardedvlm.audit.record import Record
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.traceparent import TraceParent
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason

ORIGIN, TENANT = "a0" * 16, "b1" * 16
CANARY = "Canary Q. Person 123-45-6789"
PARENT = TraceParent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
CLIENT_OK, INTERNAL = 0, 1


class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the bytes that it received."""

    def __init__(self) -> None:
        self.traces: list[Any] = []
        self.metrics: list[Any] = []

    @property
    def wire(self) -> bytes:
        return b"".join(message.SerializeToString() for message in (*self.traces, *self.metrics))

    def spans(self) -> dict[str, Any]:
        return {
            span.name: span
            for message in self.traces
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    def points(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for message in self.metrics:
            for resource in message.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        found[metric.name] = list(getattr(metric, metric.WhichOneof("data")).data_points)
        return found


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._collector.traces.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._collector.metrics.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    found = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(found), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(found), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def telemetry(collector: tuple[Collector, str]) -> Iterator[Telemetry]:
    made = Telemetry(Otel.OTLP, version="0.1.0", origin=ORIGIN, endpoint=collector[1])
    yield made
    made.shutdown()


@pytest.fixture
async def records(ledger: Ledger, life: dict[State, Facts]) -> tuple[Record, ...]:
    return await _records(ledger, life)


async def _records(ledger: Ledger, life: dict[State, Facts]) -> tuple[Record, ...]:
    first, *rest = life.items()
    log = await RequestLog.begin(ledger, **first[1])
    for state, facts in rest:
        await log.advance(state, **facts)
    return log.records


def _attributes(thing: Any) -> dict[str, Any]:
    found = {}
    for pair in thing.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


async def test_a_request_becomes_a_trace(
    collector: tuple[Collector, str], telemetry: Telemetry, records: tuple[Record, ...]
) -> None:
    telemetry.finished(records, PARENT)
    telemetry.flush()
    spans = collector[0].spans()
    root = spans.pop("chat reader")
    assert root.trace_id.hex() == f"{PARENT.trace_id:032x}"
    assert root.parent_span_id.hex() == f"{PARENT.span_id:016x}"
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
    facts = _attributes(root)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.provider.name"] == "guardedvlm"
    assert facts["gen_ai.request.model"] == "reader"
    assert facts["gen_ai.response.finish_reasons"] == ["stop"]
    assert (facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"]) == (100, 7)
    assert facts["guardedvlm.regions.PERSON"] == 2
    assert facts["guardedvlm.area_permille.FACE"] == 40
    assert facts["guardedvlm.tenant"] == TENANT
    assert facts["guardedvlm.policy.name"] == "healthcare"
    assert facts["guardedvlm.ledger.sequence"] == records[-1].sequence
    assert facts["guardedvlm.outcome"] == "RELEASED"
    assert telemetry.counts.dropped == telemetry.counts.failures == 0


async def test_verdict_and_action_are_apart(
    collector: tuple[Collector, str], telemetry: Telemetry, records: tuple[Record, ...]
) -> None:
    telemetry.finished(records)
    telemetry.flush()
    spans = collector[0].spans()
    screen = _attributes(spans["run_guardrail screen"])  # a check that only watches
    assert (screen[names.VERDICT], screen[names.ACTION]) == ("deny", "allow")
    assert screen[names.TARGET] == "output"
    assert _attributes(spans["run_guardrail verify"])[names.VERDICT] == "allow"
    redact = _attributes(spans["run_guardrail redact"])
    assert (redact[names.VERDICT], redact[names.MODIFIED], redact[names.POLICY_ID]) == ("modify", True, "healthcare")
    assert _attributes(spans["guardedvlm.stage infer"]) == {names.STAGE: "infer"}


async def test_a_refusal_has_a_reason_and_no_description(
    collector: tuple[Collector, str], telemetry: Telemetry, ledger: Ledger, life: dict[State, Facts]
) -> None:
    kept = {state: facts for state, facts in life.items() if state in (State.RECEIVED, State.ADMITTED, State.DECODED)}
    kept[State.RECEIVED] = Facts(method=Method.REDACT_IMAGE)
    kept[State.REFUSED] = Facts(reason=Reason.RESIDUAL_FOUND)
    telemetry.finished(await _records(ledger, kept))
    telemetry.flush()
    root = collector[0].spans()["redact"]
    assert root.status.code == StatusCode.ERROR.value
    assert root.status.message == ""
    assert _attributes(root)["error.type"] == "RESIDUAL_FOUND"
    assert "gen_ai.operation.name" not in _attributes(root)
    assert root.parent_span_id == b""
    (point,) = collector[0].points()["guardedvlm.requests"]
    assert _attributes(point)["error.type"] == "RESIDUAL_FOUND"


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (Method.ANALYZE_IMAGE, "chat"),
        (Method.REDACT_IMAGE, "redact"),
        (Method.STREAM_REDACT_IMAGE, "redact"),
        (Method.GET_POLICY, "policy"),
    ],
)
async def test_a_request_without_a_tenant(
    collector: tuple[Collector, str], telemetry: Telemetry, ledger: Ledger, method: Method, name: str
) -> None:
    """Guardrails that did not come to a judgement say none."""
    timings = dict.fromkeys((Stage.REDACT, Stage.VERIFY, Stage.PROMPT, Stage.INFER, Stage.SCREEN), 1)
    facts = {State.RECEIVED: Facts(method=method)}
    facts[State.REFUSED] = Facts(reason=Reason.UNAUTHENTICATED, timings=timings)
    telemetry.finished(await _records(ledger, facts))
    telemetry.flush()
    spans = collector[0].spans()
    assert name in spans
    for stage in ("redact", "verify", "prompt", "screen"):
        assert set(_attributes(spans[f"run_guardrail {stage}"])) == {names.OPERATION, names.COMPONENT, names.TARGET}
    (point,) = collector[0].points()["gen_ai.client.inference.duration"]
    assert _attributes(point) == {names.OPERATION: "chat", "gen_ai.provider.name": "guardedvlm"}


async def test_a_residual_denies(
    collector: tuple[Collector, str], telemetry: Telemetry, ledger: Ledger, life: dict[State, Facts]
) -> None:
    kept = {state: facts for state, facts in life.items() if state in (State.RECEIVED, State.ADMITTED, State.DECODED)}
    residual = Verification(verdict=VerifyVerdict.RESIDUAL, passes=2, residual={Kind.FACE: 1})
    kept[State.REFUSED] = Facts(reason=Reason.RESIDUAL_FOUND, verification=residual, timings={Stage.VERIFY: 5})
    telemetry.finished(await _records(ledger, kept))
    telemetry.flush()
    verify = _attributes(collector[0].spans()["run_guardrail verify"])
    assert (verify[names.VERDICT], verify[names.ACTION]) == ("deny", "deny")
    assert verify[names.VERDICT_REASON] == "RESIDUAL_FOUND"
    assert verify[names.INPUT_HASH] == "05" * 32


async def test_an_exporter_that_raises_is_counted(records: tuple[Record, ...]) -> None:
    out = io.StringIO()
    telemetry = Telemetry("console", version="0.1.0", origin=ORIGIN, out=out)
    telemetry.finished(records)
    out.close()
    telemetry.flush()
    assert telemetry.counts.failures == 8  # seven spans and a batch of metrics
    telemetry.shutdown()


async def test_metrics(
    collector: tuple[Collector, str], telemetry: Telemetry, ledger: Ledger, records: tuple[Record, ...]
) -> None:
    telemetry.watch(ledger)
    telemetry.finished(records)
    telemetry.finished(records)
    telemetry.flush()
    points = collector[0].points()
    assert set(points) == set(names.METRICS)
    (requests,) = points["guardedvlm.requests"]
    assert requests.as_int == 2
    assert _attributes(requests) == {
        "guardedvlm.method": "AnalyzeImage",
        "guardedvlm.outcome": "RELEASED",
        "guardedvlm.tenant": TENANT,
    }
    assert {_attributes(point)[names.KIND]: point.as_int for point in points["guardedvlm.regions"]} == {
        "FACE": 2,
        "PERSON": 4,
    }
    stages = {_attributes(point)[names.STAGE]: point for point in points["guardedvlm.stage.duration"]}
    assert set(stages) == {"decode", "redact", "verify", "prompt", "infer", "screen", "ledger", "total"}
    assert stages["verify"].sum == pytest.approx(1.0)
    assert list(stages["verify"].explicit_bounds) == list(otel.DURATION_BOUNDS)
    assert points["guardedvlm.ledger.appends"][0].as_int == ledger.appended == 9
    assert points["guardedvlm.ledger.healthy"][0].as_int == 1
    ledger.close()
    telemetry.flush()
    assert collector[0].points()["guardedvlm.ledger.healthy"][0].as_int == 0


async def test_the_resource_is_ours_alone(
    collector: tuple[Collector, str], records: tuple[Record, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"canary.name={CANARY}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", CANARY)
    telemetry = Telemetry("otlp", version="0.1.0", origin=ORIGIN, endpoint=collector[1])
    telemetry.finished(records)
    telemetry.shutdown()
    resources = [one.resource for message in collector[0].traces for one in message.resource_spans]
    resources += [one.resource for message in collector[0].metrics for one in message.resource_metrics]
    assert len(resources) >= 2
    for resource in resources:
        assert _attributes(resource) == {
            "service.name": "guardedvlm",
            "service.version": "0.1.0",
            "service.instance.id": ORIGIN,
            "guardedvlm.semconv.revision": names.REVISION,
        }
    assert b"anary" not in collector[0].wire


def test_nothing_else_passes_the_boundary(collector: tuple[Collector, str], telemetry: Telemetry) -> None:
    """Canaries in everything that a span or a point can carry."""
    tracer = telemetry._tracer
    assert telemetry._tracers is not None
    telemetry._tracers._update_resource(Resource({"canary": CANARY, "service.name": CANARY}))
    there = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("canary", "anary")]))
    allowed = {row.name: CANARY for row in names.REQUEST} | dict.fromkeys(names.CHILD, CANARY)
    span = tracer.start_span(
        "redact", attributes=allowed | {"canary": CANARY, CANARY: 1}, links=[Link(there, {"canary": CANARY})]
    )
    span.add_event(CANARY, {"canary": CANARY, "error.type": "INTERNAL"})
    span.record_exception(ValueError(CANARY))
    span.set_status(StatusCode.ERROR, CANARY)
    span.end()
    tracer.start_span(CANARY).end()
    tracer.start_span(f"chat {CANARY}").end()
    tracer.start_span("run_guardrail canary").end()
    assert telemetry._meters is not None
    scope = telemetry._meters.get_meter(CANARY, CANARY, f"https://{CANARY}", {"canary": CANARY})
    scope.create_counter("canary", "canary", CANARY).add(1, {"canary": CANARY})
    scope.create_counter("guardedvlm.requests", "canary", CANARY).add(1, {"guardedvlm.tenant": CANARY})
    telemetry._meter.create_counter("canary", "canary", CANARY).add(1)
    telemetry._requests.add(1, {"guardedvlm.tenant": CANARY})
    telemetry._regions.add(3, {"guardedvlm.kind": "FACE", "canary": 1})
    telemetry._regions.add(7, {"guardedvlm.kind": "FACE"})
    telemetry.flush()
    found = collector[0]
    assert b"anary" not in found.wire
    assert b"123-45-6789" not in found.wire
    spans = found.spans()
    assert set(spans) == {"redact"}
    assert _attributes(spans["redact"]) == {}
    assert not spans["redact"].events
    assert not spans["redact"].links
    assert spans["redact"].status.code == StatusCode.ERROR.value
    assert [point.as_int for point in found.points()["guardedvlm.regions"]] == [7]
    assert "guardedvlm.requests" not in found.points()
    assert telemetry.counts.dropped > len(allowed)


async def test_a_request_that_cannot_be_told_is_counted(
    telemetry: Telemetry, records: tuple[Record, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry.finished(())
    assert telemetry.counts.failures == 1
    monkeypatch.setattr(otel, "QUEUE_SPANS", 10)
    telemetry.finished(records)
    assert telemetry.counts.failures == 1
    telemetry.finished(records)  # seven more spans do not fit
    assert telemetry.counts.failures == 2


async def test_a_collector_that_is_down_costs_a_request_nothing(
    records: tuple[Record, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otel, "EXPORT_SECONDS", 0.3)
    monkeypatch.setattr(otel, "SHUTDOWN_SECONDS", 3.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    telemetry = Telemetry(Otel.OTLP, version="0.1.0", origin=ORIGIN, endpoint=f"http://127.0.0.1:{port}")
    began = time.perf_counter()
    telemetry.finished(records)
    assert time.perf_counter() - began < 0.2
    with caplog.at_level(logging.CRITICAL):
        telemetry.flush()
        telemetry.shutdown()
    assert telemetry.counts.failures >= 7
    telemetry.finished(records)
    telemetry.shutdown()


async def test_the_console_shows_the_same(records: tuple[Record, ...]) -> None:
    out = io.StringIO()
    telemetry = Telemetry("console", version="0.1.0", origin=ORIGIN, out=out)
    telemetry.finished(records)
    telemetry.shutdown()
    text = out.getvalue()
    assert '"name": "chat reader"' in text
    assert '"name": "guardedvlm.requests"' in text
    decoded, at, documents = json.JSONDecoder(), 0, 0
    while at < len(text.rstrip()):
        _, end = decoded.raw_decode(text[at:].lstrip())
        at += end + len(text[at:]) - len(text[at:].lstrip())
        documents += 1
    assert documents == 8  # seven spans and the metrics


async def test_none_does_nothing(ledger: Ledger, records: tuple[Record, ...]) -> None:
    telemetry = Telemetry("none", version="0.1.0", origin=ORIGIN)
    telemetry.watch(ledger)
    telemetry.finished(records)
    telemetry.flush()
    telemetry.shutdown()
    assert telemetry.counts.failures == 0


def test_no_global_provider_is_set(telemetry: Telemetry) -> None:
    assert get_tracer_provider() is not telemetry._tracers
    assert type(get_tracer_provider()).__name__ == "ProxyTracerProvider"


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:4317", "ftp://a:1", "http://user:pw@host:1", "http://a:1/path"])
def test_a_bad_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        Telemetry("otlp", version="0.1.0", origin=ORIGIN, endpoint=endpoint)
    with pytest.raises(ValueError, match="udp"):
        Telemetry("udp", version="0.1.0", origin=ORIGIN)


def test_counts_from_many_threads() -> None:
    counts = Counts()
    with futures.ThreadPoolExecutor(8) as pool:
        for _ in range(2_000):
            pool.submit(counts.drop, 1)
            pool.submit(counts.fail)
    assert (counts.dropped, counts.failures) == (2_000, 2_000)


def test_every_fact_has_a_name_or_a_reason_to_stay() -> None:
    """A fact that is added to the record must be placed here or in the table."""
    stays = {"caller_request", "hidden", "detectors", "torn_bytes", "verification", "prompt_screen", "answer_screen"}
    stays |= {"grounding", "instructions"}
    told: Callable[[str], bool] = lambda fact: any(_reads(row, fact) for row in names.REQUEST)  # noqa: E731
    stays |= {"findings", "policies", "policies_kept", "policy_problems", "shadow"}
    stays |= {"pruned", "file_bytes", "file_digest"}
    assert {fact for fact in Facts.__annotations__ if not told(fact)} - {"timings"} == stays


def _reads(row: names.Attribute, fact: str) -> bool:
    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return None

    asked: set[str] = set()
    summary: Any = type("Summary", (), {"facts": Asked(), "asks": True, "request": "", "sequence": 0, "outcome": ""})()
    row.read(summary)
    return fact in asked
