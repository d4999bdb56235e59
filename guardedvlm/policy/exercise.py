"""Which rules of a policy its cases exercise. A rule that no case exercises can be changed without anybody noticing.

Rules are what decides whether something is hidden, asked, said or admitted. Not among them: how much, how long and in
which form (`limits.max_seconds`, `say.max_tokens`, `say.release`, what a response carries, `inference`, `audit`,
`review`), which no single case can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guardedvlm.core.finding import Kind
from guardedvlm.errors import Reason
from guardedvlm.policy.cases import Bench, Case, Located, Outcome, failures
from guardedvlm.policy.model import GroundRule, Mode, Policy

LIMITS = ("max_bytes", "max_pixels", "max_side", "max_pages", "min_side")


def rules_of(policy: Policy) -> frozenset[str]:
    """Every rule of the policy, by the path of what says it."""
    return frozenset(_rules(policy))


def _rules(policy: Policy) -> Iterator[str]:
    yield from (f"hide.{kind}" for kind in policy.hide)
    yield from (f"keep.{kind}" for kind in policy.keep)
    yield from ("text.mode", "text.languages", "text.min_confidence", "ask.max_chars", "ask.personal", "say.personal")
    yield "text.instructions"
    if policy.say.grounding is not GroundRule.OFF:
        yield "say.grounding"
    if policy.text.mode is Mode.STRICT:  # in balanced mode nothing asks for it
        yield from (f"text.clear.{clear}" for clear in policy.text.clear)
    yield from (f"ask.forbid.{topic}" for topic in policy.ask.forbid)
    yield from (f"say.forbid.{topic}" for topic in policy.say.forbid)
    yield from (f"limits.{name}" for name in LIMITS)


@dataclass(frozen=True, slots=True)
class Result:
    """A case's failures, none where it passed, and the rules that it exercised."""

    located: Located
    failures: tuple[str, ...]
    exercised: frozenset[str]


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and the rules that there are."""

    results: tuple[Result, ...]
    rules: frozenset[str]

    @property
    def failed(self) -> tuple[Result, ...]:
        """Cases that failed."""
        return tuple(result for result in self.results if result.failures)

    @property
    def unexercised(self) -> tuple[str, ...]:
        """Rules that no case that passed exercises."""
        return tuple(sorted(self.rules.difference(*(one.exercised for one in self.results if not one.failures))))


async def run_cases(policy: Policy, cases: Sequence[Located], bench: Bench) -> Report:
    """Run every case. Raises what the bench raises."""
    results = []
    for located in cases:
        outcome = await bench.run(policy, located.case, located.folder)
        wrong = tuple(failures(policy, located.case, outcome))
        rules = frozenset() if wrong else await _exercised(policy, located, outcome, bench)
        results.append(Result(located, wrong, rules))
    return Report(tuple(results), rules_of(policy))


async def _exercised(policy: Policy, located: Located, outcome: Outcome, bench: Bench) -> frozenset[str]:
    case = located.case
    rules = set(_by_expectation(policy, case, outcome))
    if case.text is not None and case.expect.shown:
        rules |= {rule for rule, other in _without(policy) if await _fails(other, located, bench)}
    return frozenset(rules) & rules_of(policy)


def _by_expectation(policy: Policy, case: Case, outcome: Outcome) -> Iterator[str]:
    """Rules that a case which passed has shown at work by what it expects."""
    expect = case.expect
    part = "ask" if case.question is not None else "say"
    yield from (f"hide.{kind}" for kind in expect.hidden)
    yield from (f"keep.{kind}" for kind in expect.kept)
    yield from (f"{'keep' if kind in policy.keep else 'hide'}.{kind}" for kind in expect.actions)
    yield from (f"{part}.forbid.{topic}" for topic in expect.topics)
    if expect.refused is Reason.KIND_REFUSED and case.found is not None:
        yield from (f"hide.{kind}" for kind in case.found & policy.refused)
    if expect.gone and outcome.unread:
        yield "text.min_confidence" if case.confidence < policy.text.min_confidence else "text.languages"
    elif expect.gone and policy.text.mode is Mode.STRICT:
        yield "text.mode"
    if expect.instructs or expect.refused is Reason.INSTRUCTIONS_FOUND:
        yield "text.instructions"
    if outcome.ungrounded:
        yield "say.grounding"
    if expect.refused is Reason.QUESTION_TOO_LONG:
        yield "ask.max_chars"
    personal = expect.refused in (Reason.QUESTION_PERSONAL, Reason.ANSWER_REFUSED) and not expect.topics
    if personal or (
        expect.becomes is not None
        and any(f"{kind}-" in expect.becomes or f"[{kind}]" in expect.becomes for kind in Kind)
    ):
        yield f"{part}.personal"
    yield from _limits(policy, case)


def _limits(policy: Policy, case: Case) -> Iterator[str]:
    document, limits = case.document, policy.limits
    if document is None:
        return
    reason = case.expect.refused
    if reason is Reason.BYTES_TOO_LARGE:
        yield "limits.max_bytes"
    elif reason is Reason.TOO_MANY_PAGES:
        yield "limits.max_pages"
    elif reason is Reason.IMAGE_TOO_SMALL:
        yield "limits.min_side"
    elif reason is Reason.IMAGE_TOO_LARGE:
        too_long = max(document.width, document.height) > limits.max_side
        yield "limits.max_side" if too_long else "limits.max_pixels"


def _without(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Each rule that lets text stay, and the policy without it: a case that then fails exercises the rule."""
    if policy.text.mode is Mode.BALANCED:
        yield "text.mode", _changed(policy, mode=Mode.STRICT, clear=frozenset())
        return
    for clear in policy.text.clear:
        yield f"text.clear.{clear}", _changed(policy, clear=policy.text.clear - {clear})


def _changed(policy: Policy, **text: Any) -> Policy:
    return policy.model_copy(update={"text": policy.text.model_copy(update=text)})


async def _fails(policy: Policy, located: Located, bench: Bench) -> bool:
    outcome = await bench.run(policy, located.case, located.folder)
    return any(True for _ in failures(policy, located.case, outcome))
