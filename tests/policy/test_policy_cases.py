"""Cases: what a file may hold, when a case fails, and which rules it exercises."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind
from guardedvlm.errors import Reason
from guardedvlm.policy.cases import Case, Expectation, Located, Outcome, Seen, cases_of, failures, found_outcome
from guardedvlm.policy.exercise import LIMITS, rules_of, run_cases
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.model import Limits, Mode, Policy, TextRules, Topic

SHIPPED = Path(__file__).parents[2] / "policies"
POLICY = Policy(
    name="test",
    version="2026-01-01",
    description="test",
    hide={kind: Action.LABEL for kind in Kind if kind not in RESERVED_KINDS | {Kind.AMOUNT}},
    keep=frozenset({Kind.AMOUNT}),
)
SEEN = Outcome(seen=(Seen(Kind.PERSON, "Jane Doe"), Seen(Kind.AMOUNT, "12.50")), visible=("Total", "12.50"))


def problems(folder: Path, text: str) -> list[str]:
    (folder / "clinic" / "cases").mkdir(parents=True)
    (folder / "clinic" / "cases" / "a.yaml").write_text(text)
    found, wrong = cases_of(folder / "clinic" / "policy.yaml")
    assert not (found and wrong)
    return [f"{error.place}: {error.explanation}" for error in wrong]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases:\n  - name: a\n", "2: a case gives one of: text, question, answer, found, document, picture"),
        (
            "cases:\n  - {name: a, text: b, answer: c}\n",
            "2: a case gives one of: text, question, answer, found, document, picture",
        ),
        ("cases: []\n", "1: cases must have at least 1 entries"),
        (
            "cases:\n  - name: a\n    text: b\n    expekt: {}\n",
            "4: unknown key 'expekt' in cases[0]; did you mean 'expect'?",
        ),
        (
            "cases:\n  - {name: a, picture: ../../etc/passwd}\n",
            "2: cases[0].picture must have the form ^[A-Za-z0-9][A-Za-z0-9._-]*$",
        ),
    ],
)
def test_a_case_that_is_none_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [f"clinic/cases/a.yaml:{problem}"]


@pytest.mark.parametrize(
    ("expect", "outcome", "failure"),
    [
        (Expectation(), Outcome(refused=Reason.QUESTION_FORBIDDEN), "refused: nothing was expected"),
        (Expectation(refused=Reason.ANSWER_REFUSED), Outcome(), "not nothing"),
        (
            Expectation(refused=Reason.ANSWER_REFUSED, topics=frozenset({Topic.AGE})),
            Outcome(refused=Reason.ANSWER_REFUSED),
            "topics not seen: age",
        ),
        (Expectation(hidden={Kind.PERSON: ("Tom Roe",)}), SEEN, "expect.hidden.PERSON[0] is not hidden"),
        (Expectation(hidden={Kind.DATE: ("Jane Doe",)}), SEEN, "is not hidden as DATE"),
        (Expectation(hidden={Kind.AMOUNT: ("12.50",)}), SEEN, "is not hidden as AMOUNT"),
        (
            Expectation(hidden={Kind.PERSON: ("Jane Doe",)}),
            Outcome(seen=SEEN.seen, visible=("Jane", "Doe")),
            "expect.hidden.PERSON[0] is visible",
        ),
        (Expectation(kept={Kind.DATE: ("12.50",)}), SEEN, "is not seen as DATE"),
        (Expectation(kept={Kind.AMOUNT: ("12.50",)}), Outcome(seen=SEEN.seen), "expect.kept.AMOUNT[0] is not visible"),
        (Expectation(shown=("Sum",)), SEEN, "expect.shown[0] is not visible"),
        (Expectation(gone=("Total",)), SEEN, "expect.gone[0] is visible"),
        (Expectation(becomes="a"), Outcome(text="b"), "expect.becomes"),
        (Expectation(actions={Kind.FACE: Action.FILL}), Outcome(), "fill was expected, not nothing"),
        (
            Expectation(actions={Kind.FACE: Action.FILL}),
            Outcome(actions={Kind.FACE: Action.LABEL}),
            "fill was expected, not label",
        ),
    ],
)
def test_a_case_fails_where_it_comes_to_something_else(expect: Expectation, outcome: Outcome, failure: str) -> None:
    (found,) = failures(POLICY, Case(name="x", text="y", expect=expect), outcome)
    assert failure in found
    assert "Jane" not in found  # a failure names the place in the case, not the string


def test_a_case_passes_where_everything_is_as_it_says() -> None:
    expect = Expectation(hidden={Kind.PERSON: ("jane doe",)}, kept={Kind.AMOUNT: ("12.50",)}, gone=("Jane",))
    assert list(failures(POLICY, Case(name="x", text="y", expect=expect), SEEN)) == []


def test_a_found_kind_is_what_the_policy_does_to_it() -> None:
    refusing = POLICY.model_copy(update={"hide": {**POLICY.hide, Kind.MRZ: Action.REFUSE}})
    assert found_outcome(POLICY, frozenset({Kind.FACE})).actions == {Kind.FACE: Action.LABEL}
    assert found_outcome(POLICY, frozenset({Kind.MRZ})).refused is None
    assert found_outcome(refusing, frozenset({Kind.MRZ})).refused is Reason.KIND_REFUSED


def test_a_file_of_cases_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "a.yaml").write_bytes(b"\xff")
    found, wrong = cases_of(tmp_path / "policy.yaml")
    assert (found, [error.explanation for error in wrong]) == ([], ["is not UTF-8 text"])


async def test_a_refused_kind_is_exercised_by_a_document_that_is_refused() -> None:
    refusing = POLICY.model_copy(update={"hide": {**POLICY.hide, Kind.MRZ: Action.REFUSE}})
    case = Case(name="a", found=frozenset({Kind.MRZ}), expect=Expectation(refused=Reason.KIND_REFUSED))
    told = Told({"a": found_outcome(refusing, frozenset({Kind.MRZ}))})
    assert (await run_cases(refusing, [Located(case, Path(), "a:1")], told)).results[0].exercised == {"hide.MRZ"}


def test_rules_are_what_decides() -> None:
    rules = rules_of(POLICY)
    assert {"hide.PERSON", "keep.AMOUNT", "ask.forbid.age", "text.clear.labels", "text.mode"} <= rules
    assert {f"limits.{name}" for name in LIMITS} <= rules
    assert set(LIMITS) == set(Limits.model_fields) - {"max_seconds"}
    balanced = POLICY.model_copy(update={"text": TextRules(mode=Mode.BALANCED)})
    assert not any(rule.startswith("text.clear") for rule in rules_of(balanced))


class Told:
    """A bench that has been told what each case comes to, under the policy and without one of its rules."""

    def __init__(self, outcomes: dict[str, Outcome], without: dict[frozenset[str], Outcome] | None = None) -> None:
        self._outcomes = outcomes
        self._without = without or {}

    async def run(self, policy: Policy, case: Case, folder: Path) -> Outcome:
        return self._without.get(frozenset(map(str, policy.text.clear)), self._outcomes[case.name])


async def test_a_rule_counts_as_exercised_where_the_case_fails_without_it() -> None:
    case = Case(name="a", text="Total", expect=Expectation(shown=("Total",)))
    bench = Told({"a": SEEN}, {frozenset({"common_words"}): Outcome()})  # without labels nothing is shown
    report = await run_cases(POLICY, [Located(case, Path(), "a:1")], bench)
    assert report.results[0].exercised == {"text.clear.labels"}
    assert "text.clear.common_words" in report.unexercised


async def test_a_case_that_failed_exercises_nothing() -> None:
    case = Case(name="a", text="x", expect=Expectation(hidden={Kind.PERSON: ("Tom",)}))
    report = await run_cases(POLICY, [Located(case, Path(), "a:1")], Told({"a": SEEN}))
    assert len(report.failed) == 1
    assert "hide.PERSON" in report.unexercised


@pytest.mark.parametrize(
    ("case", "outcome", "rule"),
    [
        (
            Case(name="a", question="b", expect=Expectation(refused=Reason.QUESTION_TOO_LONG)),
            Outcome(refused=Reason.QUESTION_TOO_LONG),
            "ask.max_chars",
        ),
        (
            Case(name="a", question="b", expect=Expectation(becomes="PERSON-A")),
            Outcome(text="PERSON-A"),
            "ask.personal",
        ),
        (Case(name="a", answer="b", expect=Expectation(becomes="[PERSON]")), Outcome(text="[PERSON]"), "say.personal"),
        (
            Case(name="a", text="b", confidence=0.2, expect=Expectation(gone=("b",))),
            Outcome(unread=True),
            "text.min_confidence",
        ),
        (Case(name="a", text="b", expect=Expectation(gone=("b",))), Outcome(unread=True), "text.languages"),
        (Case(name="a", text="b", expect=Expectation(gone=("b",))), Outcome(), "text.mode"),
    ],
)
async def test_what_a_case_exercises(case: Case, outcome: Outcome, rule: str) -> None:
    report = await run_cases(POLICY, [Located(case, Path(), "a:1")], Told({"a": outcome}))
    assert report.results[0].exercised == {rule}


@pytest.mark.parametrize("name", ["healthcare", "finance"])
def test_the_shipped_cases_can_be_read(name: str) -> None:
    found, wrong = cases_of(SHIPPED / name / "policy.yaml")
    assert (len(found) > 50, wrong) == (True, ())
    assert len({located.case.name for located in found}) == len(found)
    assert load_policy(SHIPPED / name / "policy.yaml").name == name
