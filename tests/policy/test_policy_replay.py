"""What a new policy would have said of past requests; and that to know less never decides more."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import FinishReason
from guardedvlm.errors import Reason
from guardedvlm.policy.compare import MEASURES
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.model import Clear, DateLabels, Instructions, Mode, PersonalText, Policy, Release, Topic
from guardedvlm.policy.replay import _RULES, Past, Verdict, counted, replay

OLD = load_policy(Path(__file__).parents[2] / "policies" / "healthcare" / "policy.yaml")
KNOWN = {OLD.digest(): OLD}
WAY = [State.RECEIVED, State.ADMITTED, State.DECODED, State.REDACTED, State.CLEARED, State.GENERATING]
ALL = frozenset([*WAY, State.RELEASE_OPEN, State.RELEASED])
SCREEN = {"verdict": "allow", "action": "allow", "found": {}, "topics": ()}
FACTS: dict[str, Any] = {
    "input_bytes": 1000,
    "pages": 1,
    "width": 640,
    "height": 480,
    "regions": {Kind.PERSON: 1},
    "findings": ({"kind": Kind.PERSON, "action": "label"}, {"kind": Kind.AMOUNT, "action": "keep"}),
    "verification": {"residual": {Kind.CODE: 1}},
    "prompt_screen": SCREEN,
    "answer_screen": {**SCREEN, "found": {Kind.EMAIL: 1}},
    "output_tokens": 100,
    "finish": FinishReason.STOP,
    "timings": {"total": 2000},
}


def past(reason: Reason | None = None, at: State = State.RELEASED, asks: bool = True, **facts: Any) -> Past:
    reached = ALL if reason is None else frozenset([*WAY[: WAY.index(at) + 1], State.REFUSED])
    return Past("1f" * 16, OLD.digest(), asks, reached, reason, {**FACTS, **facts})


def changed(**parts: Any) -> Policy:
    return OLD.model_copy(
        update={
            name: {**OLD.hide, **value} if name == "hide" else getattr(OLD, name).model_copy(update=value)
            for name, value in parts.items()
        }
    )


def kept(kind: Kind) -> Policy:
    hide = {other: action for other, action in OLD.hide.items() if other is not kind}
    return OLD.model_copy(update={"hide": hide, "keep": OLD.keep | {kind}})


FORBIDDEN = past(Reason.QUESTION_FORBIDDEN, State.ADMITTED, prompt_screen={**SCREEN, "topics": (Topic.AGE,)})
TIGHT, LOOSE = OLD.ask.forbid | {Topic.HEALTH}, OLD.ask.forbid - {Topic.AGE}
REFUSED = past(Reason.ANSWER_REFUSED, State.GENERATING, answer_screen={**SCREEN, "topics": (Topic.RELIGION,)})
INSTRUCTED = past(Reason.INSTRUCTIONS_FOUND, State.CLEARED, instructions=1)
C, U, S = Verdict.CHANGED, Verdict.UNDECIDABLE, Verdict.UNCHANGED
CASES = [
    # what was hidden
    (past(), kept(Kind.PERSON), C),
    (past(), changed(hide={Kind.PERSON: Action.FILL}), C),
    (past(), changed(hide={Kind.CODE: Action.LABEL}), C),  # seen by the verifier only
    (past(), kept(Kind.EMAIL), C),  # stood in the answer
    (past(), kept(Kind.SSN), S),  # was looked for and was not there
    (past(), changed(hide={Kind.SSN: Action.FILL}), S),
    (past(findings=None), kept(Kind.SSN), U),
    (past(Reason.RESIDUAL_FOUND, State.DECODED), kept(Kind.SSN), U),
    (past(Reason.IMAGE_CORRUPT, State.ADMITTED), kept(Kind.PERSON), S),
    (FORBIDDEN, kept(Kind.SSN), S),
    (FORBIDDEN, kept(Kind.PERSON), U),
    (past(Reason.INTERNAL, State.DECODED), kept(Kind.SSN), U),
    (past(asks=False), kept(Kind.EMAIL), S),
    (past(), changed(hide={Kind.EMAIL: Action.FILL}), S),  # stood in the answer, which knows no fill
    (past(), OLD.model_copy(update={"hide": {**OLD.hide, Kind.AMOUNT: Action.LABEL}, "keep": frozenset()}), C),
    (
        past(findings=()),
        OLD.model_copy(update={"hide": {**OLD.hide, Kind.AMOUNT: Action.FILL}, "keep": frozenset()}),
        U,
    ),
    (past(Reason.KIND_REFUSED, State.DECODED), kept(Kind.SSN), S),
    (past(Reason.ANSWER_REFUSED, State.GENERATING, answer_screen=None), kept(Kind.SSN), U),
    # text
    (past(), changed(text={"clear": OLD.text.clear - {Clear.NUMBERS}}), U),
    (past(), changed(text={"date_labels": DateLabels.INTERVAL}), S),
    (past(findings=({"kind": Kind.DATE, "action": "label"},)), changed(text={"date_labels": DateLabels.INTERVAL}), U),
    (FORBIDDEN, changed(text={"date_labels": DateLabels.INTERVAL}), S),
    (past(Reason.IMAGE_CORRUPT, State.ADMITTED), changed(text={"min_confidence": 0.9}), S),
    (past(), changed(text={"min_confidence": 0.9}), U),
    (past(), changed(text={"mode": Mode.BALANCED}), U),
    (FORBIDDEN, changed(text={"min_confidence": 0.9}), S),
    (FORBIDDEN, changed(text={"languages": ("en", "de")}), U),
    # questions and answers
    (past(), changed(ask={"forbid": TIGHT}), U),
    (FORBIDDEN, changed(ask={"forbid": TIGHT}), S),
    (FORBIDDEN, changed(ask={"forbid": LOOSE}), C),
    (FORBIDDEN, changed(ask={"forbid": OLD.ask.forbid - {Topic.RELIGION}}), S),
    (past(), changed(ask={"forbid": LOOSE}), S),
    (past(asks=False), changed(ask={"forbid": TIGHT}), S),
    (REFUSED, changed(say={"forbid": OLD.say.forbid - {Topic.RELIGION}}), C),
    (past(), changed(say={"forbid": OLD.say.forbid | {Topic.AGE}}), U),
    (past(), changed(ask={"personal": PersonalText.REFUSE}), S),
    (past(), changed(say={"personal": PersonalText.REFUSE}), C),
    (past(), changed(ask={"max_chars": 100}), U),
    (past(), changed(ask={"max_chars": 4000}), S),
    (past(Reason.QUESTION_TOO_LONG, State.ADMITTED), changed(ask={"max_chars": 4000}), U),
    (past(), changed(say={"max_tokens": 99}), C),
    (past(), changed(say={"max_tokens": 101}), S),
    (past(finish=FinishReason.LENGTH), changed(say={"max_tokens": 600}), U),
    (past(pages=2), changed(say={"max_tokens": 99}), U),
    (past(pages=2), changed(say={"max_tokens": 101}), S),  # no page wrote more than all of them
    (past(finish=FinishReason.LENGTH), changed(say={"max_tokens": 99}), C),
    (past(finish=None), changed(say={"max_tokens": 101}), U),
    # what speaks to the model
    (past(instructions=0), changed(text={"instructions": Instructions.REFUSE}), S),
    (past(instructions=2), changed(text={"instructions": Instructions.REFUSE}), C),
    (past(instructions=2), changed(text={"instructions": Instructions.FLAG}), U),
    (past(), changed(text={"instructions": Instructions.REFUSE}), U),
    (past(instructions=2, asks=False), changed(text={"instructions": Instructions.REFUSE}), S),
    (FORBIDDEN, changed(text={"instructions": Instructions.REFUSE}), S),
    (past(Reason.RESIDUAL_FOUND, State.DECODED), changed(text={"instructions": Instructions.REFUSE}), S),
    (
        past(Reason.INSTRUCTIONS_FOUND, State.CLEARED, instructions=1),
        changed(text={"instructions": Instructions.FLAG}),
        C,
    ),
    # limits
    (past(), changed(limits={"max_bytes": 999}), C),
    (past(), changed(limits={"max_bytes": 1000}), S),
    (past(Reason.BYTES_TOO_LARGE, State.ADMITTED, input_bytes=40_000_000), changed(limits={"max_bytes": 2**26}), C),
    (past(), changed(limits={"max_side": 600}), C),
    (past(), changed(limits={"max_side": 640}), S),
    (past(pages=2), changed(limits={"max_side": 640}), U),
    (past(pages=2), changed(limits={"max_pages": 1}), C),
    (past(pages=2), changed(limits={"max_pages": 2}), S),
    (past(), changed(limits={"min_side": 500}), C),
    (past(Reason.TOO_MANY_PAGES, State.ADMITTED), changed(limits={"max_pages": 60}), U),
    (past(), changed(limits={"max_seconds": 1}), U),
    (past(), changed(limits={"max_seconds": 60}), S),
    # the rest
    (past(), changed(inference={"seed": 7}), U),
    (FORBIDDEN, changed(inference={"seed": 7}), S),
    (past(), changed(say={"boxes": False}), C),
    (past(regions=None), changed(say={"boxes": False}), U),
    (past(), changed(say={"release": Release.SENTENCE}), S),
    (REFUSED, changed(say={"release": Release.SENTENCE}), U),
    (past(Reason.IMAGE_CORRUPT, State.ADMITTED), changed(limits={"max_side": 640}), U),
    (FORBIDDEN, changed(limits={"max_bytes": 1}), S),
    (past(input_bytes=None), changed(limits={"max_bytes": 1}), U),
    (past(), changed(say={"redacted_image": False}), U),
    (past(asks=False), changed(say={"redacted_image": False}), C),
    (past(), changed(say={"reidentify": frozenset({Kind.PERSON})}), S),
    (past(sealed_labels=3), changed(say={"reidentify": frozenset({Kind.PERSON})}), U),
    (past(), changed(audit={"retention_days": 3000}), S),
    (past(), OLD, S),
]


@pytest.mark.parametrize(("one", "new", "verdict"), CASES)
def test_what_a_policy_would_have_said(one: Past, new: Policy, verdict: Verdict) -> None:
    assert replay(one, KNOWN, new).verdict is verdict


def test_a_policy_that_nobody_knows_and_a_request_without_an_end() -> None:
    new = changed(limits={"max_pages": 4})
    assert replay(past(), {}, new).because == ("policy",)
    assert replay(past(), {}, OLD).verdict is S
    lost = Past("1f" * 16, OLD.digest(), True, frozenset({State.RECEIVED}), None, {})
    assert replay(lost, KNOWN, OLD).because == ("unfinished",)
    before = Past("1f" * 16, "", True, frozenset({State.RECEIVED, State.REFUSED}), Reason.CANCELLED, {})
    assert replay(before, KNOWN, new).verdict is S
    found = [replay(past(), KNOWN, new), replay(past(), {}, new)]
    assert counted(found) == {S: 1, C: 0, U: 1}


@settings(max_examples=300)
@given(st.sampled_from(CASES), st.sampled_from(CASES), st.integers(0, 2**16))
def test_to_know_less_never_decides_more(
    case: tuple[Past, Policy, Verdict], other: tuple[Past, Policy, Verdict], seed: int
) -> None:
    one, new = case[0], other[1]
    # Not that labels were sealed: where nobody asked for it, nothing is written.
    lost = random.Random(seed).sample(sorted(one.facts.keys() - {"sealed_labels"}), 3)
    less = Past(
        one.request,
        one.policy,
        one.asks,
        one.reached,
        one.reason,
        {name: value for name, value in one.facts.items() if name not in lost},
    )
    before, after = replay(one, KNOWN, new).verdict, replay(less, KNOWN, new).verdict
    assert after in (before, U)


def test_every_value_of_a_policy_is_decided_or_openly_not() -> None:
    for path in MEASURES:
        assert any(known in _RULES for known in (path, path.rpartition(".")[0])), path


def test_classes_of_clear_text_mean_nothing_between_balanced_policies() -> None:
    balanced = changed(text={"mode": Mode.BALANCED})
    other = balanced.model_copy(update={"text": balanced.text.model_copy(update={"clear": frozenset()})})
    one = Past("1f" * 16, balanced.digest(), True, ALL, None, FACTS)
    assert replay(one, {balanced.digest(): balanced}, other).verdict is S


def test_a_value_that_nothing_here_knows_is_undecidable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_RULES, "audit")  # type: ignore[arg-type]  # a mapping to readers
    assert replay(past(), KNOWN, changed(audit={"retention_days": 3000})).because == ("audit.retention_days",)
