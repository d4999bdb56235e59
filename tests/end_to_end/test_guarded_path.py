"""The whole path against a real service: real server, real client, real detectors, real ledger."""

import asyncio
import io
import json
import secrets

import grpc
import numpy as np
import pytest
from PIL import Image

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli.pictures import demo_pictures
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Conflict, InvalidInput, NotIdentified, Overloaded, Reason, Refused
from guardedvlm.guard.verify import WIDER_PASSES
from guardedvlm.transport.listen import RECEIVE_LIMIT
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub


@pytest.fixture(scope="module")
def pictures():
    return {picture.name: picture for picture in demo_pictures()}


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def statement(pictures):
    return next(picture for picture in pictures.values() if "statement" in picture.name)


@pytest.fixture(scope="module")
def form(pictures):
    return next(picture for picture in pictures.values() if "form" in picture.name)


@pytest.fixture(scope="module")
def analysis(service, statement):
    """One answered question, for the tests that only look at it."""
    with service.client("bank") as client:
        return client.analyze(png(statement.image), "What is the closing balance?", with_image=True, request_id="first")


def test_an_answer_comes_with_its_redaction(analysis, statement):
    page = analysis.redaction.pages[0]
    assert analysis.answer
    assert analysis.finish_reason == pb.FINISH_REASON_STOP
    assert (page.width, page.height) == statement.image.size
    assert {item.kind for item in page.counts} >= {"PERSON", "IBAN"} or {item.kind for item in page.counts} >= {
        "PERSON",
        "ACCOUNT",
    }
    assert 1 <= page.verification.passes <= WIDER_PASSES + 1
    assert {item.stage for item in analysis.stage_times} >= {
        "decode",
        "read",
        "faces",
        "verify",
        "infer",
        "ledger",
        "total",
    }


def test_every_personal_place_of_the_picture_is_hidden(analysis, statement):
    """Regions cover what the picture's truth calls personal; what a region covers is fill or label (test_redact)."""
    released = np.asarray(Image.open(io.BytesIO(analysis.redaction.pages[0].content)).convert("L"))
    hidden = np.zeros(released.shape, bool)
    for region in analysis.redaction.pages[0].regions:
        hidden[region.box.y0 : region.box.y1, region.box.x0 : region.box.x1] = True
    for kind, _, box in statement.personal:
        if kind in {Kind.DATE, Kind.AMOUNT, Kind.ORGANIZATION}:
            continue
        place = (slice(box.y0, box.y1), slice(box.x0, box.x1))
        assert hidden[place].all(), kind
        assert released[place].min() == 0, kind


def test_no_personal_string_comes_back(analysis, statement):
    told = analysis.answer.casefold()
    for kind, text, _ in statement.personal:
        if kind not in {Kind.DATE, Kind.AMOUNT, Kind.ORGANIZATION}:
            assert text.casefold() not in told


def test_the_answer_is_the_pictures_balance(analysis):
    assert any(char.isdigit() for char in analysis.answer)
    assert analysis.evidence


def test_a_stream_is_the_same_answer_in_pieces(service, statement, analysis):
    with service.client("bank") as client:
        events = list(client.stream(png(statement.image), "What is the closing balance?"))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "redaction"
    assert kinds[-1] == "done"
    assert set(kinds[1:-1]) == {"text"}
    assert "".join(event.text for event in events[1:-1]) == events[-1].done.answer == analysis.answer


def test_redact_gives_a_verified_picture_and_asks_no_model(service, form):
    with service.client("clinic") as client:
        response = client.redact(png(form.image))
    page = response.redaction.pages[0]
    assert page.media_type == "image/png"
    assert Image.open(io.BytesIO(page.content)).size == form.image.size
    assert (page.verification.width, page.verification.height) == form.image.size
    assert "FACE" in {region.kind for region in page.regions}
    states = [record.event for record in read_ledger(service.site.config.parent / "ledger", request=response.audit_id)]
    assert State.GENERATING not in states
    assert states[-2:] == [State.RELEASE_OPEN, State.RELEASED]


def test_an_upload_is_the_same_answer(service, statement, analysis):
    content = png(statement.image)
    header = pb.UploadHeader(content_bytes=len(content), query=pb.Query(question="What is the closing balance?"))
    parts = [pb.UploadAnalyzeImageRequest(header=header)]
    parts += [pb.UploadAnalyzeImageRequest(chunk=content[at : at + 50_000]) for at in range(0, len(content), 50_000)]
    with _channel(service) as (stub, metadata):
        response = stub.UploadAnalyzeImage(iter(parts), metadata=metadata, timeout=120)
        assert response.analysis.answer == analysis.answer
        with pytest.raises(grpc.RpcError) as failure:
            stub.UploadAnalyzeImage(iter(parts[:-1]), metadata=metadata, timeout=120)
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as failure:
            stub.UploadAnalyzeImage(iter(parts[1:]), metadata=metadata, timeout=120)
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_policy_is_the_tenants_own(service):
    digests = set()
    for tenant, name in (("clinic", "healthcare"), ("bank", "finance")):
        with service.client(tenant) as client:
            found = client.policy()
        assert found.name == name == json.loads(found.policy_json)["name"]
        digests.add(found.digest)
    assert len(digests) == 2


def test_a_repeated_request_id_gets_the_released_output(service, statement, analysis):
    content = png(statement.image)
    with service.client("bank") as client:
        again = client.analyze(content, "What is the closing balance?", with_image=True, request_id="first")
        assert again == analysis
        with pytest.raises(Conflict) as failure:
            client.analyze(content, "How many pages are there?", request_id="first")
    assert failure.value.reason is Reason.REQUEST_ID_REUSED


def test_another_tenant_with_the_same_id_is_another_request(service, form):
    with service.client("clinic") as client, pytest.raises(InvalidInput) as failure:
        client.analyze(b"", "What is this?", request_id="first")
    assert failure.value.reason is Reason.EMPTY_INPUT


@pytest.mark.parametrize("token", ["", "gvlm_nobody", "Bearer", "x" * 600])
def test_nobody_is_refused(service, token):
    with service.client(token=token) as client, pytest.raises(NotIdentified) as failure:
        client.policy()
    assert failure.value.reason is Reason.UNAUTHENTICATED


def test_every_request_is_in_the_ledger_from_end_to_end(service, analysis):
    records = list(read_ledger(service.site.config.parent / "ledger", request=analysis.audit_id))
    assert [record.event for record in records] == [
        State.RECEIVED,
        State.ADMITTED,
        State.DECODED,
        State.REDACTED,
        State.CLEARED,
        State.GENERATING,
        State.RELEASE_OPEN,
        State.RELEASED,
    ]
    assert records[-1].facts["answer_chars"] == len(analysis.answer)
    assert verify_logs(service.site.config.parent / "ledger").is_good


def test_a_message_over_the_limit_is_refused_with_the_limit(service):
    content = bytes(RECEIVE_LIMIT + 100)
    request = pb.AnalyzeImageRequest(document=pb.Document(content=content), query=pb.Query(question="x"))
    with _channel(service) as (stub, metadata), pytest.raises(grpc.RpcError) as failure:
        stub.AnalyzeImage(request, metadata=metadata, timeout=60)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "32 MiB" in failure.value.details()
    told = error_from_rpc(failure.value)
    assert (type(told), told.reason, told.details) == (
        Overloaded,
        Reason.MESSAGE_TOO_LARGE,
        {"limit_bytes": RECEIVE_LIMIT},
    )


def test_a_caller_that_leaves_is_recorded_as_refused(service, statement):
    ledger = service.site.config.parent / "ledger"
    before = len(list(read_ledger(ledger)))
    with _channel(service) as (stub, metadata):
        request = pb.AnalyzeImageRequest(
            document=pb.Document(content=png(statement.image)), query=pb.Query(question="What is the total?")
        )
        call = stub.AnalyzeImage.future(request, metadata=metadata, timeout=120)
        _wait(lambda: any(record.event is State.ADMITTED for record in list(read_ledger(ledger))[before:]))
        call.cancel()
    _wait(lambda: any(record.event is State.REFUSED for record in list(read_ledger(ledger))[before:]))
    last = [record for record in list(read_ledger(ledger))[before:] if record.event is State.REFUSED][-1]
    assert last.facts["reason"] == Reason.CANCELLED


def test_callers_at_the_same_time_get_their_own_answers(service, pictures):
    """Several tenants at once: nobody gets another's picture or policy."""

    def ask(tenant, picture):
        with service.client(tenant) as client:
            return client.redact(png(picture.image))

    async def all_at_once():
        jobs = [("clinic", picture) for picture in list(pictures.values())[:2]]
        jobs += [("bank", picture) for picture in list(pictures.values())[:2]]
        return jobs, await asyncio.gather(*(asyncio.to_thread(ask, *job) for job in jobs))

    jobs, responses = asyncio.run(all_at_once())
    for (tenant, picture), response in zip(jobs, responses, strict=True):
        assert (response.redaction.pages[0].width, response.redaction.pages[0].height) == picture.image.size
        with service.client(tenant) as client:
            assert response.redaction.policy_digest == client.policy().digest


def _channel(service):
    """A bare stub with the bank's token, for messages that the client would not send."""
    import contextlib

    @contextlib.contextmanager
    def connected():
        token = service.site.tokens["bank"].read_text().strip()
        credentials = grpc.ssl_channel_credentials(service.site.pki.ca.read_bytes())
        options = [("grpc.max_send_message_length", 2**28)]
        with grpc.secure_channel(service.listen, credentials, options=options) as channel:
            yield GuardServiceStub(channel), (("authorization", f"Bearer {token}"),)

    return connected()


def _wait(condition, seconds=60):
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_history_and_sampling_are_checked(service, statement):
    with _channel(service) as (stub, metadata):
        for query in (
            pb.Query(question="x", max_tokens=-1),
            pb.Query(question="x", temperature=9),
            pb.Query(question="x", top_p=-0.5),
        ):
            request = pb.AnalyzeImageRequest(document=pb.Document(content=png(statement.image)), query=query)
            with pytest.raises(grpc.RpcError) as failure:
                stub.AnalyzeImage(request, metadata=metadata, timeout=60)
            assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request = pb.RedactImageRequest(request_id="a b", document=pb.Document(content=b"x"))
        with pytest.raises(grpc.RpcError) as failure:
            stub.RedactImage(request, metadata=metadata, timeout=60)
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_forbidden_question_never_reaches_the_picture(service, form):
    name = f"forbidden-{secrets.token_hex(4)}"
    with service.client("clinic") as client, pytest.raises(Refused) as failure:
        client.analyze(png(form.image), "Who is the person in this picture?", request_id=name)
    assert failure.value.reason is Reason.QUESTION_FORBIDDEN
    assert failure.value.details["topic"] == "identify_person"
