"""Labels undone, end to end: a real service, a key that it does not have, and nothing of the strings left behind."""

import base64
import io
import json
import os
import subprocess
import sys

import pytest
from google.protobuf.json_format import MessageToDict
from PIL import Image, ImageDraw, ImageFont
from running_service import free_port, start_service, stop_service

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli.init import make_site
from guardedvlm.client import labels_of
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import InvalidInput, NotPermitted, Reason, Refused
from guardedvlm.transport.identity import new_token
from guardedvlm.transport.reidentification import PRIVATE_KEY, PUBLIC_KEY, write_pair
from guardedvlm.transport.secret_file import read_key
from guardedvlm.trust import TOKENS_KEY
from guardedvlm.v1 import guard_pb2 as pb

pytestmark = pytest.mark.service

CANARIES = ("Quillfeather", "4716-0923-71")
QUESTION = "What is the total?"


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """The records office's keys, on a machine of its own."""
    folder = tmp_path_factory.mktemp("office")
    return folder, write_pair(folder)


@pytest.fixture(scope="module")
def service(tmp_path_factory, office):
    """A site whose clinic gives names and record numbers back; its clerk may not ask, and the bank gives nothing."""
    folder = tmp_path_factory.mktemp("service")
    site = make_site(folder / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    _, public = office
    policy = folder / "site" / "policies" / "healthcare" / "policy.yaml"
    policy.write_text(policy.read_text().replace("  reidentify: []", "  reidentify: [PERSON, MEDICAL_RECORD]"))
    token, digest = new_token(read_key(folder / "site" / "keys" / TOKENS_KEY))
    site.tokens["clerk"] = folder / "site" / "clerk.token"
    site.tokens["clerk"].write_text(token)
    tenants = folder / "site" / "tenants.yaml"
    text = tenants.read_text().replace("roles: [caller]", "roles: [caller, reidentify]")
    text = text.replace("{policy: healthcare}", f'{{policy: healthcare, reidentify_key: "{public}"}}')
    text = text.replace("{policy: finance}", f'{{policy: finance, reidentify_key: "{public}"}}')
    text += f'  - name: clerk\n    tenant: clinic\n    roles: [caller]\n    token_hmac: "{digest}"\n'
    tenants.write_text(text)
    service = start_service(folder, site=site)
    yield service
    stop_service(service)


@pytest.fixture(scope="module")
def page():
    picture = Image.new("RGB", (900, 420), "white")
    draw = ImageDraw.Draw(picture)
    lines = ("Patient name: Orla Quillfeather", "MRN: 4716-0923-71", "Total 12.00", "Name: QUILLFEATHER, ORLA")
    for row, line in enumerate(lines):
        draw.text((40, 40 + 80 * row), line, "black", ImageFont.load_default(32))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def analysis(service, page):
    with service.client("clinic") as client:
        return client.analyze(page, QUESTION, request_id="first", reidentify=True)


def test_the_key_holder_gets_the_strings_and_nobody_else(analysis, office):
    folder, public = office
    labels = labels_of(analysis, folder / PRIVATE_KEY)
    read = " ".join(text for spellings in labels.values() for text in spellings)
    for canary in CANARIES:
        assert canary.casefold() in read.casefold()
    assert {label.rpartition("-")[0] for label in labels} <= {"PERSON", "MEDICAL_RECORD"}
    assert labels.keys() <= {region.label for region in analysis.redaction.pages[0].regions}
    assert analysis.reidentification.key_id == public.id
    for canary in CANARIES:
        assert canary.encode() not in analysis.SerializeToString()


def test_one_person_has_one_label(analysis, office):
    """ "Orla Quillfeather" and "QUILLFEATHER, ORLA" on one page."""
    names = [
        label
        for label, read in labels_of(analysis, office[0] / PRIVATE_KEY).items()
        if any("quillfeather" in text.casefold() for text in read)
    ]
    assert len(names) == 1


def test_another_key_or_request_does_not_open(analysis, office, tmp_path):
    write_pair(tmp_path)
    moved = pb.Analysis(audit_id="00" * 16, reidentification=analysis.reidentification)
    for response, key in ((analysis, tmp_path), (moved, office[0]), (pb.Analysis(), office[0])):
        with pytest.raises(InvalidInput) as failure:
            labels_of(response, key / PRIVATE_KEY)
        assert failure.value.reason is Reason.SEAL_UNOPENED


def test_every_way_of_asking_brings_it(service, page, office):
    with service.client("clinic") as client:
        streamed = list(client.stream(page, QUESTION, reidentify=True))
        redacted = client.redact(page, reidentify=True)
        plain = client.analyze(page, QUESTION)
    assert labels_of(streamed[-1].done, office[0] / PRIVATE_KEY)
    assert not any(b"Quill" in event.SerializeToString() for event in streamed)
    assert labels_of(redacted, office[0] / PRIVATE_KEY)
    assert not plain.HasField("reidentification")


def test_an_upload_brings_it(service, page, office, monkeypatch):
    monkeypatch.setattr("guardedvlm.client.sync.UPLOAD_ABOVE", 100)
    with service.client("clinic") as client:
        assert labels_of(client.analyze(page, QUESTION, reidentify=True), office[0] / PRIVATE_KEY)


def test_a_repeated_request_gets_the_same_sealed_bytes(service, page, analysis):
    with service.client("clinic") as client:
        again = client.analyze(page, QUESTION, request_id="first", reidentify=True)
    assert again.reidentification == analysis.reidentification


@pytest.mark.parametrize(
    ("who", "error", "reason"),
    [("clerk", NotPermitted, Reason.ROLE_MISSING), ("bank", Refused, Reason.POLICY_FORBIDS)],
)
def test_who_may_not_is_refused_before_the_document_is_touched(service, who, error, reason):
    ledger = service.site.config.parent / "ledger"
    before = len(list(read_ledger(ledger)))
    with service.client(who) as client:
        for ask in (lambda: client.analyze(b"no picture", QUESTION, reidentify=True), lambda: _redact(client)):
            with pytest.raises(error) as failure:
                ask()
            assert failure.value.reason is reason
    written = list(read_ledger(ledger))[before:]
    assert [record.event for record in written] == 2 * [State.RECEIVED, State.ADMITTED, State.REFUSED]
    assert {record.facts["reason"] for record in written if record.event is State.REFUSED} == {reason}


def _redact(client):
    client.redact(b"no picture", reidentify=True)


def test_the_ledger_tells_how_many_and_nothing_else(service, analysis, office):
    records = list(read_ledger(service.site.config.parent / "ledger", request=analysis.audit_id))
    assert records[-1].event is State.RELEASED
    assert records[-1].facts["sealed_labels"] == len(labels_of(analysis, office[0] / PRIVATE_KEY))
    assert sum("sealed_labels" in record.facts for record in records) == 1
    assert verify_logs(service.site.config.parent / "ledger").is_good


def test_the_command_line_asks_and_opens(service, page, office, tmp_path):
    (tmp_path / "page.png").write_bytes(page)
    token = service.site.tokens["clinic"]
    connection = ["--server", service.listen, "--ca", service.site.pki.ca, "--token-file", token]
    asked = run("ask", tmp_path / "page.png", QUESTION, "--json", "--reidentify", *connection)
    assert asked.returncode == 0, asked.stderr
    (tmp_path / "response.json").write_text(asked.stdout)
    assert not any(canary in asked.stdout for canary in CANARIES)
    opened = run("reidentify", tmp_path / "response.json", "--key", office[0] / PRIVATE_KEY)
    assert opened.returncode == 0, opened.stderr
    assert any("quillfeather" in read[0].casefold() for read in json.loads(opened.stdout).values())


def test_the_command_line_fills_an_answer(analysis, office, tmp_path):
    labels = labels_of(analysis, office[0] / PRIVATE_KEY)
    name = next(label for label in labels if label.startswith("PERSON"))
    response = MessageToDict(analysis, preserving_proto_field_name=True)
    response["answer"] = f"{name} owes 12.00; {name}B and PERSON-ZZ owe nothing."
    (tmp_path / "response.json").write_text(json.dumps(response))
    filled = run("reidentify", tmp_path / "response.json", "--key", office[0] / PRIVATE_KEY, "--answer")
    assert filled.stdout == f"{labels[name][0]} owes 12.00; {name}B and PERSON-ZZ owe nothing.\n"
    write_pair(tmp_path / "other")
    wrong = run("reidentify", tmp_path / "response.json", "--key", tmp_path / "other" / PRIVATE_KEY)
    assert (wrong.returncode, "SEAL_UNOPENED" in wrong.stderr) == (3, True)


def test_no_string_is_in_any_file_of_the_service(service, page, analysis):
    """Ledger, log, keys, scratch folder: whatever the service wrote, sealed maps included."""
    files = [path for path in service.log.parent.rglob("*") if path.is_file()]
    assert service.log in files
    sealed = analysis.reidentification.sealed
    for path in files:
        content = path.read_bytes()
        for canary in CANARIES:
            assert canary.lower().encode() not in content.lower(), path.name
        assert sealed not in content
        assert base64.b64encode(sealed)[:60] not in content


@pytest.mark.slow
def test_without_a_server_the_key_is_ones_own(service, page, office, tmp_path):
    (tmp_path / "page.png").write_bytes(page)
    policy = service.site.config.parent / "policies" / "healthcare" / "policy.yaml"
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    public = ["--reidentify-key", office[0] / PUBLIC_KEY]
    done = run("redact", tmp_path / "page.png", "-o", tmp_path / "out", "-p", policy, *public, **state)
    assert done.returncode == 0, done.stderr
    opened = run("reidentify", tmp_path / "out" / "page.findings.json", "--key", office[0] / PRIVATE_KEY)
    assert any("quillfeather" in read[0].casefold() for read in json.loads(opened.stdout).values())
    shipped = run("redact", tmp_path / "page.png", "-o", tmp_path / "out2", *public, **state)
    assert (shipped.returncode, "POLICY_FORBIDS" in shipped.stderr) == (1, True)


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "guardedvlm", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
        timeout=240,
    )


def test_wishes_that_contradict_each_other_are_wrong_usage(office, page, tmp_path):
    (tmp_path / "page.png").write_bytes(page)
    public = ["--reidentify-key", office[0] / PUBLIC_KEY]
    for wishes in (["--reidentify"], public, ["--json", "--reidentify"], ["--json", "--server", "x:1", *public]):
        assert run("ask", tmp_path / "page.png", QUESTION, *wishes).returncode == 2
