"""A candidate policy sees what the policy in force saw, acts on nothing, and what it would have said is on record."""

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_pages_path import PNG, POLICY, Scene

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.facts import Method, Verdict
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.retention import log_name
from guardedvlm.audit.verify import read_ledger
from guardedvlm.core.clearance import Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.core.region import Box
from guardedvlm.core.tenant import Caller
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard import shadow
from guardedvlm.guard.detect.quads import box_quad
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Answer, Redaction
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.guard.run import GuardRequest, Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import AskRules, AuditRules, Limits, Mode, SayRules, TextRules, Topic

QUESTION = "What is the total?"


def candidate(**changes):
    return POLICY.model_copy(update={"version": "2026-01-01", **changes})


def without(kind):
    hide = {other: action for other, action in POLICY.hide.items() if other is not kind}
    return candidate(hide=hide, keep=POLICY.keep | {kind})


class Tried:
    """What requests under a candidate gave, and the records of them."""

    def __init__(self, folder, scene, other, questions=(QUESTION,), method=Method.STREAM_ANALYZE_IMAGE):
        self.folder, self.scene, self.other = folder, scene, other
        self.questions, self.method = questions, method
        self.history = ()
        self.outcomes: list[Any] = []

    async def run(self):
        ledger = Logs(self.folder, "a0" * 16)
        witness = Witness(ledger, AuditKey(b"k" * 32), None, {})
        signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
        pipeline = Pipeline(self.scene, self.scene, signer, witness)
        try:
            for question in self.questions:
                self.outcomes.append(await self._one(pipeline, question))
            await pipeline.close()
        finally:
            ledger.close()
        self.records = list(read_ledger(self.folder))
        assert verify_logs(self.folder).is_good
        return self

    async def _one(self, pipeline, question):
        request = GuardRequest(
            *(Caller("clinic", "ann", frozenset()), POLICY, RawImage(PNG), Deadline.after(30)),
            self.method,
            candidate=self.other,
        )
        try:
            if self.method is Method.REDACT_IMAGE:
                return await pipeline.redact(request)
            asked = Question(question, history=self.history)
            return [event async for event in pipeline.analyze(request, asked)]
        except GuardedVLMError as error:
            return error.reason

    @property
    def shadows(self):
        return [one.facts["shadow"] for one in self.records if one.event is LedgerEvent.SHADOWED]


class Page(Scene):
    """A page on which every character has its width, so that its lines count as read."""

    async def read(self, raster, deadline):
        lines = await super().read(raster, deadline)
        boxes = [Box(20, line.box.y0, 20 + 12 * len(line.text), line.box.y1) for line in lines]
        return tuple(
            TextLine(box, box_quad(box), line.text, 0.99, (Word(line.text, box),))
            for line, box in zip(lines, boxes, strict=True)
        )


def scene(text="Jane Roe", draft="It is 5."):
    return Page([text], drafts={100: draft})


async def test_without_a_candidate_nothing_is_tried(tmp_path):
    assert (await Tried(tmp_path, scene(), None).run()).shadows == []


async def test_both_verdicts_stand_in_one_record_after_the_request(tmp_path):
    tried = await Tried(tmp_path, scene(), without(Kind.PERSON)).run()
    (found,) = tried.shadows
    closed = next(one for one in tried.records if one.event is State.RELEASED)
    assert found["of"] == closed.request
    assert [one.event for one in tried.records][-2:] == [State.RELEASED, LedgerEvent.SHADOWED]
    assert found["policy"]["digest"] == POLICY.digest() != found["candidate"]["digest"]
    assert found["said"]["hidden"] == {Kind.PERSON: 1}
    assert (found["said"]["verdict"], found["said"]["complete"]) == (Verdict.MODIFY, True)
    assert found["would_say"]["hidden"] == {}
    assert (found["would_say"]["verdict"], found["would_say"]["complete"]) == (Verdict.ALLOW, True)
    assert "failure" not in found


DENIED = [
    (candidate(hide={**POLICY.hide, Kind.PERSON: Action.REFUSE}), Reason.KIND_REFUSED),
    (candidate(limits=Limits(max_bytes=1)), Reason.BYTES_TOO_LARGE),
    (candidate(limits=Limits(max_side=599)), Reason.IMAGE_TOO_LARGE),
    (candidate(ask=AskRules(max_chars=3)), Reason.QUESTION_TOO_LONG),
    (candidate(say=SayRules(forbid=frozenset({Topic.RELIGION}))), Reason.ANSWER_REFUSED),
]


@pytest.mark.parametrize(("other", "reason"), DENIED)
async def test_a_candidate_that_says_no_changes_nothing(tmp_path, other, reason):
    draft = "He is a Muslim."
    alone = await Tried(tmp_path / "a", scene(draft=draft), None).run()
    beside = await Tried(tmp_path / "b", scene(draft=draft), other).run()
    texts = [[event for event in one.outcomes[0] if isinstance(event, str)] for one in (alone, beside)]
    assert texts[0] == texts[1] == [draft]
    regions = [
        [
            (region.kind, region.box, region.action)
            for event in one.outcomes[0]
            if isinstance(event, Redaction)
            for page in event.pages
            for region in page.regions
        ]
        for one in (alone, beside)
    ]
    assert regions[0] == regions[1] != []
    steps = [[one.event for one in tried.records if one.request] for tried in (alone, beside)]
    assert steps[0] == steps[1]
    (found,) = beside.shadows
    assert (found["would_say"]["verdict"], found["would_say"]["reason"]) == (Verdict.DENY, reason)
    assert found["said"]["verdict"] is Verdict.MODIFY


async def test_a_strict_candidate_tells_what_it_would_not_clear(tmp_path):
    strict = candidate(text=TextRules(mode=Mode.STRICT, clear=frozenset()))
    (found,) = (await Tried(tmp_path, scene("Total Visit"), strict).run()).shadows
    assert found["said"]["hidden"] == {}
    assert found["would_say"]["hidden"] == {Kind.UNCLEARED: 2}


async def test_a_request_that_was_refused_is_judged_as_far_as_it_came(tmp_path):
    lenient = candidate(ask=AskRules(forbid=frozenset()))
    tried = await Tried(tmp_path, scene(), lenient, ["Who is this person?"]).run()
    assert tried.outcomes == [Reason.QUESTION_FORBIDDEN]
    (found,) = tried.shadows
    assert found["said"]["reason"] is Reason.QUESTION_FORBIDDEN
    assert found["said"]["question"]["topics"] == (Topic.IDENTIFY_PERSON,)
    assert (found["would_say"]["verdict"], found["would_say"]["complete"]) == (Verdict.ALLOW, False)


async def test_what_was_asked_before_belongs_to_the_question(tmp_path):
    strict = candidate(ask=AskRules(forbid=frozenset({Topic.HEALTH})))
    tried = Tried(tmp_path, scene(), strict)
    tried.history = (Turn("Is the man in the photo ill?", "Cannot say."),)
    (found,) = (await tried.run()).shadows
    assert found["would_say"]["reason"] is Reason.QUESTION_FORBIDDEN
    assert found["would_say"]["question"]["topics"] == (Topic.HEALTH,)
    assert found["said"]["question"]["verdict"] is Verdict.ALLOW


async def test_a_redaction_needs_no_draft(tmp_path):
    (found,) = (await Tried(tmp_path, scene(), without(Kind.PERSON), method=Method.REDACT_IMAGE).run()).shadows
    assert (found["would_say"]["complete"], found["would_say"]["hidden"]) == (True, {})


async def test_a_candidate_enables_nothing(tmp_path):
    """Its retention, its releases and its generosity are never read."""
    generous = candidate(
        audit=AuditRules(retention_class="forever", retention_days=36_500),
        say=SayRules(reidentify=frozenset({Kind.PERSON}), boxes=True),
    )
    tried = await Tried(tmp_path, scene(), generous).run()
    assert [log.name for log in list_logs(tmp_path)] == ["service", log_name(POLICY.audit.retention_days)]
    answer = tried.outcomes[0][-1]
    assert isinstance(answer, Answer)
    assert answer.redaction.sealed is None
    assert b"forever" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (RuntimeError("Jane Roe"), Reason.INTERNAL),
        (GuardedVLMError(Reason.WORKER_DIED), Reason.WORKER_DIED),
    ],
)
async def test_a_candidate_that_breaks_is_a_fact_and_no_error(tmp_path, monkeypatch, breaks, reason):
    def broken(*_):
        raise breaks

    monkeypatch.setattr(shadow, "_picture", broken)
    tried = await Tried(tmp_path, scene(), without(Kind.PERSON)).run()
    assert "".join(event for event in tried.outcomes[0] if isinstance(event, str)) == "It is 5."
    (found,) = tried.shadows
    assert (found["failure"], found["would_say"]["complete"]) == (reason, False)


async def test_a_candidate_has_its_time_and_no_more(tmp_path, monkeypatch):
    async def slow(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(shadow, "SECONDS", 0.05)
    monkeypatch.setattr(shadow.Shadows, "_question", slow)
    tried = await Tried(tmp_path, scene(), without(Kind.PERSON)).run()
    (found,) = tried.shadows
    assert (found["failure"], found["milliseconds"] < 5_000) == (Reason.STAGE_TIMEOUT, True)


async def test_more_trials_than_the_service_holds_are_given_up_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_WAITING", 0)
    (found,) = (await Tried(tmp_path, scene(), without(Kind.PERSON)).run()).shadows
    assert found["failure"] is Reason.QUOTA_EXCEEDED


async def test_no_string_of_a_request_is_in_the_record_of_a_trial(tmp_path):
    tried = await Tried(tmp_path, scene(draft="Ask Jane Roe."), without(Kind.PERSON), ["Where is Jane Roe?"]).run()
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert tried.shadows
    for word in (b"Jane", b"Roe", b"Where", b"Ask"):
        assert word not in content


async def test_the_report_compares_what_both_said(tmp_path):
    from typer.testing import CliRunner

    from guardedvlm.cli import app
    from guardedvlm.cli.policy.shadow import compared

    questions = [QUESTION, "Who is this person?", QUESTION]
    tried = await Tried(tmp_path, scene(), DENIED[0][0], questions).run()
    (found,) = compared(tried.shadows)
    assert (found.trials, found.unjudged, dict(found.failures)) == (3, 0, {})
    assert found.verdicts == {("modify", "KIND_REFUSED"): 2, ("QUESTION_FORBIDDEN", "QUESTION_FORBIDDEN"): 1}
    assert len(found.differing) == 2
    done = CliRunner().invoke(app, ["policy", "shadow-report", str(tmp_path)], env={"COLUMNS": "200"})
    assert "same 1, different 2, not judged to the end 0, failed 0" in done.output
    assert "2 x modify -> KIND_REFUSED" in done.output
