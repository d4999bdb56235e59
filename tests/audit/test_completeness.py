"""A ledger against its checkpoints: a tail that was cut, a ledger that was replaced, a log that is gone."""

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointFile,
    encode_entry,
    read_checkpoints,
    sign_checkpoint,
)
from guardedvlm.audit.checkpointer import Cadence, Checkpointer
from guardedvlm.audit.completeness import Completeness, LedgerVerdict, verify_logs
from guardedvlm.audit.facts import Method
from guardedvlm.audit.keys import PublicKeys, create_keys, rotate_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.merkle import CompactRange, leaf_hash, subtree_levels
from guardedvlm.audit.proof import InclusionProof, ProofFailed, check_proof, prove
from guardedvlm.audit.prune import plan_removals, remove
from guardedvlm.audit.record import LedgerEvent, make_entry, record_hash
from guardedvlm.audit.remains import PRUNED, Pruned, PrunedSegment, log_files, write_frontier, write_pruned
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.retention import PRUNING, days_kept, log_name
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import FileSink
from guardedvlm.audit.verify import read_ledger, read_records, verify_ledger
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

ORIGIN = "a0" * 16
SIX, SEVEN = 2_192, 2_557
YEARS_6 = "years-6"


class Site:
    """A ledger with its keys and a second place for checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.keys, self.elsewhere = folder / "ledger", folder / "keys", folder / "elsewhere"
        create_keys(self.keys)

    def checkpointer(self) -> Checkpointer:
        ring = create_keys(self.keys)
        return Checkpointer(ring, ring.public.find, FileSink(self.elsewhere), Cadence(10, 3600.0))

    def run(self, requests: int, days: int = SIX, origin: str = ORIGIN) -> list[str]:
        """One process's life; returns the requests."""
        return asyncio.run(self._run(requests, days, origin))

    async def _run(self, requests: int, days: int, origin: str) -> list[str]:
        checkpointer = self.checkpointer()
        logs = Logs(self.ledger, origin, checkpointer=checkpointer, segment_bytes=4_000, keys=lambda: self.public)
        ledger = await logs.log_for(days)
        done = []
        for _ in range(requests):
            log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
            await log.advance(State.REFUSED, reason=Reason.IMAGE_CORRUPT)
            done.append(log.request)
        await asyncio.to_thread(logs.close)
        return done

    @property
    def public(self) -> PublicKeys:
        return create_keys(self.keys).public

    def verify(self, *, given: CheckpointFile | None = None) -> LedgerVerdict:
        return verify_logs(self.ledger, given or read_checkpoints(self.elsewhere), self.public)

    def said(self, log: str = YEARS_6, **options: CheckpointFile) -> Completeness:
        found = self.verify(**options)
        return next(one for one in found.logs if one.name.endswith(log)).completeness


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.run(20)
    made.run(5, SEVEN)
    made.run(10)
    return made


def test_days_are_years_and_never_shorter() -> None:
    assert [log_name(days) for days in (180, 366, 367, SIX, SEVEN, 36_500)] == [
        "years-1", "years-1", "years-2", "years-6", "years-7", "years-100",
    ]  # fmt: skip
    for days in range(180, 36_501):
        kept = days_kept(log_name(days))
        assert kept is not None
        assert days <= kept < days + 366
    assert [days_kept(name) for name in ("service", "pruning", "years-0", "years-6x", "ledger")] == [None] * 5


def test_every_log_is_whole(site: Site) -> None:
    found = site.verify()
    assert found.is_good
    assert [(log.name, log.completeness) for log in found.logs] == [
        (name, Completeness.SHOWN) for name in ("service", "years-6", "years-7")
    ]
    for log in found.logs:
        assert log.report is not None
        assert log.covered == log.report.records
        assert not log.unchecked
    assert len(list(read_ledger(site.ledger))) == sum(log.covered for log in found.logs)
    assert not site.public.find(site.public.keys[0].id).retired


def test_both_ways_through_a_log_say_the_same(site: Site) -> None:
    assert verify_logs(site.ledger, fast=False) == verify_logs(site.ledger, fast=True)
    newest = list_segments(site.ledger / YEARS_6)[1].path
    newest.write_bytes(newest.read_bytes().replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS"))
    verdicts = [verify_logs(site.ledger, fast=fast) for fast in (False, True)]
    assert verdicts[0] == verdicts[1]
    assert not verdicts[0].chain_ok


def test_without_checkpoints_from_elsewhere_completeness_is_not_shown(site: Site) -> None:
    found = verify_logs(site.ledger)
    assert {log.completeness for log in found.logs} == {Completeness.UNSHOWN}
    assert found.is_good
    assert site.said(given=CheckpointFile((), 0)) is Completeness.UNCOVERED


def _cut(site: Site, records: int) -> None:
    """Remove the last records, and what the log itself says of them."""
    path = list_segments(site.ledger / YEARS_6)[-1].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-records]))


def test_a_cut_tail_is_seen(site: Site) -> None:
    _cut(site, 1)
    assert site.said() is Completeness.CUT
    (site.ledger / YEARS_6 / CHECKPOINTS).unlink()
    found = site.verify()
    assert (found.chain_ok, found.complete, site.said()) == (True, False, Completeness.CUT)
    assert verify_logs(site.ledger).is_good  # the chain alone does not show it


def test_a_log_whose_end_was_cut_off_is_not_written_on(site: Site) -> None:
    _cut(site, 1)
    with pytest.raises(ConfigurationError) as caught:
        Logs(site.ledger, ORIGIN).prepare(SIX)
    assert (caught.value.reason, caught.value.place) == (Reason.LEDGER_BROKEN, CHECKPOINTS)


def test_a_ledger_that_was_written_anew_is_seen(site: Site) -> None:
    shutil.rmtree(site.ledger)
    keep = site.elsewhere.read_bytes()
    site.run(40)
    site.run(40, SEVEN)
    site.elsewhere.write_bytes(keep)
    found = site.verify()
    assert found.chain_ok
    assert {log.completeness for log in found.logs} == {Completeness.REPLACED}


def test_a_ledger_of_another_replica_in_its_place_is_seen(site: Site) -> None:
    shutil.rmtree(site.ledger)
    keep = site.elsewhere.read_bytes()
    site.run(40, origin="b1" * 16)
    site.elsewhere.write_bytes(keep)
    found = site.verify()
    assert [log.completeness for log in found.logs] == [Completeness.UNCOVERED] * 2
    assert found.others == tuple(f"guardedvlm/{ORIGIN}/{log}" for log in ("service", "years-6", "years-7"))
    assert not found.is_good


def test_two_ledgers_may_share_the_second_place(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path)
    other.ledger = tmp_path / "other"
    other.run(5, origin="b1" * 16)
    for one, theirs in ((site, "b1" * 16), (other, ORIGIN)):
        found = one.verify()
        assert found.is_good
        assert found.others
        assert {origin.split("/")[1] for origin in found.others} == {theirs}
    shutil.rmtree(site.ledger / "years-7")
    assert site.said("years-7") is Completeness.ABSENT


def test_a_log_that_another_replica_began_is_missed(site: Site) -> None:
    """The host got another name: what it began belongs to the ledger all the same."""
    site.run(3, 400, origin="b1" * 16)
    assert site.verify().is_good
    shutil.rmtree(site.ledger / "years-2")
    assert site.said("years-2") is Completeness.ABSENT


@pytest.mark.parametrize("left", [CHECKPOINTS, "frontier.json"])
@pytest.mark.parametrize("is_given", [True, False])
def test_a_log_whose_segments_are_gone_is_seen(site: Site, left: str, is_given: bool) -> None:
    folder = site.ledger / YEARS_6
    for path in folder.iterdir():
        if path.name != left:
            path.unlink()
    found = site.verify() if is_given else verify_logs(site.ledger)
    log = next(one for one in found.logs if one.name == YEARS_6)
    assert log.report is not None
    assert log.report.flaw is Flaw.EMPTY
    assert log.completeness is Completeness.CUT or left != CHECKPOINTS
    assert not found.is_good


def test_a_damaged_piece_among_the_checkpoints_is_not_good(site: Site) -> None:
    site.elsewhere.write_bytes(site.elsewhere.read_bytes()[:-20])
    found = site.verify()
    assert found.damaged
    assert not found.complete
    assert not found.is_good


def test_a_checkpoint_of_no_record_shows_nothing(site: Site) -> None:
    ring = create_keys(site.keys)
    origin = f"guardedvlm/{ORIGIN}/{YEARS_6}"
    empty = sign_checkpoint(Checkpoint(origin, 0, hashlib.sha256().digest()), ring, ring.public.find)
    assert site.said(given=CheckpointFile((empty,), 0)) is Completeness.UNCHECKED


def test_a_log_that_is_gone_is_seen(site: Site) -> None:
    shutil.rmtree(site.ledger / "years-7")
    assert site.said("years-7") is Completeness.ABSENT
    assert not site.verify().complete


def test_a_rewritten_record_with_a_new_chain_is_seen(site: Site) -> None:
    """Somebody with the folder and without the key writes one record anew, and every hash after it."""
    folder = site.ledger / YEARS_6
    (folder / CHECKPOINTS).unlink()
    previous = ""
    for segment in list_segments(folder):
        lines = []
        for line in segment.path.read_bytes().splitlines():
            values = json.loads(line.replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS"))
            values["previous"] = previous or values["previous"]
            lines.append(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
            previous = record_hash(lines[-1])
        segment.path.write_bytes(b"".join(line + b"\n" for line in lines))
    found = site.verify()
    assert found.chain_ok
    assert site.said() is Completeness.REPLACED


def test_a_checkpoint_by_a_stranger_is_not_believed(site: Site, tmp_path: Path) -> None:
    strangers = create_keys(tmp_path / "strangers").public
    given = read_checkpoints(site.elsewhere)
    assert {log.completeness for log in verify_logs(site.ledger, given, strangers).logs} == {Completeness.UNSIGNED}
    forged = replace(given.found[-1].checkpoint, size=3)
    note = replace(given.found[-1].note, text=forged.text)
    bad = replace(given.found[-1], checkpoint=forged, note=note)
    assert site.said(given=CheckpointFile((*given.found, bad), 0)) is Completeness.UNSIGNED


def test_old_checkpoints_verify_after_a_rotation(site: Site) -> None:
    rotate_keys(site.keys)
    site.run(3)
    found = site.verify()
    assert found.is_good
    assert len({signed.verify(site.public.keys).id for signed in read_checkpoints(site.elsewhere).found}) == 2


def test_an_old_ledger_in_one_folder_is_read(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger", ORIGIN).close()
    Ledger(tmp_path / "ledger", ORIGIN).close()
    Logs(tmp_path / "ledger", ORIGIN).close()
    found = verify_logs(tmp_path / "ledger")
    assert [(log.name, log.report.records) for log in found.logs if log.report] == [("ledger", 2), ("service", 1)]
    assert found.is_good


def test_no_ledger_is_not_a_good_one(tmp_path: Path) -> None:
    assert not verify_logs(tmp_path).is_good


# The tree's state at a start


@pytest.mark.parametrize("damage", ["absent", "torn", "wrong", "old"])
def test_a_frontier_that_does_not_fit_is_computed_anew(site: Site, damage: str) -> None:
    path = site.ledger / YEARS_6 / "frontier.json"
    good = path.read_bytes()
    values = json.loads(good)
    if damage == "absent":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(good[:-20])
    elif damage == "wrong":
        path.write_text(json.dumps(values | {"hashes": [value[::-1] for value in values["hashes"]]}))
    else:
        path.write_text(json.dumps(values | {"size": values["size"] - 1}))
    site.run(12)
    assert site.verify().is_good
    assert path.exists()


def test_a_start_reads_no_older_segments(site: Site) -> None:
    folder = site.ledger / YEARS_6
    segments = list_segments(folder)
    assert len(segments) > 4
    for segment in segments[1:-2]:  # the first one's first line says who began the log
        segment.path.unlink()
        segment.path.mkdir()  # reading it fails, whoever asks
    logs = Logs(site.ledger, ORIGIN, keys=lambda: site.public)
    logs.prepare(SIX)
    logs.close()


@pytest.mark.parametrize("beside", ["none", "older", "stranger", "other log"])
def test_a_frontier_that_no_checkpoint_confirms_is_computed_anew(site: Site, tmp_path: Path, beside: str) -> None:
    """Somebody writes a tree with other records, and a checkpoint of it, beside the segments."""
    folder, own = site.ledger / YEARS_6, site.ledger / YEARS_6 / CHECKPOINTS
    kept = json.loads((folder / "frontier.json").read_bytes())
    forged = CompactRange()
    forged.append_all([leaf_hash(b"%d" % number) for number in range(kept["size"])])
    write_frontier(folder, forged, kept["previous"])
    keep = [one for one in read_checkpoints(own).found if one.checkpoint.size < kept["size"]]
    assert keep
    own.unlink()
    if beside != "none":
        own.write_bytes(encode_entry(keep[-1]))
    if beside in ("stranger", "other log"):
        ring = create_keys(tmp_path / "strangers" if beside == "stranger" else site.keys)
        origin = f"guardedvlm/{ORIGIN}/{YEARS_6 if beside == 'stranger' else 'years-7'}"
        told = sign_checkpoint(Checkpoint(origin, forged.end, forged.root()), ring, ring.public.find)
        own.write_bytes(encode_entry(told))
        with pytest.raises(ConfigurationError) as caught:  # the segments are not what that checkpoint tells
            ChainWriter(folder, ORIGIN, keys=lambda: site.public)
        assert caught.value.place == CHECKPOINTS
        own.unlink()
    site.run(3)
    assert site.verify().is_good


# Proofs


def test_a_request_is_proven_without_the_ledger(site: Site) -> None:
    (request,) = site.run(1)
    proof = prove(site.ledger, request)
    shutil.rmtree(site.ledger)
    proven = check_proof(InclusionProof.decode(proof.encode()), site.public)
    assert [record.event for record in proven.records] == [State.RECEIVED, State.REFUSED]
    assert {record.request for record in proven.records} == {request}
    assert proven.checkpoint in {signed.checkpoint for signed in read_checkpoints(site.elsewhere).found}


def test_a_proof_of_something_else_does_not_hold(site: Site, tmp_path: Path) -> None:
    first, second = site.run(2)
    proof, other = prove(site.ledger, first), prove(site.ledger, second)
    one, two = proof.records
    changed = [
        replaced(proof, records=(one, other.records[1])),
        replaced(proof, records=(two, one)),
        replaced(proof, records=(one, one)),
        replaced(proof, records=(replaced(one, line=two.line), two)),
        replaced(proof, records=(replaced(one, index=one.index + 1), two)),
        replaced(proof, records=(replaced(one, path=one.path[:-1]), two)),
        replaced(proof, records=(replaced(one, line=one.line.replace("RedactImage", "GetPolicy")), two)),
        replaced(proof, checkpoint=proof.checkpoint.replace("years-6", "years-7")),
        replaced(proof, checkpoint=read_checkpoints(site.elsewhere).found[3].note.encode().decode()),
    ]
    for bad in changed:
        with pytest.raises(ProofFailed):
            check_proof(bad, site.public)
    with pytest.raises(ProofFailed):
        check_proof(proof, create_keys(tmp_path / "strangers").public)
    for content in (b"", b"{}", proof.encode().replace(b'"version": 1', b'"version": 2')):
        with pytest.raises(ProofFailed):
            InclusionProof.decode(content)


def replaced(model: object, **values: object) -> object:
    return model.model_copy(update=values)  # type: ignore[attr-defined]


def test_there_is_no_proof_of_what_is_not_covered(site: Site) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prove(site.ledger, "0" * 32)
    assert caught.value.reason is Reason.INPUT_UNREADABLE
    (request,) = site.run(1)
    (site.ledger / YEARS_6 / CHECKPOINTS).unlink()
    with pytest.raises(ConfigurationError) as caught:
        prove(site.ledger, request)
    assert caught.value.reason is Reason.EVIDENCE_UNSIGNED


def test_there_is_no_proof_from_a_log_that_is_another_one(site: Site) -> None:
    (request,) = site.run(1)
    path = list_segments(site.ledger / YEARS_6)[0].path
    path.write_bytes(path.read_bytes().replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS"))
    with pytest.raises(ConfigurationError) as caught:
        prove(site.ledger, request)
    assert caught.value.reason is Reason.LEDGER_BROKEN


# Pruning

LATER = datetime.now(UTC) + timedelta(days=6 * 366 + 1)


def _remove(site: Site, now: datetime = LATER) -> int:
    """A removal at that time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("guardedvlm.audit.writer.now", lambda: _stamp(now))
        return sum(one.records for one in remove(site.ledger, now, ORIGIN, site.checkpointer(), site.public))


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_nothing_goes_before_its_time(site: Site) -> None:
    for now in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=6 * 366 - 1)):
        assert plan_removals(site.ledger, now) == []
        assert _remove(site, now) == 0
    assert not (site.ledger / PRUNING).exists()


def test_what_is_left_verifies_and_so_does_the_whole_tree(site: Site) -> None:
    (request,) = site.run(1)
    before = verify_ledger(site.ledger / YEARS_6)
    plan = plan_removals(site.ledger, LATER)
    assert [one.folder.name for one in plan] == [YEARS_6]  # of seven years nothing is old enough
    assert _remove(site) == plan[0].records > 10
    assert len(list_segments(site.ledger / YEARS_6)) == 1
    found = site.verify()
    assert found.is_good, found
    log = next(one for one in found.logs if one.name == YEARS_6)
    assert log.report is not None
    assert (log.report.records, log.report.root, log.report.head) == (before.records, before.root, before.head)
    assert (log.report.pruned, log.covered) == (plan[0].records, before.records)
    assert check_proof(prove(site.ledger, request), site.public).records
    assert next(read_records(site.ledger / YEARS_6)).sequence == log.report.pruned
    assert verify_logs(site.ledger / YEARS_6).is_good  # alone, too
    told = list(read_records(site.ledger / PRUNING))[-1].facts["pruned"]
    assert (told["log"], told["records"]) == (YEARS_6, log.report.pruned)


def test_a_pruned_log_is_written_on_and_pruned_again(site: Site) -> None:
    first = _remove(site)
    site.run(25)
    assert site.verify().is_good
    second = _remove(site, LATER)
    assert second > 10
    files = log_files(site.ledger / YEARS_6)
    assert files.pruned is not None
    assert files.pruned.end == first + second
    (site.ledger / YEARS_6 / "frontier.json").unlink()
    site.run(2)
    assert site.verify().is_good


def test_a_checkpoint_inside_what_is_gone_is_counted_and_one_at_its_end_checked(site: Site) -> None:
    _remove(site)
    log = next(one for one in site.verify().logs if one.name == YEARS_6)
    assert log.unchecked > 0


def test_records_that_are_gone_without_a_record_of_it_are_seen(site: Site) -> None:
    _remove(site)
    shutil.rmtree(site.ledger / PRUNING)
    log = next(one for one in verify_logs(site.ledger).logs if one.name == YEARS_6)
    assert log.report is not None
    assert log.report.flaw is Flaw.UNTOLD


def test_a_pruning_that_the_checkpoints_do_not_tell_of_is_not_believed(site: Site) -> None:
    """Who can write into the folder removes a log's beginning, or all of it, and writes down that it was pruned."""
    given = read_checkpoints(site.elsewhere)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("guardedvlm.audit.writer.now", lambda: _stamp(LATER))
        assert remove(site.ledger, LATER, ORIGIN, None)
    found = site.verify(given=given)
    log = next(one for one in found.logs if one.name == YEARS_6)
    assert log.report is not None
    assert log.report.flaw is Flaw.UNTOLD
    assert not found.is_good


def test_no_removal_signs_for_an_earlier_one_that_nobody_told(site: Site) -> None:
    """Its checkpoint of `pruning` would cover the record that somebody without the key wrote there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("guardedvlm.audit.writer.now", lambda: _stamp(LATER))
        assert remove(site.ledger, LATER, ORIGIN, None)
    site.run(25)
    before = site.elsewhere.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        _remove(site)
    assert (caught.value.reason, caught.value.place) == (Reason.LEDGER_BROKEN, f"{YEARS_6}/{PRUNED}")
    assert site.elsewhere.read_bytes() == before
    assert not site.verify().is_good


def test_a_log_in_whose_place_is_an_invented_one_is_seen(site: Site) -> None:
    size = max(one.checkpoint.size for one in read_checkpoints(site.elsewhere).found) + 5
    folder = site.ledger / YEARS_6
    shutil.rmtree(folder)
    folder.mkdir()
    gone = PrunedSegment(first=0, end=size, hashes=tuple("ee" * 32 for _ in subtree_levels(0, size)))
    long_ago = "2020-01-01T00:00:00.000Z"
    pruned = Pruned(origin=ORIGIN, end=size, previous="cd" * 32, until=long_ago, running={}, segments=(gone,))
    write_pruned(folder, pruned)
    Ledger(folder, ORIGIN).close()
    root = pruned.prefix().root().hex()
    told = {"log": YEARS_6, "origin": ORIGIN, "records": size, "root": root, "until": long_ago}
    writer = ChainWriter(site.ledger / PRUNING, ORIGIN)
    writer.commit([make_entry(LedgerEvent.PRUNED, None, {"pruned": told})])
    writer.close()
    log = next(one for one in site.verify().logs if one.name == YEARS_6)
    assert log.report is not None
    assert log.report.flaw is Flaw.UNTOLD
    assert log.completeness is Completeness.UNCHECKED
    assert verify_logs(site.ledger).is_good  # the folder alone does not show it


def test_records_that_went_before_their_time_are_seen(site: Site) -> None:
    """A removal whose clock is ahead, recorded with the time that it is."""
    remove(site.ledger, LATER, ORIGIN, site.checkpointer())
    for found in (site.verify(), verify_logs(site.ledger)):
        log = next(one for one in found.logs if one.name == YEARS_6)
        assert log.report is not None
        assert log.report.flaw is Flaw.UNTOLD
        assert not found.is_good


def test_the_time_of_what_is_gone_is_what_the_pruning_tells(site: Site) -> None:
    _remove(site)
    path = site.ledger / YEARS_6 / PRUNED
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"until": "2020-01-01T00:00:00.000Z"}))
    assert not verify_logs(site.ledger).is_good


def test_nothing_goes_before_a_checkpoint_tells_of_it(site: Site) -> None:
    site.elsewhere.rename(site.elsewhere.with_suffix(".away"))
    site.elsewhere.mkdir()  # nothing can be appended to it
    before = list_segments(site.ledger / YEARS_6)
    with pytest.raises(ConfigurationError) as caught:
        _remove(site)
    assert (caught.value.reason, caught.value.place) == (Reason.LEDGER_UNWRITABLE, PRUNING)
    assert list_segments(site.ledger / YEARS_6) == before
    site.elsewhere.rmdir()
    site.elsewhere.with_suffix(".away").rename(site.elsewhere)
    assert _remove(site) > 10
    assert site.verify().is_good


def test_what_is_left_cannot_be_changed(site: Site) -> None:
    _remove(site)
    path = site.ledger / YEARS_6 / PRUNED
    good = json.loads(path.read_bytes())
    flipped = json.loads(path.read_bytes())
    flipped["segments"][0]["hashes"][0] = "0" * 64
    path.write_text(json.dumps(flipped))
    assert not site.verify().is_good
    for broken in ({}, good | {"end": good["end"] + 1}, good | {"segments": []}):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigurationError) as caught:
            site.verify()
        assert caught.value.reason is Reason.LEDGER_BROKEN
    path.unlink()
    assert not site.verify().chain_ok


def test_a_segment_that_does_not_verify_stays(site: Site) -> None:
    path = list_segments(site.ledger / YEARS_6)[1].path
    path.write_bytes(path.read_bytes().replace(b"IMAGE_CORRUPT", b"POLICY_FORBIDS"))
    before = list_segments(site.ledger / YEARS_6)
    with pytest.raises(ConfigurationError) as caught:
        _remove(site)
    assert caught.value.reason is Reason.LEDGER_BROKEN
    assert list_segments(site.ledger / YEARS_6) == before


@pytest.mark.parametrize("dies_at", ["write_pruned", "list_segments"])  # before what is left is written, and after
def test_a_removal_that_dies_leaves_what_verifies(site: Site, dies_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"guardedvlm.audit.prune.{dies_at}", die)
        with pytest.raises(KeyboardInterrupt):
            _remove(site)
    assert site.verify().is_good
    site.run(3)
    assert site.verify().is_good
    _remove(site)
    assert site.verify().is_good
    assert len(list_segments(site.ledger / YEARS_6)) == len(log_files(site.ledger / YEARS_6).segments)


def test_a_removal_while_the_service_writes(site: Site) -> None:
    async def main() -> None:
        logs = Logs(site.ledger, ORIGIN, checkpointer=site.checkpointer(), segment_bytes=4_000)
        ledger = await logs.log_for(SIX)
        removing = asyncio.create_task(asyncio.to_thread(_remove, site))
        for _ in range(30):
            log = await RequestLog.begin(ledger, method=Method.REDACT_IMAGE)
            await log.advance(State.REFUSED, reason=Reason.IMAGE_CORRUPT)
        assert await removing > 10
        with pytest.raises(ConfigurationError):  # one writer a log
            Logs(site.ledger, ORIGIN)
        await asyncio.to_thread(logs.close)

    asyncio.run(main())
    assert site.verify().is_good


# The logs of one replica


async def test_a_log_that_cannot_be_opened_refuses_and_ends_readiness(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "ledger", ORIGIN)
    (tmp_path / "ledger" / YEARS_6).write_text("in the way")
    with pytest.raises(Unavailable):
        await logs.log_for(SIX)
    assert not logs.healthy
    assert (await logs.log_for(SEVEN)).healthy
    assert not await logs.probe()
    (tmp_path / "ledger" / YEARS_6).unlink()
    assert await logs.probe()
    assert (await logs.log_for(SIX)).folder.name == YEARS_6
    assert (logs.appended, logs.failures) == (3, 0)
    logs.close()
    logs.close()
    assert not logs.healthy
    with pytest.raises(Unavailable):
        await logs.log_for(400)
