"""Receipts end to end: a real service and client, every kind of response, and nothing of a nonce left behind."""

import io
import json
import os
import subprocess
import sys
import time

import grpc
import pytest
from PIL import Image, ImageDraw, ImageFont
from running_service import TESTS, free_port, start_service, stop_service

from guardedvlm.audit.keys import create_keys, load_keys, load_public, rotate_keys
from guardedvlm.audit.receipt import Of, Outcome, Receipt
from guardedvlm.audit.receipt_proof import Finding, Given, prove
from guardedvlm.cli.init import make_site
from guardedvlm.cli.receipt import _pages
from guardedvlm.client import redacted_document
from guardedvlm.errors import Conflict, NotIdentified, Overloaded, Reason, Refused, Unavailable
from guardedvlm.evidence import EVIDENCE_KEYS
from guardedvlm.transport.listen import RECEIVE_LIMIT
from guardedvlm.transport.response import RECEIPT_KEY
from guardedvlm.v1 import guard_pb2 as pb

pytestmark = pytest.mark.service

QUESTION = "What is the total?"
SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": ["number", "null"]}},
    "required": ["total"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def page():
    picture = Image.new("RGB", (520, 240), "white")
    draw = ImageDraw.Draw(picture)
    for row, line in enumerate(("Patient name: Orla Quillfeather", "MRN: 4716-0923-71", "Total 12.00")):
        draw.text((30, 20 + 70 * row), line, "black", ImageFont.load_default(26))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def site(service):
    return service.site.config.parent


@pytest.fixture(scope="module")
def called(service, page):
    """One call of each kind: what came back, and its receipts."""
    got = {}

    def taker(name):
        return lambda receipt: got.setdefault(name, []).append(receipt)

    with service.client("bank") as client:
        redacted = client.redact(page, on_receipt=taker("redact"))
        analysis = client.analyze(page, QUESTION, with_image=True, request_id="receipt-1", on_receipt=taker("analyze"))
        again = client.analyze(page, QUESTION, with_image=True, request_id="receipt-1", on_receipt=taker("again"))
        events = list(client.stream(page, QUESTION, on_receipt=taker("stream")))
        fields = client.extract(page, SCHEMA, on_receipt=taker("extract"))
        with pytest.raises(Refused):
            client.analyze(page, "What is the ethnicity of the patient?", on_receipt=taker("refused"))
    answers = {
        "redact": redacted,
        "analyze": analysis,
        "again": again,
        "stream": events[-1].done,
        "extract": fields,
    }
    assert all(len(receipts) == 1 for receipts in got.values())
    return answers, {name: receipts[0] for name, receipts in got.items()}


def proved(site, receipt, page, tmp_path, redaction=None):
    """The proof with everything that the caller and the site have."""
    (tmp_path / "image").write_bytes(page)
    file, pages = None, None
    if redaction is not None and redacted_document(redaction).content:
        file = tmp_path / "redacted"
        file.write_bytes(redacted_document(redaction).content)
        pages = _pages(file)
    keys = load_keys(site / "keys" / EVIDENCE_KEYS).public
    return prove(receipt.encode(), Given(keys, tmp_path / "image", file, pages, site / "ledger"))


@pytest.mark.parametrize("name", ["redact", "analyze", "again", "stream", "extract"])
def test_every_response_has_a_receipt_that_holds(called, site, page, tmp_path, name):
    answers, receipts = called
    answer, receipt = answers[name], receipts[name]
    proof = proved(site, receipt, page, tmp_path, answer.redaction)
    has_file = name in {"redact", "analyze", "again"}
    expected = [Finding.HOLDS] * 4 + [Finding.HOLDS if has_file else Finding.NOT_CHECKED] * 2 + [Finding.HOLDS] * 3
    assert [step.finding for step in proof.steps] == expected
    statement = receipt.statement
    assert (statement.audit_id, statement.outcome) == (answer.audit_id, Outcome.RELEASED)
    assert statement.policy["digest"] == answer.redaction.policy_digest
    counts = {item.kind: item.count for item in answer.redaction.pages[0].counts}
    assert {str(kind): count for kind, count in statement.regions.items()} == counts
    assert (statement.model is None) == (name == "redact")


def test_a_refusal_that_is_on_record_has_one_too(called, site, page, tmp_path):
    _, receipts = called
    statement = receipts["refused"].statement
    assert (statement.outcome, statement.reason) == (Outcome.REFUSED, Reason.QUESTION_FORBIDDEN)
    assert statement.cleared is None
    assert proved(site, receipts["refused"], page, tmp_path).holds


def test_a_replay_is_signed_anew_and_says_the_same(called):
    answers, receipts = called
    first, again = receipts["analyze"].statement, receipts["again"].statement
    assert answers["analyze"] == answers["again"]
    assert first.recorded() == again.recorded()
    assert first.nonce != again.nonce
    assert first.input.commitment != again.input.commitment


def test_no_nonce_is_on_disk(called, service):
    """Ledger, log, keys and scratch: every file of the service; as hex, as bytes, in base64."""
    _, receipts = called
    nonces = [bytes.fromhex(receipt.statement.nonce) for receipt in receipts.values()]
    assert len(set(nonces)) == len(receipts)
    found = 0
    for path in service.log.parent.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        found += len(content)
        for receipt, nonce in zip(receipts.values(), nonces, strict=True):
            assert nonce not in content, path.name
            assert nonce.hex().encode() not in content, path.name
            assert receipt.statement.input.commitment.encode() not in content, path.name
            assert receipt.encode()[20:60] not in content, path.name
    assert found > 10_000


def test_another_picture_or_a_picture_of_another_receipt_is_found(called, site, page, tmp_path):
    _, receipts = called
    other = proved(site, receipts["redact"], page + b"\x00", tmp_path)
    assert [step.number for step in other.steps if step.finding is Finding.BROKEN] == [4]


def test_what_has_no_record_has_no_receipt(service, page):
    got = []
    with service.client(token="gvlm_nobody") as client, pytest.raises(NotIdentified):
        client.redact(page, on_receipt=got.append)
    with service.client("bank") as client:
        with pytest.raises(Overloaded):
            client.redact(bytes(RECEIVE_LIMIT + 1), on_receipt=got.append)
        with pytest.raises(Conflict):
            client.analyze(page, "What is the date?", request_id="receipt-1", on_receipt=got.append)
        client.policy()
    assert not got


def test_after_a_rotation_the_running_service_signs_with_the_new_key(service, site, called, page, tmp_path):
    keys = site / "keys" / EVIDENCE_KEYS
    old = load_keys(keys).active.id
    new = rotate_keys(keys).active.id
    got = []
    with service.client("bank") as client:
        client.analyze(page, QUESTION, with_image=True, request_id="receipt-1", on_receipt=got.append)
    assert got[0].signature.key_id == new
    _, receipts = called
    assert receipts["redact"].signature.key_id == old
    for receipt in (got[0], receipts["redact"]):
        assert proved(site, receipt, page, tmp_path).holds


def test_the_receipt_is_in_the_trailing_metadata_as_bytes(service, page):
    """What a client in another language reads."""
    credentials = grpc.ssl_channel_credentials(service.site.pki.ca.read_bytes())
    token = service.site.tokens["bank"].read_text().strip()
    with grpc.secure_channel(service.listen, credentials) as channel:
        method = channel.unary_unary(
            "/guardedvlm.v1.GuardService/AnalyzeImage",
            request_serializer=pb.AnalyzeImageRequest.SerializeToString,
            response_deserializer=pb.AnalyzeImageResponse.FromString,
        )
        request = pb.AnalyzeImageRequest(
            document=pb.Document(content=page),
            query=pb.Query(question=QUESTION),
            include_redacted_image=True,
            request_id="receipt-1",
        )
        _, call = method.with_call(request, metadata=(("authorization", f"Bearer {token}"),), timeout=60)
    (value,) = (value for key, value in call.trailing_metadata() if key == RECEIPT_KEY)
    assert json.loads(value)["payloadType"].endswith("receipt.v1+json")
    assert Receipt.decode(value).statement.commitment(Of.INPUT, [page])
    assert not [key for key, _ in call.initial_metadata() if "receipt" in key]


@pytest.mark.slow
def test_a_service_whose_key_is_in_another_process(tmp_path, page):
    """The service has no private key; without the signer it is not ready, and answers nothing."""
    site = make_site(tmp_path / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    socket, keys = tmp_path / "signer.sock", tmp_path / "elsewhere"
    create_keys(keys)
    load_keys(keys).public.write(tmp_path / "public.json")
    site.config.write_text(site.config.read_text() + f"signer: unix:{socket}\n")
    command = [sys.executable, "-m", "guardedvlm", "keys", "serve", str(keys), "--socket", str(socket)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    signer = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _wait(socket.exists)
    service = start_service(tmp_path, site=site)
    try:
        assert not (site.config.parent / "keys" / EVIDENCE_KEYS).exists()
        got = []
        with service.client("bank") as client:
            client.redact(page, on_receipt=got.append)
            assert prove(got[0].encode(), Given(load_public(tmp_path / "public.json"))).holds
            rotate_keys(keys)
            client.redact(page, on_receipt=got.append)
            assert got[1].signature.key_id == load_keys(keys).active.id
            signer.terminate()
            signer.wait(30)
            with pytest.raises(Unavailable) as failure:
                client.redact(page, on_receipt=got.append)
            assert failure.value.reason is Reason.EVIDENCE_UNSIGNED
            _wait(lambda: service.serving() == 2)  # NOT_SERVING
            assert len(got) == 2
    finally:
        signer.kill()
        stop_service(service)


@pytest.fixture
def run(tmp_path, page):
    """Runs the command line in a folder with a page and a schema; gives the exit code."""
    (tmp_path / "page.png").write_bytes(page)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*arguments):
        command = [sys.executable, "-m", "guardedvlm", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    return run


FORBIDDEN = "What is the ethnicity of the patient?"


@pytest.mark.slow
def test_commands_that_ask_a_service_write_its_receipts(service, run, tmp_path):
    reach = ["--server", service.listen, "--ca", service.site.pki.ca, "--token-file", service.site.tokens["bank"]]
    load_keys(service.site.config.parent / "keys" / EVIDENCE_KEYS).public.write(tmp_path / "keys.json")
    verify = ("receipt", "verify", "--image", "page.png", "--keys", "keys.json")
    assert run("ask", "page.png", QUESTION, *reach, "--redacted", "r.png", "--receipt", "a.json") == 0
    assert run(*verify, "a.json", "--redacted", "r.png") == 0
    assert run(*verify, "a.json", "--redacted", "page.png") == 5
    assert run("extract", "page.png", "-s", "schema.json", *reach, "--receipt", "e.json") == 0
    assert run(*verify, "e.json") == 0
    assert run("ask", "page.png", FORBIDDEN, *reach, "--receipt", "f.json") == 1
    assert run(*verify, "f.json") == 0


@pytest.mark.slow
def test_commands_without_a_service_write_receipts(run, tmp_path):
    """The keys of local use are made on the way, and are the default."""
    verify = ("receipt", "verify", "--image", "page.png", "--ledger", tmp_path / "state" / "guardedvlm" / "ledger")
    asked = ("ask", "page.png", "-p", "finance")
    assert run(*asked, QUESTION, "--redacted", "l.png", "--receipt", "l.json") == 0
    assert run(*verify, "l.json", "--redacted", "l.png") == 0
    assert run(*asked, FORBIDDEN, "--receipt", "m.json") == 1
    assert run(*verify, "m.json") == 0
    assert run("extract", "page.png", "-s", "schema.json", "-p", "finance", "--receipt", "n.json") == 0
    assert run(*verify, "n.json") == 0
    assert run("redact", "page.png", "-p", "finance", "-o", "out", "--receipts") == 0
    assert run(*verify, "out/page.receipt.json", "--redacted", "out/page.redacted.png") == 0


def _wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_client_that_wants_a_receipt_does_not_take_none(service, monkeypatch, page):
    monkeypatch.setattr("guardedvlm.client.receipts.RECEIPT_KEY", "another-bin")
    got = []
    with service.client("bank") as client, pytest.raises(Unavailable) as failure:
        client.analyze(page, QUESTION, with_image=True, request_id="receipt-1", on_receipt=got.append)
    assert failure.value.reason is Reason.RECEIPT_MISSING
    assert not got
