"""The review queue as a reviewer meets it: blind, recorded before shown, and plain about what happened."""

import getpass
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_office import OTHER_TENANT, TENANT, Office, picture
from starlette.datastructures import FormData
from starlette.testclient import TestClient

from guardedvlm.audit.checkpoint import read_checkpoints
from guardedvlm.audit.completeness import Completeness, verify_logs
from guardedvlm.audit.keys import create_keys, load_keys
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.audit.review import desk as desk_module
from guardedvlm.audit.reviewed import Basis, ReviewVerdict
from guardedvlm.audit.signer import FolderSigner
from guardedvlm.audit.signer_server import SignerServer
from guardedvlm.audit.verify import verify_ledger
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.console.app import Console
from guardedvlm.console.index import refresh
from guardedvlm.console.review_form import read_said
from guardedvlm.console.shown import MOST, SECONDS, Shown
from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, Reason

Open = Callable[..., tuple[Console, TestClient]]
OURS = {"Sec-Fetch-Site": "same-origin"}
OF_WHOM = (TENANT, TENANT[:8], "11" * 16, "33" * 32, "low_margin", "random sample")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


@pytest.fixture
def office(tmp_path: Path, ledger: Path) -> Office:
    return Office(tmp_path, ledger)


@pytest.fixture
def client(office: Office, ledger: Path, open_console: Open) -> TestClient:
    return open_console(ledger, desk=office.desk, user="ann", tenants={TENANT: "St. Example"})[1]


def look(client: TestClient, sample: str) -> tuple[str, str]:
    """Open a sample's page; gives it and the picture's address."""
    page = client.get(f"/review/{sample}")
    assert page.status_code == 200, text_of(page.text)
    found = re.search(r'src="(/review/[^"]*)"', page.text)
    assert found is not None
    return page.text, found[1]


def mark(client: TestClient, sample: str, verdict: str, **more: object) -> object:
    return client.post(f"/review/{sample}", data={"verdict": verdict, **more}, headers=OURS, follow_redirects=False)


def test_off_unless_there_is_a_desk(ledger: Path, open_console: Open) -> None:
    client = open_console(ledger)[1]

    assert "/review" not in client.get("/").text
    for path in ("/review", "/review/next", "/review/risk", "/review/" + "0" * 32):
        assert client.get(path).status_code == 404
    assert "changes nothing in it" in client.get("/").text


def test_nothing_without_a_session(client: TestClient, office: Office) -> None:
    sample = office.sample()
    stranger = TestClient(client.app, base_url="http://127.0.0.1:8450", follow_redirects=False)

    for path in ("/review", "/review/next", "/review/risk", f"/review/{sample}", f"/review/{sample}/picture"):
        assert stranger.get(path).status_code == 303
    assert stranger.post(f"/review/{sample}", data={"verdict": "clean"}, headers=OURS).status_code == 401
    assert list(office.desk.records()) == []


def test_the_queue_tells_names_and_expiries_alone(client: TestClient, office: Office) -> None:
    samples = [office.sample(basis=Basis.LOW_MARGIN), office.sample(tenant=OTHER_TENANT)]

    page = client.get("/review").text

    assert "2 pictures wait" in page
    assert all(f"/review/{sample}" in page for sample in samples)
    assert not [word for word in OF_WHOM if word in page]


def test_a_view_is_recorded_before_the_picture_is_sent(client: TestClient, office: Office) -> None:
    sample = office.sample(basis=Basis.LOW_MARGIN)
    page, address = look(client, sample)
    viewed = office.facts(LedgerEvent.VIEWED)

    sent = client.get(address)

    assert viewed == [{"sample": sample, "reviewer": office.desk.pseudonym("ann")}]
    assert not [word for word in OF_WHOM if word in page]
    assert (sent.status_code, sent.content, sent.headers["content-type"]) == (200, picture(), "image/png")
    assert sent.headers["cache-control"] == "no-store"
    assert sent.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get(address).status_code == 404  # each view is handed out once
    assert client.get(f"/review/{sample}/picture").status_code == 404


def test_a_mark_leads_to_the_next_and_says_so_there(client: TestClient, office: Office) -> None:
    first, second = sorted(office.sample() for _ in range(2))
    look(client, first)

    onward = mark(client, first, "over-redacted", kind=["DATE", "AMOUNT"], cells="0,0 31,31")
    page = client.get(onward.headers["location"])

    assert str(page.url).endswith(f"/review/{second}?marked={first}")
    assert f"Recorded: {first[:8]} is over-redacted" in text_of(page.text).replace(" .", ".")
    (said,) = office.facts(LedgerEvent.MARKED)
    assert (said["verdict"], set(said["kinds"])) == (ReviewVerdict.OVER_REDACTED, {Kind.DATE, Kind.AMOUNT})
    assert said["cells"] == "8" + "0" * 254 + "1"
    mark(client, second, "clean")
    assert "Nothing waits" in client.get("/review/next").text


def test_a_leak_destroys_and_opens_an_incident_and_the_page_says_so(client: TestClient, office: Office) -> None:
    sample = office.sample()
    _, address = look(client, sample)

    answer = mark(client, sample, "leaked", kind="PERSON", cells="3,12")
    page = client.get(answer.headers["location"])

    assert "The picture was destroyed and an incident was opened" in page.text
    assert "St. Example" in page.text
    assert not list(office.keys.iterdir())
    assert len(office.facts(LedgerEvent.INCIDENT)) == 1
    assert client.get(address).status_code == 404  # a copy that was not fetched is gone, too
    assert client.get(f"/review/{office.sample()}/reported").status_code == 404


def test_evidence_tells_the_incident_and_unblinds_nobody(
    client: TestClient, office: Office, ledger: Path, tmp_path: Path
) -> None:
    waiting = office.sample(tenant=OTHER_TENANT)
    about = {"tenant": OTHER_TENANT, "basis": Basis.LOW_MARGIN, "sample": waiting, "expires": 1_900_000_000}
    with office.desk._writer() as writer:
        writer.commit([make_entry(LedgerEvent.SAMPLED, None, {"sampled": about})])
    _marked(office, office.sample(), ReviewVerdict.LEAKED, [Kind.PERSON])
    refresh(ledger, tmp_path / "cache")

    page = text_of(client.get("/evidence").text)

    assert "a reviewer saw what should have been hidden : person" in page
    for told in (waiting, waiting[:8], OTHER_TENANT, OTHER_TENANT[:8], "low_margin"):
        assert told not in page


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "Say what the picture shows"),
        ({"verdict": "leaked"}, "choose at least one"),
        ({"verdict": "clean", "kind": "FACE"}, "clean picture has neither"),
        ({"verdict": "leaked", "kind": "FACE", "cells": "32,0"}, "from 0 to 31"),
        ({"verdict": "leaked", "kind": "CANARY"}, "those of the list"),
    ],
)
def test_a_form_that_does_not_fit_is_shown_again(
    client: TestClient, office: Office, data: dict[str, str], words: str
) -> None:
    sample = office.sample()
    look(client, sample)

    page = client.post(f"/review/{sample}", data=data, headers=OURS)

    assert page.status_code == 400
    assert words in page.text
    assert "CANARY" not in page.text
    assert office.facts(LedgerEvent.MARKED) == []
    assert len(office.facts(LedgerEvent.VIEWED)) == 2  # the picture is sent again
    assert bool(re.search(r'name="(verdict|kind)"[^>]* checked', page.text)) == bool(data)


def test_a_post_of_another_site_marks_nothing(client: TestClient, office: Office) -> None:
    sample = office.sample()
    look(client, sample)

    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = client.post(f"/review/{sample}", data={"verdict": "leaked", "kind": "FACE"}, headers=headers)
        assert answer.status_code == 403
    assert office.facts(LedgerEvent.MARKED) == []
    assert client.post(f"/review/{sample}", content=b"a" * 40_000, headers=OURS).status_code == 413
    parts = (b"a" * 10_000 for _ in range(4))  # no length is announced
    assert client.post(f"/review/{sample}", content=parts, headers=OURS).status_code == 413


def test_expired_while_looked_at(client: TestClient, office: Office) -> None:
    sample = office.sample()
    look(client, sample)
    office.late = 4 * 24 * 3600.0

    clean, leaked = mark(client, sample, "clean"), mark(client, sample, "leaked", kind="FACE")

    assert (clean.status_code, leaked.status_code) == (410, 410)
    assert "Its time was over while you looked" in clean.text
    assert "is not in the ledger" not in clean.text
    assert "The leak that you saw is not in the ledger." in leaked.text
    assert client.get(f"/review/{sample}").status_code == 410
    assert "0 pictures wait" in client.get("/review").text


def test_who_has_not_looked_is_told_so(client: TestClient, office: Office) -> None:
    answer = mark(client, office.sample(), "clean")

    assert answer.status_code == 409
    assert "You were not shown this picture" in answer.text


def test_marked_by_somebody_else(client: TestClient, office: Office) -> None:
    sample, leaked = office.sample(), office.sample()
    for one in (sample, leaked):
        look(client, one)
        office.desk.view(one, "bob")
    office.desk.mark(sample, "bob", ReviewVerdict.CLEAN)
    office.desk.mark(leaked, "bob", ReviewVerdict.LEAKED, [Kind.FACE])
    views = len(office.facts(LedgerEvent.VIEWED))

    page, gone = client.get(f"/review/{sample}"), mark(client, leaked, "clean")
    both = mark(client, sample, "over-redacted", kind="DATE")

    assert page.status_code == 409
    assert "Somebody else has marked this picture already" in page.text
    assert len(office.facts(LedgerEvent.VIEWED)) == views  # it was not shown
    assert gone.status_code == 410
    assert "another reviewer marked it as leaked" in gone.text
    assert "another reviewer marked it" in both.text
    assert len(office.facts(LedgerEvent.MARKED)) == 3
    assert "You have marked this picture already" in client.get(f"/review/{sample}").text
    assert client.get(f"/review/{sample}?again=1").status_code == 200


def test_a_ledger_that_cannot_be_written(client: TestClient, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, leaked, unseen = (office.sample() for _ in range(3))
    look(client, sample)
    look(client, leaked)
    monkeypatch.setattr(desk_module, "WAIT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(ChainWriter, "commit", _fails)
        closed, clean = client.get(f"/review/{unseen}"), mark(client, sample, "clean")
        lost = mark(client, leaked, "leaked", kind="FACE")

    assert closed.status_code == 503
    assert "your look could not be recorded" in closed.text
    assert "<img" not in closed.text
    assert (clean.status_code, lost.status_code) == (503, 503)
    assert "Your mark is not in the ledger yet" in clean.text
    assert "The picture was destroyed" in lost.text
    assert "the incident is not in it yet" in lost.text
    look(client, unseen)  # the next thing that is recorded
    assert len(office.facts(LedgerEvent.MARKED)) == 2
    assert len(office.facts(LedgerEvent.INCIDENT)) == 1
    assert verify_ledger(office.desk._log).chain_ok


def _fails(*_: object) -> None:
    raise ConfigurationError(Reason.LEDGER_UNWRITABLE)


def test_a_name_that_is_none(client: TestClient, office: Office) -> None:
    for name in ("x", "../../etc/passwd", "%2e%2e", "0" * 32):
        assert client.get(f"/review/{name}").status_code in (404, 410)
    assert list(office.desk.records()) == []


def test_the_risk_suppresses_small_cells_and_keeps_bases_apart(client: TestClient, office: Office) -> None:
    for number in range(6):
        leaks = {"verdict": ReviewVerdict.LEAKED, "kinds": [Kind.PERSON]} if number < 2 else {"verdict": "clean"}
        _marked(office, office.sample(), **leaks)
    for _ in range(3):
        _marked(office, office.sample(tenant=OTHER_TENANT, basis=Basis.LOW_MARGIN), ReviewVerdict.LEAKED, [Kind.FACE])

    page = text_of(client.get("/review/risk").text)
    random, low = page.split("Low-margin samples Drawn")

    assert "St. Example any 2 of 6 reviewed 33.3 % 9.7 to 70.0 %" in random
    assert "St. Example person 2 of 6 reviewed 33.3 %" in random
    assert f"{OTHER_TENANT[:8]} any suppressed" in low
    assert "face" not in low
    assert " of 3 " not in low


def _marked(office: Office, sample: str, verdict: str, kinds: list[Kind] | None = None) -> None:
    office.desk.view(sample, "bob")
    office.desk.mark(sample, "bob", ReviewVerdict(verdict), kinds or ())


def test_every_page_of_review_is_strict(client: TestClient, office: Office) -> None:
    sample = office.sample()

    for path in ("/review", f"/review/{sample}", "/review/risk", "/review/next"):
        page = client.get(path)
        assert page.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", page.text)


def test_a_picture_is_handed_out_once_to_whom_it_was_shown() -> None:
    now = [0.0]
    shown = Shown(lambda: now[0])
    ticket = shown.keep("ann", "s1", b"1")
    assert shown.take(ticket, "bob", "s1") is None
    assert shown.take(ticket, "ann", "s2") is None
    assert shown.take(ticket, "ann", "s1") == b"1"
    assert shown.take(ticket, "ann", "s1") is None
    late = shown.keep("ann", "s1", b"1")
    now[0] = SECONDS + 1
    assert shown.take(late, "ann", "s1") is None
    tickets = [shown.keep("ann", "s1", b"1") for _ in range(MOST + 1)]
    assert [shown.take(one, "ann", "s1") is None for one in tickets] == [True, *[False] * MOST]


@given(st.lists(st.tuples(st.sampled_from(["verdict", "kind", "cells", "other"]), st.text(max_size=12)), max_size=6))
def test_no_form_makes_a_mark_that_the_desk_refuses(pairs: list[tuple[str, str]]) -> None:
    said = read_said(FormData(pairs))

    assert said.problem or said.verdict is not None
    if not said.problem:
        assert (said.verdict is ReviewVerdict.CLEAN) == (not said.kinds)
        assert not (said.verdict is ReviewVerdict.CLEAN and said.cells)


@given(st.sets(st.tuples(st.integers(0, 31), st.integers(0, 31)), max_size=20))
def test_cells_are_read_as_they_are_written(cells: set[tuple[int, int]]) -> None:
    form = FormData([("verdict", "leaked"), ("kind", "FACE"), ("cells", " ".join(f"{r},{c}" for r, c in cells))])

    said = read_said(form)

    assert set(said.cells) == cells
    assert read_said(FormData([("cells", said.written)])).cells == said.cells


def test_at_one_machine_a_reviewer_is_the_user_of_the_command_line(tmp_path: Path, ledger: Path) -> None:
    from guardedvlm.cli.console import _site
    from guardedvlm.config import load_console_settings

    office = Office(tmp_path, ledger)
    office.sample()
    (tmp_path / "audit.key").write_text("6b" * 32 + "\n")
    (tmp_path / "audit.key").chmod(0o600)
    config = tmp_path / "console.yaml"
    config.write_text("audit_key: audit.key\nreview: {folder: pictures, keys: sample-keys}\n")

    site = _site(ledger, load_console_settings(config), "http://127.0.0.1:8450", 8450)

    assert site.user == getpass.getuser()
    assert site.desk is not None
    assert site.desk.pseudonym("ann") == office.desk.pseudonym("ann")
    assert len(site.desk.queue()) == 1


def test_the_console_signs_by_another_process_and_keeps_a_second_place(tmp_path: Path, ledger: Path) -> None:
    from guardedvlm.cli.console import _desk
    from guardedvlm.config import load_console_settings

    sample = Office(tmp_path, ledger).sample()
    (tmp_path / "audit.key").write_text("6b" * 32 + "\n")
    (tmp_path / "audit.key").chmod(0o600)
    review = "{folder: pictures, keys: sample-keys, signer: 'unix:sign.sock', checkpoints: elsewhere}"
    (tmp_path / "console.yaml").write_text(f"audit_key: audit.key\nreview: {review}\n")
    desk = _desk(ledger, load_console_settings(tmp_path / "console.yaml"))
    assert desk is not None
    create_keys(tmp_path / "evidence")
    server = SignerServer(tmp_path / "sign.sock", FolderSigner(tmp_path / "evidence"), [os.geteuid()])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        desk.view(sample, "ann")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    (found,) = read_checkpoints(tmp_path / "elsewhere").found
    assert found.checkpoint.origin.endswith("/review")
    assert found.checkpoint.size == 2
    verdict = verify_logs(ledger, read_checkpoints(tmp_path / "elsewhere"), load_keys(tmp_path / "evidence").public)
    (log,) = (log for log in verdict.logs if log.name == "review")
    assert log.completeness is Completeness.SHOWN
