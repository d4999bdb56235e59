"""What a real service tells a real collector: the caller's trace, and nothing else that a caller wrote."""

import io
import secrets

import grpc
import pytest
from grpc_health.v1 import health_pb2
from otlp_collector import Collector, values, wait_until
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from running_service import start_service, stop_service

from guardedvlm.audit import conventions as names
from guardedvlm.audit.lag import LagWatch
from guardedvlm.audit.metric_table import METRICS, Source
from guardedvlm.audit.verify import read_records
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

pytestmark = pytest.mark.service

NAME, NUMBER, PLACE = "Quillfeather", "4716-0923-71-08843", "BROUGHSHANE"
CANARIES = (NAME, NUMBER, NUMBER.replace("-", ""), PLACE, "canary")
IN_AN_ID = "4716092371088430"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def picture() -> bytes:
    page = Image.new("RGB", (700, 200), "white")
    draw = ImageDraw.Draw(page)
    draw.text((40, 40), f"Patient name: Orla {NAME}", "black", ImageFont.load_default(32))
    draw.text((40, 110), f"MRN: {NUMBER}  Total 12.00", "black", ImageFont.load_default(32))
    about, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_text("Title", f"{NAME}.png")
    page.save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


def ask(service, token: str, traceparent: str, **fields) -> grpc.StatusCode:
    """One call with canaries in everything that a caller may fill in."""
    metadata = (
        ("authorization", f"Bearer {token}"),
        ("traceparent", traceparent),
        ("tracestate", f"canary={NAME}"),
        ("baggage", f"patient={NAME},mrn={NUMBER}"),
        ("x-file-name", f"{NAME}.png"),
        ("x-request-id", PLACE),
        ("user-agent", NAME),
    )
    given = {
        "request_id": f"{PLACE}-{secrets.token_hex(4)}",
        "document": pb.Document(content=picture()),
        "query": pb.Query(question=f"What is the total for Orla {NAME}, MRN {NUMBER}, of {PLACE}?"),
    }
    credentials = grpc.ssl_channel_credentials(service.site.pki.ca.read_bytes())
    with grpc.secure_channel(service.listen, credentials) as channel:
        try:
            GuardServiceStub(channel).AnalyzeImage(
                pb.AnalyzeImageRequest(**given | fields), metadata=metadata, timeout=240
            )
        except grpc.RpcError as failure:
            return failure.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def told(service):
    """The collector when all that the calls left in the ledger has arrived."""
    token = service.site.tokens["bank"].read_text().strip()
    codes = [
        ask(service, token, f"00-{TRACE}-{SPAN}-01"),
        ask(
            service, token, f"00-{b'Orla Quillfeathe'.hex()}-{b'BROUGHSH'.hex()}-01", document=pb.Document(content=b"x")
        ),
        ask(service, token, f"00-{'0' * 16}{'4716092371088430'}-{SPAN}-01", document=pb.Document(content=b"x")),
        ask(service, token, f"00-{NAME}-{NUMBER}-01", document=pb.Document(content=b"x", media_type=f"image/{NAME}")),
        ask(service, f"canary-{NAME}", f"00-{TRACE}-{SPAN}-01"),
    ]
    assert codes[-1] is grpc.StatusCode.UNAUTHENTICATED
    ledger = service.site.config.parent / "ledger"
    watch = LagWatch(ledger, ledger / "tail")
    wait_until(lambda: not any(lag.records for lag in watch.lags().values()), 60)
    wait_until(lambda: "guardedvlm.calls.refused" in service.collector.points(), 60)
    return service.collector


def test_the_callers_trace_goes_on(service, told):
    spans = [span for span in told.spans() if span.trace_id.hex() == TRACE]
    (root,) = [span for span in spans if span.parent_span_id.hex() == SPAN]
    assert len(spans) > 5
    assert {span.parent_span_id for span in spans} == {bytes.fromhex(SPAN), root.span_id}
    logs = [record for record in told.log_records() if record.trace_id.hex() == TRACE]
    assert {values(record)[names.REQUEST_ID] for record in logs} == {values(root)[names.REQUEST_ID]}


def test_no_canary_reaches_the_collector_or_the_ledger(service, told):
    """In the bytes of every message, as text, as hexadecimal digits and as the bytes of an id."""
    wire = told.wire()
    assert bytes.fromhex(TRACE) in wire  # what is looked for would be found
    assert bytes.fromhex(IN_AN_ID) not in wire
    wire = wire.lower()
    ledger = b"".join(
        path.read_bytes() for path in (service.site.config.parent / "ledger").rglob("*") if path.is_file()
    ).lower()
    for canary in CANARIES:
        plain = canary.lower().encode()
        for form in (plain, plain[:8], canary.encode().hex().encode(), canary[:8].encode().hex().encode()):
            assert form not in wire, canary
            assert form not in ledger, canary
    for tenant, path in service.site.tokens.items():
        assert path.read_text().strip().lower().encode() not in wire
        assert tenant.encode() not in wire


def test_every_record_arrived_once_and_in_order(service, told):
    records = list(read_records(service.site.config.parent / "ledger"))
    sequences = [values(record)[names.SEQUENCE] for record in told.log_records()]
    assert sequences[: len(records)] == [record.sequence for record in records][: len(sequences)]


def test_the_service_measures_itself(told):
    points = told.points()
    assert {name for name, metric in METRICS.items() if metric.source is Source.SERVICE} <= set(points)
    refused = {values(point)["error.type"]: point.as_int for point in points["guardedvlm.calls.refused"]}
    assert refused["UNAUTHENTICATED"] >= 1
    roles = {values(point)["guardedvlm.role"] for point in points["guardedvlm.queue.depth"]}
    assert {"decode", "reader", "personal", "face_verifier"} <= roles


@pytest.mark.slow
def test_a_service_too_far_ahead_of_its_collector_is_not_ready(tmp_path):
    """It goes on serving who calls it, and is ready again when the collector has caught up."""
    status = health_pb2.HealthCheckResponse
    collector = Collector(tmp_path)
    service = start_service(
        tmp_path, ["--otel", "otlp", "--otlp-endpoint", collector.endpoint], GUARDEDVLM_TAIL="{most_records: 4}"
    )
    try:
        token = service.site.tokens["bank"].read_text().strip()
        for _ in range(2):
            code = ask(service, token, f"00-{TRACE}-{SPAN}-01", document=pb.Document(content=b"x"))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
        wait_until(lambda: service.serving() == status.NOT_SERVING)
        assert ask(service, token, "", document=pb.Document(content=b"x")) is grpc.StatusCode.INVALID_ARGUMENT
        collector.start()
        wait_until(lambda: service.serving() == status.SERVING, 60)
    finally:
        stop_service(service)
        collector.kill()
    sequences = [values(record)[names.SEQUENCE] for record in collector.log_records()]
    assert sequences == list(range(len(list(read_records(service.site.config.parent / "ledger")))))
