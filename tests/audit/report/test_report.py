"""The evidence pack over a ledger that the guard's own pipeline wrote: its figures, its gaps, and what it escapes."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import pypdfium2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_pages_path import PNG, POLICY
from test_shadow import QUESTION, Page

from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.facts import Method
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.audit.report.collect import collect
from guardedvlm.audit.report.count import Outcome, Period
from guardedvlm.audit.report.document import Table
from guardedvlm.audit.report.html import report_html
from guardedvlm.audit.report.measured import Measured
from guardedvlm.audit.report.pdf import report_pdf
from guardedvlm.audit.report.requirements import REGULATIONS
from guardedvlm.audit.report.write import write_report
from guardedvlm.audit.review.desk import LOG, ReviewDesk
from guardedvlm.audit.review.store import SampleStore
from guardedvlm.audit.reviewed import Basis, ReviewVerdict
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.verify import verify_ledger
from guardedvlm.core.change import Why
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Kind
from guardedvlm.core.share import wilson
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.guard.run import GuardRequest, Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import ReviewRules, SayRules, Topic

KEY = AuditKey(b"k" * 32)
CLINIC, LAB = (KEY.pseudonym(Purpose.TENANT, name) for name in ("clinic", "lab"))
WATCHED = POLICY.model_copy(
    update={"review": ReviewRules(random=1), "say": SayRules(forbid=frozenset({Topic.RELIGION}))}
)
CHANGED = WATCHED.model_copy(update={"version": "2026-02-02"})
DETECTORS = {"centerface": "ce" * 32, "mtcnn": "dd" * 32}
TODAY = datetime.now(UTC).date()
PERIOD = Period(TODAY - timedelta(days=1), TODAY + timedelta(days=1))
HOSTILE = '<script>alert("x")</script>&\N{GREEK SMALL LETTER OMEGA}\N{SNOWMAN}'


async def _told(ledger, *policies, why=None):
    facts = [
        {"name": one.name, "digest": one.digest(), "version": one.version, **({"why": why} if why else {})}
        for one in policies
    ]
    entry = make_entry(
        LedgerEvent.POLICIES, None, {"policies": tuple(facts), "policies_kept": (), "policy_problems": 0}
    )
    await ledger.service.append(entry)


async def _ask(ledger, store, policy, tenant, text, draft, method, *, blind=False):
    scene = Page([text], drafts={100: draft})
    scene.blind_to = 100 if blind else 0
    signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
    pipeline = Pipeline(scene, scene, signer, Witness(ledger, KEY, DETECTORS), store)
    request = GuardRequest(*(Caller(tenant, "gateway", frozenset()), policy, RawImage(PNG), Deadline.after(30)), method)
    try:
        if method is Method.REDACT_IMAGE:
            await pipeline.redact(request)
        else:
            [event async for event in pipeline.analyze(request, Question(QUESTION))]
    except GuardedVLMError:
        pass  # the ledger tells it
    await pipeline.close()


async def _work(folder, store):
    ledger = Logs(folder / "ledger", "a0" * 16)
    try:
        await _told(ledger, WATCHED)
        for _ in range(5):
            await _ask(ledger, store, WATCHED, "clinic", "Jane Roe", "It is 5.", Method.ANALYZE_IMAGE)
        await _told(ledger, CHANGED, why=Why.LAW)
        await _ask(ledger, store, CHANGED, "clinic", "Jane Roe", "He is a Muslim.", Method.ANALYZE_IMAGE)
        await _ask(ledger, store, CHANGED, "clinic", "Total", "", Method.REDACT_IMAGE)
        await _ask(ledger, store, CHANGED, "clinic", "Total", "", Method.REDACT_IMAGE, blind=True)
        await _ask(ledger, store, CHANGED, "lab", "7730419952", "It is 5.", Method.ANALYZE_IMAGE)
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A ledger of two tenants: nine requests, a change of policy, reviewed samples, one of them leaked."""
    folder = tmp_path_factory.mktemp("site")
    store = SampleStore(folder / "review", folder / "keys")
    asyncio.run(_work(folder, store))
    desk = ReviewDesk(store, folder / "ledger", KEY, "a0" * 16)
    for kept in desk.queue():
        desk.view(kept.sample, "ann")
        desk.mark(kept.sample, "ann", ReviewVerdict.CLEAN)
    clinics = [kept.sample for kept in store.list_kept() if store.read(kept.sample).about.tenant == CLINIC]
    desk.mark(clinics[0], "ann", ReviewVerdict.LEAKED, [Kind.PERSON])
    return folder


@pytest.fixture(scope="module")
def evidence(site):
    return collect(site / "ledger", PERIOD, CLINIC)


@pytest.fixture(scope="module")
def page(evidence):
    return report_html(write_report(evidence, "clinic", datetime.now(UTC)))


def test_the_figures_are_those_of_what_was_done(evidence):
    activity = evidence.activity
    assert activity.outcomes == {Outcome.RELEASED: 6, Outcome.REFUSED: 2}
    assert activity.refusals == {Reason.ANSWER_REFUSED: 1, Reason.RESIDUAL_FOUND: 1}
    assert activity.regions == {Kind.PERSON: 6}
    assert (activity.pages, activity.verified, len(activity.callers)) == (8, 7, 1)
    assert {use.requests for use in activity.detectors.values()} == {7}
    assert {digest: use.requests for (_, digest), use in activity.policies.items()} == {
        WATCHED.digest(): 5,
        CHANGED.digest(): 3,
    }


def test_a_change_of_policy_is_told_with_when_and_why(evidence):
    first, second = evidence.changes
    assert (first.old, first.new) == ("", WATCHED.digest())
    assert (second.old, second.new, second.told["why"]) == (WATCHED.digest(), CHANGED.digest(), Why.LAW)


def test_residual_risk_and_incident_are_those_of_the_marks(evidence):
    review = evidence.review
    assert review.kept == {Basis.RANDOM: 6}
    own = [row for row in review.rows if row.tenant == CLINIC]
    assert [(row.kind, row.share) for row in own] == [(None, wilson(1, 6)), (Kind.PERSON, wilson(1, 6))]
    ((_, incident),) = review.incidents.values()
    assert (incident["tenant"], incident["kinds"]) == (CLINIC, (Kind.PERSON,))
    assert (review.views, len(review.reviewers)) == (6, 1)


def test_the_table_of_samples_suppresses_what_the_table_of_risks_does(site, page):
    def shown(text, name):
        (cell,) = re.findall(rf"<td>{name}</td><td class=.n.>([^<]*)</td>", text)
        return cell

    assert [shown(page, name) for name in ("views", "samples marked clean", "samples marked leaked")] == [
        "6",
        "6",
        "fewer than 5",
    ]
    of_lab = report_html(write_report(collect(site / "ledger", PERIOD, LAB), "lab", datetime.now(UTC)))
    names = ("views", "kept: random", "samples marked clean", "samples marked leaked", "samples marked over-redacted")
    assert {shown(of_lab, name) for name in names} <= {"fewer than 5", "suppressed"}
    of_all = report_html(write_report(collect(site / "ledger", PERIOD), "", datetime.now(UTC)))
    assert shown(of_all, "samples marked clean") == "suppressed"  # less the clinic's it would be the lab's one


def test_another_tenant_is_not_in_the_report(site, page):
    assert LAB not in page
    assert "lab" not in re.sub(r"<[^>]*>", " ", page).split()
    lab = collect(site / "ledger", PERIOD, LAB)
    assert lab.activity.requests == 1
    assert lab.review.incidents == {}
    assert [row.share for row in lab.review.rows] == [None, None]  # one sample is a small cell


def test_a_period_without_records_says_so(site):
    evidence = collect(site / "ledger", Period(date(2020, 1, 1), date(2020, 1, 2)), CLINIC)
    text = report_html(write_report(evidence, "clinic", datetime.now(UTC)))
    for sentence in (
        "No request of the period is in the ledger.",
        "No request of the period was refused.",
        "Nothing was redacted in the period.",
        "No record of the period names a policy.",
        "no residual risk can be stated",
        "No measurement was given",
        "No incident was opened by a reviewer in the period.",
    ):
        assert sentence in text


def test_the_report_names_head_command_and_gaps(site, page):
    for log in (LOG, "service"):
        assert verify_ledger(site / "ledger" / log).head in page
    assert "guardedvlm audit verify LEDGER" in page
    assert f"--tenant {CLINIC}" in page
    assert "Why 1 of 2 policy changes were made: the files do not say." in page
    assert "Who made 2 of 2 policy changes: those policies were not signed." in page
    assert "Without checkpoints kept elsewhere" in page


def test_a_ledger_that_was_changed_is_said_to_be_on_the_cover(site, tmp_path):
    copy = shutil.copytree(site / "ledger", tmp_path / "ledger")
    some = [one.path for log in list_logs(copy) for one in list_segments(log)]
    segment, content = next((path, path.read_bytes()) for path in some if b'"answer_chars":8' in path.read_bytes())
    segment.write_bytes(content.replace(b'"answer_chars":8', b'"answer_chars":9', 1))
    evidence = collect(copy, PERIOD, CLINIC)
    told = write_report(evidence, "clinic", datetime.now(UTC))
    assert not evidence.is_whole
    assert not told.is_sound
    assert "does NOT hold in 1 of 3 logs" in report_html(told)
    assert evidence.activity.requests < 8  # what stands after the flaw is not counted


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.targets, self.values, self.open = [], set(), set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "col"}:
            self.open.append(tag)
        for name, value in attrs:
            self.values.append(value or "")
            if name == "id":
                self.ids.add(value)
            if name == "href":
                self.targets.add(value)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag != "br":
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_links_lead_somewhere(page):
    tags = Tags(page.replace("<br>", ""))
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    assert {target.removeprefix("#") for target in tags.targets} <= tags.ids
    assert "default-src 'none'" in page
    assert tags.open == []


def hostile(evidence):
    share = (("all", wilson(1, 2)), (HOSTILE, wilson(0, 0)))
    one = Measured("ab" * 32, HOSTILE, HOSTILE, "cd" * 32, HOSTILE, 3, 1, ((HOSTILE, share),))
    return write_report(replace(evidence, measured=(one,)), HOSTILE, datetime.now(UTC))


def test_what_somebody_named_is_escaped(evidence):
    text = report_html(hostile(evidence))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    Tags(text.replace("<br>", ""))


def test_the_pdf_says_the_same_and_its_page_numbers_are_right(evidence):
    told = write_report(evidence, "clinic", datetime.now(UTC))
    document = pypdfium2.PdfDocument(report_pdf(told))
    pages = [page.get_textpage().get_text_bounded() for page in document]
    for number, section in enumerate(told.sections, start=1):
        heading = f"{number}. {section.title}"
        (linked,) = {int(found) for found in re.findall(rf"{re.escape(heading)}\s+(\d+)", pages[0])}
        alone = re.compile(rf"^{re.escape(heading)}\s*$", re.MULTILINE)
        assert [n for n, text in enumerate(pages, start=1) if n > 1 and alone.search(text)] == [linked], heading
    assert all(f"{n} / {len(pages)}" in text for n, text in enumerate(pages, start=1))
    whole = " ".join(" ".join(pages).split())
    for block in (block for section in told.sections for block in section.blocks):
        if isinstance(block, Table) and 2 in block.numbers:
            assert all(str(row[0]).split()[0] in whole for row in block.rows)
    assert "8 requests by 1 caller: 6 released, 2 refused, 0 without an end." in whole


def test_a_pdf_of_hostile_names_is_a_pdf(evidence):
    document = pypdfium2.PdfDocument(report_pdf(hostile(evidence)))
    text = " ".join(page.get_textpage().get_text_bounded() for page in document)
    assert "<script>" in text
    assert "\\u2603" in text  # a letter that the font lacks is written as its number


def test_every_requirement_points_to_a_section_or_says_what_is_missing(evidence):
    known = {section.id for section in write_report(evidence, "", datetime.now(UTC)).sections}
    for regulation in REGULATIONS:
        for one in regulation.requirements:
            assert set(one.sections) <= known
            assert one.sections or one.missing
