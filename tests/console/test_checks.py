"""Receipts and inclusion proofs, made by the service's own parts and checked through the pages."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from written_ledger import LIFE, ORIGIN, request_id

from guardedvlm.audit.checkpoint import CHECKPOINTS
from guardedvlm.audit.checkpointer import Cadence, Checkpointer
from guardedvlm.audit.completeness import Completeness, LedgerVerdict
from guardedvlm.audit.keys import PublicKeys, create_keys
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.receipt import Closed, Receipts
from guardedvlm.audit.record import Entry
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import FileSink
from guardedvlm.console.app import Console
from guardedvlm.console.checks import prove_and_check
from guardedvlm.console.index import FILE
from guardedvlm.console.watch import Outside, verify_all

Open = Callable[..., tuple[Console, TestClient]]
SAME = {"Sec-Fetch-Site": "same-origin"}
DAYS = 2_192


@dataclass
class Evidence:
    """A ledger with two logs, its checkpoints at a second place, and a receipt of request 1."""

    ledger: Path
    elsewhere: Path
    public: PublicKeys
    receipt: bytes

    @property
    def outside(self) -> Outside:
        return Outside(self.public, self.elsewhere)


async def write(folder: Path) -> Evidence:
    ring = create_keys(folder / "keys")
    sink = FileSink(folder / "elsewhere")
    logs = Logs(folder / "ledger", ORIGIN, checkpointer=Checkpointer(ring, ring.public.find, sink, Cadence(5, 3600.0)))
    log = await logs.log_for(DAYS)
    records = []
    for number in (1, 2):
        for state, facts in LIFE.items():
            said = {"event": state, "request": request_id(number), "facts": facts}
            records.append(await log.append(Entry.model_validate_json(json.dumps(said))))
    await asyncio.to_thread(logs.close)
    closed = Closed.of(records[: len(LIFE)], "years-6", ("ab" * 32, "cd" * 32))
    receipt = Receipts(ring).issue(closed, b"the document", b"the file")
    return Evidence(folder / "ledger", folder / "elsewhere", ring.public, receipt.encode())


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return asyncio.run(write(tmp_path))


def upload(client: TestClient, content: bytes) -> str:
    answer = client.post("/receipts", files={"receipt": ("a.receipt.json", content)}, headers=SAME)
    assert answer.status_code == 200
    return answer.text


def test_a_receipt_holds(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    page = upload(client, evidence.receipt)

    assert "is authentic, and nothing speaks against it" in page
    assert page.count("badge ok") == 6
    assert page.count("badge open") == 3  # picture, file and pixels never come here
    assert f"/requests/{request_id(1)}" in page


def test_a_changed_receipt_does_not(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    assert "is not shown to be authentic" in upload(client, evidence.receipt.replace(b"A", b"B", 1))
    assert "is not shown to be authentic" in upload(client, b"<script>alert(1)</script>")


def test_a_receipt_against_a_changed_ledger(evidence: Evidence, open_console: Open) -> None:
    path = next(iter(list_segments(evidence.ledger / "years-6"))).path
    path.write_bytes(path.read_bytes().replace(b'"FACE":1', b'"FACE":9', 1))
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    page = upload(client, evidence.receipt)

    assert "is not shown to be authentic" in page
    assert page.count('class="flawed"') == 2  # the ledger says something else, and its chain is broken


def test_without_keys_no_receipt_is_authentic(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger)

    page = upload(client, evidence.receipt)

    assert "is not shown to be authentic" in page
    assert "--keys" in page


def test_what_is_too_large_is_not_read(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger)

    assert client.post("/receipts", files={"receipt": b"x" * 100_000}, headers=SAME).status_code == 413
    assert client.post("/receipts", data={"receipt": "x"}, headers=SAME).status_code == 400
    assert client.post("/receipts", files={"receipt": b"x"}).status_code == 403


@pytest.mark.parametrize("path", ["/receipts", "/login"])
@pytest.mark.parametrize("length", [{}, {"Content-Length": "10"}], ids=["chunked", "wrong length"])
def test_what_is_too_large_and_says_otherwise_is_not_read(
    evidence: Evidence, open_console: Open, path: str, length: dict[str, str]
) -> None:
    _, client = open_console(evidence.ledger)

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="receipt"; filename="a"\r\n\r\n'
        yield from (b"x" * 16_384 for _ in range(200))
        yield b"\r\n--x--\r\n"

    headers = SAME | length | {"Content-Type": "multipart/form-data; boundary=x"}

    assert client.post(path, content=body(), headers=headers).status_code == 413


def test_a_receipt_without_a_length_is_read(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)
    form = b'--x\r\nContent-Disposition: form-data; name="receipt"; filename="a"\r\n\r\n%s\r\n--x--\r\n'

    headers = SAME | {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/receipts", content=iter([form % evidence.receipt]), headers=headers)

    assert "is authentic, and nothing speaks against it" in answer.text


def test_an_inclusion_proof_holds(evidence: Evidence, open_console: Open) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    part = client.get(f"/requests/{request_id(2)}/proof", headers={"HX-Request": "true"}).text

    assert part.lstrip().startswith('<div id="inclusion" tabindex="-1" autofocus>')
    assert f"all {len(LIFE)} records are in the Merkle tree" in part
    assert evidence.public.keys[0].id in part
    assert "<html" in client.get(f"/requests/{request_id(2)}/proof").text


def test_an_inclusion_proof_by_another_key_does_not(evidence: Evidence, tmp_path: Path, open_console: Open) -> None:
    other = create_keys(tmp_path / "other").public
    _, client = open_console(evidence.ledger, outside=Outside(other))

    assert "The proof does not hold" in client.get(f"/requests/{request_id(1)}/proof").text


def test_an_inclusion_proof_in_a_changed_ledger(evidence: Evidence, open_console: Open) -> None:
    path = next(iter(list_segments(evidence.ledger / "years-6"))).path
    path.write_bytes(path.read_bytes().replace(b'"FACE":1', b'"FACE":9', 1))
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    assert "The proof does not hold" in client.get(f"/requests/{request_id(2)}/proof").text


def test_before_a_checkpoint_there_is_nothing_to_prove(evidence: Evidence, open_console: Open) -> None:
    (evidence.ledger / "years-6" / CHECKPOINTS).unlink()
    _, client = open_console(evidence.ledger, outside=evidence.outside)

    page = client.get(f"/requests/{request_id(1)}/proof").text

    assert "no checkpoint covers the records yet" in page
    assert "does not hold" not in page


def test_completeness_is_shown_with_checkpoints_from_elsewhere(evidence: Evidence, open_console: Open) -> None:
    console, client = open_console(evidence.ledger, outside=evidence.outside)
    console.watch.verified = verify_all(evidence.ledger, evidence.outside)

    assert console.watch.verified.holds
    assert client.get("/evidence").text.count("completeness shown") == 2
    assert "complete, by checkpoints from elsewhere" in client.get("/").text
    assert 'class="state ok"' in client.get("/").text


def test_what_cannot_be_compared_is_no_good_and_said(evidence: Evidence, open_console: Open) -> None:
    """All segments of a log are gone, and the file of checkpoints has a torn piece and another ledger's log."""
    for segment in list_segments(evidence.ledger / "years-6"):
        segment.path.unlink()
    content = evidence.elsewhere.read_bytes()
    other = content.replace(ORIGIN.encode(), b"b1" * 16)
    evidence.elsewhere.write_bytes(content + other + content[:60])
    console, client = open_console(evidence.ledger, outside=evidence.outside)
    console.watch.verified = verify_all(evidence.ledger, evidence.outside)

    page = client.get("/evidence").text

    assert "The ledger does not verify" in page
    assert "broken: empty" in page
    assert "its end was cut off" in page
    assert "what they said is not known" in page
    assert f"<code>guardedvlm/{'b1' * 16}/service</code>" in page


@pytest.mark.parametrize("word", list(Completeness))
def test_every_word_on_completeness_has_a_sentence(evidence: Evidence, open_console: Open, word: Completeness) -> None:
    console, client = open_console(evidence.ledger)
    found = verify_all(evidence.ledger)
    logs = tuple(replace(log, completeness=word) for log in found.logs)
    console.watch.verified = replace(found, verdict=LedgerVerdict(logs))
    assert f"completeness {word.value}" in client.get("/evidence").text


def test_a_tail_that_was_cut_off_is_shown_as_such(evidence: Evidence, open_console: Open) -> None:
    """Every record that is left links to the one before: only the checkpoint from elsewhere tells."""
    path = list_segments(evidence.ledger / "years-6")[-1].path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    (evidence.ledger / "years-6" / CHECKPOINTS).unlink()
    console, client = open_console(evidence.ledger, outside=evidence.outside)
    console.watch.verified = verify_all(evidence.ledger, evidence.outside)

    page = client.get("/evidence").text

    assert "its end was cut off" in page
    assert "The ledger does not verify." in client.get("/").text
    assert verify_all(evidence.ledger).holds


def test_what_the_index_does_not_know_is_not_looked_for(
    evidence: Evidence, open_console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)
    proven: list[str] = []
    monkeypatch.setattr(
        "guardedvlm.console.checks.prove_and_check", lambda _watch, number, _keys: proven.append(number)
    )

    assert client.get(f"/requests/{'f' * 32}/proof").status_code == 404
    assert proven == []


def test_while_the_index_is_built_every_request_is_looked_for(
    evidence: Evidence, open_console: Open, tmp_path: Path
) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)
    (tmp_path / "cache" / FILE).unlink()

    assert f"all {len(LIFE)} records" in client.get(f"/requests/{request_id(1)}/proof").text


def test_one_proof_is_made_at_a_time(evidence: Evidence, open_console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = open_console(evidence.ledger, outside=evidence.outside)
    second: list[tuple[int, str]] = []

    def slow(*given: Any) -> Any:
        monkeypatch.undo()
        for headers in ({}, {"HX-Request": "true"}):
            answer = client.get(f"/requests/{request_id(2)}/proof", headers=headers)
            second.append((answer.status_code, answer.text))
        return prove_and_check(*given)

    monkeypatch.setattr("guardedvlm.console.checks.prove_and_check", slow)
    first = client.get(f"/requests/{request_id(1)}/proof").text

    assert f"all {len(LIFE)} records" in first
    assert [status for status, _ in second] == [503, 200]
    assert all("try again" in page and "does not hold" not in page for _, page in second)
    assert f"all {len(LIFE)} records" in client.get(f"/requests/{request_id(2)}/proof").text
