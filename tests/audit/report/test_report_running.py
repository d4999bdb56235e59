"""What the ledger says of itself reaches the report: restarts, failures, policies that were not taken, gaps."""

import asyncio
import shutil
from datetime import UTC, date, datetime, timedelta

import pytest

from guardedvlm.audit.checkpoint import read_checkpoints
from guardedvlm.audit.checkpointer import Cadence, Checkpointer
from guardedvlm.audit.facts import Method, Verdict
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.prune import remove
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.audit.report.collect import collect
from guardedvlm.audit.report.count import Period
from guardedvlm.audit.report.document import Links, Table
from guardedvlm.audit.report.html import report_html
from guardedvlm.audit.report.write import write_report
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.reviewed import Basis, Destruction
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import FileSink
from guardedvlm.audit.verify import read_records
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.change import Why
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason

TODAY = datetime.now(UTC).date()
PERIOD = Period(TODAY - timedelta(days=1), TODAY + timedelta(days=1))
ORIGIN = "a0" * 16
TENANT, OTHER = "a1" * 16, "b2" * 16
OLD, NEW = "01" * 32, "02" * 32


def written(folder, *events):
    writer = ChainWriter(folder, "e5" * 16)
    writer.commit([make_entry(event, None, facts) for event, facts in events])
    writer.close()


def in_force(*policies, kept=(), problems=0):
    return LedgerEvent.POLICIES, {"policies": policies, "policies_kept": kept, "policy_problems": problems}


def told(evidence, tenant=""):
    return report_html(write_report(evidence, tenant, datetime.now(UTC)))


def row_of(page, name):
    """The cells of the row that begins with `name`."""
    start = page.index(f"<td>{name}</td>")
    return page[start : page.index("</tr>", start)]


@pytest.fixture
def ledger(tmp_path):
    policy = {"name": "clinic", "digest": OLD, "version": "2026-01-01", "signer": "9f" * 8, "why": Why.FIRST}
    judged = {"verdict": Verdict.ALLOW, "complete": True, "hidden": {}}
    used = {"name": "clinic", "digest": OLD}
    shadow = {"of": "c3" * 16, "policy": used, "candidate": used, "said": judged, "would_say": judged}
    shadow |= {"milliseconds": 1, "failure": Reason.STAGE_TIMEOUT}
    written(
        tmp_path / "service",
        in_force(policy, {"name": "bank", "digest": NEW}),
        in_force({**policy, "digest": NEW, "why": Why.INCIDENT}, kept=("clinic",), problems=1),
        (LedgerEvent.RESUMED, {}),
        (LedgerEvent.SHADOWED, {"shadow": shadow}),
        (LedgerEvent.SAMPLED, {"sampled": {"tenant": TENANT, "basis": Basis.RANDOM, "failure": Reason.QUOTA_EXCEEDED}}),
        (LedgerEvent.SAMPLED, {"sampled": {"tenant": OTHER, "basis": Basis.RANDOM, "sample": "d4" * 16, "expires": 9}}),
        (LedgerEvent.DESTROYED, {"destroyed": {"sample": "d4" * 16, "cause": Destruction.EXPIRED}}),
        (LedgerEvent.DESTROYED, {"destroyed": {"sample": "d4" * 16, "cause": Destruction.EXPIRED}}),
    )
    written(tmp_path / "review", (LedgerEvent.VIEWED, {"viewed": {"sample": "d4" * 16, "reviewer": "e5" * 16}}))
    return tmp_path


def test_policy_changes_are_told_one_by_one(ledger):
    found = collect(ledger, PERIOD)
    assert [(one.name, one.old, one.new, one.is_kept) for one in found.changes] == [
        ("bank", "", NEW, False),
        ("clinic", "", OLD, False),
        ("bank", NEW, "", False),
        ("clinic", OLD, NEW, False),
        ("clinic", NEW, NEW, True),
    ]
    page = told(found)
    for words in ("first word", "removed", "replaced", "new file not taken", "9f" * 8, "incident", "not recorded"):
        assert words in page
    assert "Who made 1 of 5 policy changes: those policies were not signed." in page


def test_failures_of_the_period_are_counted(ledger):
    page = told(collect(ledger, PERIOD))
    for name, count in (
        ("starts of a process that writes the ledger", "1"),  # and not the reviewers'
        ("times that writing the ledger failed and came back", "1"),
        ("policy files that were not taken", "1"),
        ("trials of candidate policies; that failed", "1; 1"),
        ("could not be kept: QUOTA_EXCEEDED", "fewer than 5"),
        ("kept: random", "fewer than 5"),
        ("views", "fewer than 5"),
        ("destroyed: expired", "fewer than 5"),
    ):
        assert f">{count}</td>" in row_of(page, name), name
    review = collect(ledger, PERIOD).review
    assert (review.kept[Basis.RANDOM], review.views) == (1, 1)
    assert review.destroyed == {Destruction.EXPIRED: 1}  # once, though two wrote it down
    before = collect(ledger, Period(date(2020, 1, 1), date(2020, 1, 1)))
    assert (before.running.starts, before.changes, before.review.views) == ([], (), 0)


def test_a_tenant_gets_its_own_samples_and_no_policy_that_it_did_not_use(ledger):
    own, other = (collect(ledger, PERIOD, tenant) for tenant in (TENANT, OTHER))
    assert (own.review.kept, own.review.views, own.review.destroyed) == ({}, 0, {})
    assert own.review.failures == {Reason.QUOTA_EXCEEDED: 1}
    assert (other.review.kept, other.review.views) == ({Basis.RANDOM: 1}, 1)
    assert other.review.destroyed == {Destruction.EXPIRED: 1}
    assert own.changes == other.changes == ()


@pytest.fixture
def site(tmp_path):
    """A ledger with a log of one year, its checkpoints elsewhere, and the keys that signed them."""
    ring = create_keys(tmp_path / "keys")

    def checkpointer():
        return Checkpointer(ring, ring.public.find, FileSink(tmp_path / "elsewhere"), Cadence(1_000, 3_600.0))

    async def lived():
        logs = Logs(tmp_path / "ledger", ORIGIN, checkpointer=checkpointer(), segment_bytes=3_000)
        log = await logs.log_for(300)
        for _ in range(15):
            request = await RequestLog.begin(log, method=Method.ANALYZE_IMAGE)
            await request.advance(State.REFUSED, reason=Reason.POLICY_FORBIDS)
        await asyncio.to_thread(logs.close)

    asyncio.run(lived())
    return tmp_path / "ledger", ring.public, checkpointer


def compared(site):
    given = read_checkpoints(site[0].parent / "elsewhere")
    return collect(site[0], PERIOD, given=given, keys=site[1])


def test_completeness_is_said_log_by_log(site):
    evidence = compared(site)
    page = told(evidence)
    assert evidence.is_whole
    assert "Completeness is shown by checkpoints from elsewhere." in page
    assert page.count("shown up to record ") == len(evidence.logs) == 2
    assert "shown up to record 31 by checkpoints from elsewhere" in page
    assert "Without checkpoints kept elsewhere" not in page
    page = told(collect(site[0], PERIOD))
    assert "not shown: no checkpoints from elsewhere were given" in page
    assert "Without checkpoints kept elsewhere" in page


def test_a_log_whose_end_is_gone_is_no_sound_report(site):
    list_segments(site[0] / "years-1")[-1].path.unlink()
    for evidence in (compared(site), collect(site[0], PERIOD)):  # the log's own checkpoint tells it, too
        assert not evidence.is_whole
        assert "Log years-1: it is NOT complete: cut." in told(evidence)
        assert "1 of 2 logs are not complete" in write_report(evidence, "", datetime.now(UTC)).verdict


def test_a_log_that_is_gone_is_no_sound_report(site):
    for segment in list_segments(site[0] / "years-1"):
        segment.path.unlink()
    evidence = collect(site[0], PERIOD)
    assert not evidence.is_whole
    assert "Log years-1: the chain does NOT hold: empty" in told(evidence)
    shutil.rmtree(site[0] / "years-1")
    assert "absent: there are checkpoints of it, and no log" in told(compared(site))


def test_what_was_pruned_is_told_and_not_counted(site, monkeypatch):
    later = datetime.now(UTC) + timedelta(days=400)
    with monkeypatch.context() as patched:
        patched.setattr("guardedvlm.audit.writer.now", lambda: later.isoformat(timespec="milliseconds")[:23] + "Z")
        (removal,) = remove(site[0], later, ORIGIN, site[2]())
    evidence = compared(site)
    assert evidence.is_whole
    assert f"{removal.records:,} records before them" in told(evidence)
    there = sum(len(list(read_records(folder))) for folder in list_logs(site[0]))
    assert evidence.records == there
    shutil.rmtree(site[0] / "pruning")
    assert not collect(site[0], PERIOD).is_whole


def test_where_there_is_no_ledger_the_report_says_that(tmp_path):
    evidence = collect(tmp_path, PERIOD)
    assert not evidence.is_whole
    page = told(evidence)
    assert "There is no ledger here" in page
    assert "There is no log." in page


def test_what_is_no_period_or_table_is_refused():
    with pytest.raises(ValueError, match="a period has a day"):
        Period(TODAY, TODAY - timedelta(days=1))
    with pytest.raises(ValueError, match="as many cells"):
        Table(("a", "b"), (("1", Links(())), ("2",)), (0.5, 0.5))
