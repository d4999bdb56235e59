"""The proof: each step holds, is broken where something is wrong, and says so where nothing was given."""

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from evidence_case import DOCUMENT, PAGES, REDACTED, closed, lived, refused

from guardedvlm.audit import dsse
from guardedvlm.audit.keys import PublicKey, PublicKeys, create_keys, rotate_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.prune import remove
from guardedvlm.audit.receipt import TYPE, Receipt, Receipts
from guardedvlm.audit.receipt_proof import CLAIMS, REMEMBERED, Finding, Given, prove
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.rpc.replay import KEEP_SECONDS

HOLDS, BROKEN, NOT_CHECKED = Finding.HOLDS, Finding.BROKEN, Finding.NOT_CHECKED


@pytest.fixture
def keys(tmp_path):
    return create_keys(tmp_path / "keys")


@pytest.fixture
async def over(ledger, life):
    await lived(ledger, life)
    over = await closed(ledger, life)
    await lived(ledger, life)
    return over


@pytest.fixture
def receipt(over, keys):
    return Receipts(keys).issue(over, DOCUMENT, REDACTED)


@pytest.fixture
def given(tmp_path, folder, keys):
    (tmp_path / "image").write_bytes(DOCUMENT)
    (tmp_path / "redacted").write_bytes(REDACTED)
    return Given(keys.public, tmp_path / "image", tmp_path / "redacted", PAGES, folder)


def findings(receipt, given):
    content = receipt if isinstance(receipt, bytes) else receipt.encode()
    return [step.finding for step in prove(content, given).steps]


def test_all_that_is_given_is_checked(receipt, given):
    proof = prove(receipt.encode(), given)
    assert [step.finding for step in proof.steps] == [HOLDS] * 9
    assert [step.number for step in proof.steps] == list(range(1, 10))
    assert proof.holds
    assert proof.receipt == receipt


def test_what_is_not_given_is_not_checked_and_said(receipt, keys):
    proof = prove(receipt.encode(), Given(keys.public))
    assert [step.finding for step in proof.steps] == [HOLDS] * 3 + [NOT_CHECKED] * 6
    assert all("given" in step.told for step in proof.steps[3:])
    assert proof.holds


def test_without_keys_nothing_holds(receipt, given):
    proof = prove(receipt.encode(), replace(given, keys=None))
    assert [step.finding for step in proof.steps] == [HOLDS] + [NOT_CHECKED] * 8
    assert not proof.holds


@pytest.mark.parametrize("content", [b"", b"{}", b"not a receipt", b"\xff" * 70_000])
def test_what_is_no_receipt_is_broken_and_no_more_is_looked_at(content, given):
    proof = prove(content, given)
    assert [step.finding for step in proof.steps] == [BROKEN] + [NOT_CHECKED] * 8
    assert not proof.holds
    assert proof.receipt is None
    assert len(proof.steps) == len(CLAIMS)


def test_a_stripped_signature_is_broken(receipt, given):
    envelope = json.loads(receipt.encode())
    for signatures in ([], [{"keyid": receipt.signature.key_id, "sig": ""}], None):
        changed = envelope | {"signatures": signatures}
        content = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        assert findings(content, given)[0] is BROKEN
    bare = dsse.Envelope(TYPE, receipt.statement.encode(), receipt.signature._replace(value=bytes(64))).encode()
    assert findings(bare, given)[:2] == [HOLDS, BROKEN]


def test_a_key_that_was_not_given_is_broken(receipt, given, tmp_path):
    other = create_keys(tmp_path / "other").public
    assert findings(receipt, replace(given, keys=other)) == [HOLDS, BROKEN] + [NOT_CHECKED] * 7
    assert findings(receipt, replace(given, keys=PublicKeys(())))[1] is BROKEN
    assert prove(receipt.encode(), replace(given, keys=given.keys + other)).holds


def test_a_receipt_that_another_key_signed_under_this_ones_id_is_broken(receipt, given, tmp_path):
    other = create_keys(tmp_path / "other")
    forged = other.sign(receipt.message)._replace(key_id=receipt.signature.key_id)
    assert findings(Receipt(receipt.statement, forged), given)[1] is BROKEN


def test_an_old_receipt_holds_after_rotations(receipt, given, tmp_path):
    for _ in range(3):
        keys = rotate_keys(tmp_path / "keys")
    proof = prove(receipt.encode(), replace(given, keys=keys.public))
    assert proof.holds
    assert "retired" in proof.steps[1].told


@pytest.mark.parametrize(
    ("created", "retired", "finding"),
    [
        ("2020-01-01T00:00:00.000Z", "", HOLDS),
        ("2020-01-01T00:00:00.000Z", "2021-01-01T00:00:00.000Z", BROKEN),
        ("2099-01-01T00:00:00.000Z", "", BROKEN),
        ("2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z", HOLDS),
    ],
)
def test_a_key_signs_while_it_is_in_force(receipt, given, created, retired, finding):
    (key,) = given.keys.keys
    keys = PublicKeys((PublicKey(key.raw, created, retired),))
    found = prove(receipt.encode(), replace(given, keys=keys))
    assert (found.steps[2].finding, found.holds) == (finding, finding is HOLDS)


@pytest.mark.parametrize("content", [b"", DOCUMENT[:-1], DOCUMENT + b"\n", REDACTED])
def test_another_picture_is_broken(receipt, given, content):
    Path(given.image).write_bytes(content)
    assert [step.number for step in prove(receipt.encode(), given).steps if step.finding is BROKEN] == [4]


def test_another_redacted_file_is_broken(receipt, given):
    Path(given.redacted).write_bytes(DOCUMENT)
    proof = prove(receipt.encode(), replace(given, pages=PAGES[::-1]))
    assert [step.number for step in proof.steps if step.finding is BROKEN] == [5]
    assert proof.steps[5].finding is NOT_CHECKED  # a model may have seen another size
    assert findings(receipt, replace(given, pages=None))[5] is NOT_CHECKED


async def test_pixels_of_a_redaction_are_compared(ledger, life, keys, given):
    """No model: the pages were cleared in the size in which they went out."""
    del life[State.GENERATING]
    receipt = Receipts(keys).issue(await closed(ledger, life), DOCUMENT, REDACTED)
    assert prove(receipt.encode(), given).holds
    assert findings(receipt, replace(given, pages=PAGES[::-1]))[5] is BROKEN


def test_a_redacted_file_where_none_went_out_is_broken(over, keys, given):
    receipt = Receipts(keys).issue(over, DOCUMENT, b"")
    assert findings(receipt, given)[4] is BROKEN


async def test_a_refusal_holds_too(ledger, life, keys, given):
    receipt = Receipts(keys).issue(await refused(ledger, life), DOCUMENT, b"")
    proof = prove(receipt.encode(), replace(given, redacted=None))
    assert proof.holds
    assert [step.finding for step in proof.steps[6:]] == [HOLDS] * 3


def test_another_ledger_has_no_such_record(receipt, given, tmp_path):
    Ledger(tmp_path / "other" / "ledger", "b0" * 16).close()
    proof = prove(receipt.encode(), replace(given, ledger=tmp_path / "other"))
    assert [step.finding for step in proof.steps[6:]] == [BROKEN, NOT_CHECKED, NOT_CHECKED]
    (tmp_path / "none").mkdir()
    assert findings(receipt, replace(given, ledger=tmp_path / "none"))[6] is BROKEN
    with pytest.raises(ConfigurationError) as failure:
        prove(receipt.encode(), replace(given, ledger=tmp_path / "absent"))
    assert failure.value.reason is Reason.INPUT_UNREADABLE


def rewrite(folder, change):
    (segment,) = folder.glob("segment-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(change(lines)))


def test_a_record_that_was_changed_is_another_one(receipt, given, folder):
    at = receipt.statement.position.sequence

    def change(lines):
        lines[at] = lines[at].replace(b'"answer_chars":33', b'"answer_chars":34')
        return lines

    rewrite(folder, change)
    assert findings(receipt, given)[6:] == [BROKEN, NOT_CHECKED, NOT_CHECKED]


def test_an_earlier_record_of_the_request_that_was_changed_is_seen(receipt, given, folder):
    at = receipt.statement.position.sequence

    def change(lines):
        lines[at - 4] = lines[at - 4].replace(b'"FACE":1', b'"FACE":2')
        return lines

    rewrite(folder, change)
    assert findings(receipt, given)[6:] == [HOLDS, BROKEN, BROKEN]


def test_a_chain_that_breaks_later_is_whole_up_to_the_record(receipt, given, folder):
    rewrite(folder, lambda lines: [*lines[:-2], lines[-1]])
    assert findings(receipt, given) == [HOLDS] * 9


def test_a_chain_that_breaks_before_is_broken(receipt, given, folder):
    rewrite(folder, lambda lines: [lines[0].replace(b'"torn_bytes":0', b'"torn_bytes":1'), *lines[1:]])
    assert findings(receipt, given)[6:] == [HOLDS, HOLDS, BROKEN]


def test_a_ledger_without_the_end_lacks_the_record(receipt, given, folder):
    at = receipt.statement.position.sequence
    rewrite(folder, lambda lines: lines[:at])
    proof = prove(receipt.encode(), given)
    assert proof.steps[6].finding is BROKEN
    assert str(at) in proof.steps[6].told


async def test_a_statement_that_the_ledger_contradicts_is_broken(over, keys, given):
    """Signed by the right key, and not what was recorded: who held the key is found to have said two things."""
    recorded = over.recorded.model_copy(update={"regions": {}})
    receipt = Receipts(keys).issue(replace(over, recorded=recorded), DOCUMENT, REDACTED)
    proof = prove(receipt.encode(), given)
    assert [step.number for step in proof.steps if step.finding is BROKEN] == [8]
    assert "regions" in proof.steps[7].told


def test_a_line_that_is_no_record_any_more_is_missing(receipt, given, folder):
    at = receipt.statement.position.sequence

    def change(lines):
        lines[at - 4] = lines[at - 4].replace(b'"event"', b'"Event"')
        return lines

    rewrite(folder, change)
    assert findings(receipt, given)[6:] == [HOLDS, BROKEN, BROKEN]


def test_records_without_their_beginning_do_not_make_a_request(receipt, given, folder):
    at = receipt.statement.position.sequence
    rewrite(folder, lambda lines: [line for number, line in enumerate(lines) if not at - 7 <= number < at])
    assert findings(receipt, given)[6:] == [HOLDS, BROKEN, BROKEN]


def test_a_part_of_the_ledger_that_is_gone_and_was_not_pruned_is_broken(receipt, given, folder):
    (segment,) = folder.glob("segment-*.jsonl")
    segment.rename(folder / "segment-0000000000000100.jsonl")
    rewrite(folder, lambda lines: lines[:1])
    proof = prove(receipt.encode(), given)
    assert [step.finding for step in proof.steps[6:]] == [BROKEN, NOT_CHECKED, NOT_CHECKED]


def stamp(at):
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moved(monkeypatch, at):
    """The clock of who writes records and receipts."""
    monkeypatch.setattr("guardedvlm.audit.writer.now", lambda: stamp(at))
    monkeypatch.setattr("guardedvlm.audit.receipt.now", lambda: stamp(at))


async def pruned_site(tmp_path, life, keys, monkeypatch, days_ago):
    """A ledger whose first records were pruned; the receipt of a request among them."""
    ledger, now = tmp_path / "site", datetime.now(UTC)
    with monkeypatch.context() as patched:
        moved(patched, now - timedelta(days=days_ago))
        log = Ledger(ledger / "years-1", "a0" * 16, segment_bytes=2_000)
        receipt = Receipts(keys).issue(await closed(log, life), DOCUMENT, REDACTED)
        await lived(log, life)
        log.close()
        moved(patched, now - timedelta(days=days_ago) + timedelta(days=400))
        assert await asyncio.to_thread(remove, ledger, now - timedelta(days=days_ago - 400), "a0" * 16)
    return ledger, receipt


async def test_a_record_that_was_pruned_in_its_time_is_not_checked(tmp_path, life, keys, monkeypatch):
    ledger, receipt = await pruned_site(tmp_path, life, keys, monkeypatch, 800)
    proof = prove(receipt.encode(), Given(keys.public, ledger=ledger))
    assert [step.finding for step in proof.steps[6:]] == [NOT_CHECKED] * 3
    assert "pruned" in proof.steps[6].told
    path = ledger / "years-1" / "pruned.json"
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps(told | {"until": "2020-01-01T00:00:00.000Z"}))
    assert "said to end at" in prove(receipt.encode(), Given(keys.public, ledger=ledger)).steps[6].told
    path.write_text(json.dumps(told))
    shutil.rmtree(ledger / "pruning")
    proof = prove(receipt.encode(), Given(keys.public, ledger=ledger))
    assert [step.finding for step in proof.steps[6:]] == [BROKEN, NOT_CHECKED, NOT_CHECKED]


async def test_a_record_that_is_to_stay_and_was_pruned_is_broken(tmp_path, life, keys, monkeypatch):
    """A removal with a clock that was ahead: its record says what it should."""
    ledger, receipt = await pruned_site(tmp_path, life, keys, monkeypatch, 100)
    proof = prove(receipt.encode(), Given(keys.public, ledger=ledger))
    assert [step.finding for step in proof.steps[6:]] == [BROKEN, NOT_CHECKED, NOT_CHECKED]
    assert "is to stay until" in proof.steps[6].told


def test_a_remembered_response_has_a_receipt_that_holds_after_a_rotation(over, keys, given, tmp_path, monkeypatch):
    ended = datetime.fromisoformat(over.recorded.ended)
    rotated = rotate_keys(tmp_path / "keys")
    (old,) = rotated.retired
    turned = stamp(ended + timedelta(minutes=9))
    public = PublicKeys((PublicKey(rotated.active.raw, turned), PublicKey(old.raw, old.created, turned)))
    given = replace(given, keys=public)
    moved(monkeypatch, ended + timedelta(seconds=KEEP_SECONDS))
    receipt = Receipts(rotated).issue(over, DOCUMENT, REDACTED)
    assert prove(receipt.encode(), given).holds
    moved(monkeypatch, ended + timedelta(minutes=3))  # more than the clocks' slack before the key was made
    assert findings(Receipts(rotated).issue(over, DOCUMENT, REDACTED), given)[2] is BROKEN
    moved(monkeypatch, ended + timedelta(hours=1))  # nothing is remembered that long
    assert findings(Receipts(rotated).issue(over, DOCUMENT, REDACTED), given)[2] is BROKEN


def test_what_is_remembered_may_be_proven():
    assert timedelta(seconds=KEEP_SECONDS) <= REMEMBERED


def test_a_file_that_cannot_be_read_is_said(receipt, given, tmp_path):
    with pytest.raises(ConfigurationError) as failure:
        prove(receipt.encode(), replace(given, image=tmp_path))
    assert failure.value.reason is Reason.INPUT_UNREADABLE
