"""Weaker and stronger are opposites, equal policies have no changes, and every value of the schema has a measure."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from guardedvlm.core.change import Why
from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind
from guardedvlm.policy.compare import MEASURES, Effect, compare, facts_of, measure_of
from guardedvlm.policy.explain import _bare
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.model import (
    AskRules,
    AuditRules,
    ChangeNote,
    GdprRecord,
    InferenceRules,
    Limits,
    Policy,
    Release,
    ReviewRules,
    SayRules,
    TextRules,
    Topic,
)
from guardedvlm.policy.vocabulary import Clear, DateLabels, Mode, PersonalText

POLICIES = Path(__file__).parents[2] / "policies"
KINDS = sorted(kind for kind in Kind if kind not in RESERVED_KINDS)
OPPOSITE = {Effect.WEAKER: Effect.STRONGER, Effect.STRONGER: Effect.WEAKER, Effect.OTHER: Effect.OTHER}


def policy_of(seed: int) -> Policy:
    """Any policy of the schema, legal or not: `compare` is asked before a candidate is in force."""
    dice = random.Random(seed)

    def some(values: Iterable[Any], most: int = 3) -> frozenset[Any]:
        return frozenset(dice.sample(sorted(values), dice.randint(0, most)))

    hide = {kind: dice.choice(list(Action)) if dice.random() < 0.1 else Action.LABEL for kind in KINDS}
    return Policy.model_construct(
        name=dice.choice("ab"),
        version="2026-01-01",
        description="x",
        rules=some(Rule, 2),
        hide={kind: action for kind, action in hide.items() if action is not Action.KEEP},
        keep=frozenset(kind for kind, action in hide.items() if action is Action.KEEP),
        expert=None,
        gdpr=None,
        text=TextRules(
            mode=dice.choice(list(Mode)),
            languages=dice.choice([("en",), ("de",), ("en", "de")]),
            clear=some(Clear),
            date_labels=dice.choice(list(DateLabels)),
        ),
        ask=AskRules(max_chars=dice.randint(1, 3), personal=dice.choice(list(PersonalText)), forbid=some(Topic)),
        say=SayRules(
            max_tokens=dice.randint(1, 3),
            personal=dice.choice(list(PersonalText)),
            forbid=some(Topic),
            release=dice.choice(list(Release)),
            boxes=dice.random() < 0.5,
            reidentify=some(KINDS, 2),
        ),
        inference=InferenceRules(seed=dice.choice([None, 0, 1])),
        limits=Limits(max_pages=dice.randint(1, 3), min_side=dice.randint(1, 3)),
        audit=AuditRules(retention_days=dice.randint(180, 182)),
        review=ReviewRules(random=dice.choice([0, 0.1]), margin=dice.choice([0, 0.1]), days=dice.randint(1, 3)),
        change=dice.choice([None, ChangeNote(why=Why.LAW), ChangeNote(why=Why.REVIEW)]),
    )


def policies() -> st.SearchStrategy[Policy]:
    return st.integers(0, 2**32).map(policy_of)


@settings(max_examples=60)
@given(policies())
def test_a_policy_and_itself_have_no_changes(policy: Policy) -> None:
    assert compare(policy, policy) == ()


@settings(max_examples=60)
@given(policies(), policies())
def test_weaker_and_stronger_are_opposites(old: Policy, new: Policy) -> None:
    there = {change.path: change for change in compare(old, new)}
    back = {change.path: change for change in compare(new, old)}
    assert there.keys() == back.keys()
    for path, change in there.items():
        assert (change.old, change.new) == (back[path].new, back[path].old)
        assert change.effect is OPPOSITE[back[path].effect]


@settings(max_examples=60)
@given(policies(), policies())
def test_nothing_differs_that_is_not_told(old: Policy, new: Policy) -> None:
    assert bool(compare(old, new)) == (old.digest() != new.digest())


@settings(max_examples=60)
@given(policies(), policies(), policies())
def test_a_way_of_stronger_steps_is_stronger(a: Policy, b: Policy, c: Policy) -> None:
    first, second = ({change.path: change.effect for change in compare(*pair)} for pair in ((a, b), (b, c)))
    whole = {change.path: change.effect for change in compare(a, c)}
    for path in first.keys() & second.keys():
        if first[path] is second[path] is not Effect.OTHER:
            assert whole[path] is first[path]


def paths(model: type[BaseModel], path: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner: Any = _bare(field.annotation)
        if field.exclude:
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += paths(inner, f"{path}{name}.")
        else:
            found.append(f"{path}{name}")
    return found


def test_every_value_of_the_schema_has_a_measure() -> None:
    assert set(paths(Policy)) - {"keep"} == set(MEASURES)
    for path in facts_of(load_policy(POLICIES / "healthcare" / "policy.yaml")):
        assert measure_of(path)[0] or path in ("expert", "gdpr", "change"), path


HEALTH = load_policy(POLICIES / "healthcare" / "policy.yaml")


def changed(**parts: Any) -> Policy:
    updates = {
        name: getattr(HEALTH, name).model_copy(update=value) if isinstance(value, dict) and name != "hide" else value
        for name, value in parts.items()
    }
    return HEALTH.model_copy(update=updates)


@pytest.mark.parametrize(
    ("new", "path", "effect"),
    [
        (changed(hide={**HEALTH.hide, Kind.PERSON: Action.FILL}), "hide.PERSON", Effect.STRONGER),
        (changed(hide={**HEALTH.hide, Kind.MRZ: Action.REFUSE}), "hide.MRZ", Effect.STRONGER),
        (changed(hide={**HEALTH.hide, Kind.FACE: Action.LABEL}), "hide.FACE", Effect.WEAKER),
        (changed(text={"mode": Mode.BALANCED}), "text.mode", Effect.WEAKER),
        (changed(text={"languages": ("en", "de")}), "text.languages.de", Effect.WEAKER),
        (changed(text={"clear": HEALTH.text.clear - {Clear.NUMBERS}}), "text.clear.numbers", Effect.STRONGER),
        (changed(text={"min_confidence": 0.6}), "text.min_confidence", Effect.WEAKER),
        (changed(ask={"forbid": frozenset(Topic)}), "ask.forbid.health", Effect.STRONGER),
        (changed(say={"forbid": HEALTH.say.forbid - {Topic.RELIGION}}), "say.forbid.religion", Effect.WEAKER),
        (changed(say={"release": Release.SENTENCE}), "say.release", Effect.WEAKER),
        (changed(say={"reidentify": frozenset({Kind.PERSON})}), "say.reidentify.PERSON", Effect.WEAKER),
        (changed(say={"personal": PersonalText.REFUSE}), "say.personal", Effect.STRONGER),
        (changed(rules=frozenset()), "rules.hipaa_safe_harbor", Effect.WEAKER),
        (changed(audit={"retention_days": 2193}), "audit.retention_days", Effect.STRONGER),
        (changed(review={"random": 0.1}), "review.random", Effect.WEAKER),
        (changed(review={"margin": 0.1}), "review.margin", Effect.WEAKER),
        (changed(review={"days": 8}), "review.days", Effect.WEAKER),
        (changed(limits={"max_pages": 51}), "limits.max_pages", Effect.WEAKER),
        (changed(limits={"min_side": 9}), "limits.min_side", Effect.STRONGER),
        (changed(inference={"seed": 7}), "inference.seed", Effect.OTHER),
        (changed(version="2026-12-01"), "version", Effect.OTHER),
    ],
)
def test_what_a_change_does(new: Policy, path: str, effect: Effect) -> None:
    (found,) = compare(HEALTH, new)
    assert (found.path, found.effect) == (path, effect)


def test_another_ground_is_neither_weaker_nor_stronger() -> None:
    grounds = [GdprRecord(special_categories={Topic.HEALTH: letter}) for letter in ("a", "h")]
    old, new = (HEALTH.model_copy(update={"gdpr": ground}) for ground in grounds)
    assert [change.effect for change in compare(old, new)] == [Effect.OTHER]
    assert [change.effect for change in compare(HEALTH, new) if change.path.endswith("health")] == [Effect.WEAKER]


def test_a_kind_that_is_kept_from_now_on_is_weaker() -> None:
    hide = {kind: action for kind, action in HEALTH.hide.items() if kind is not Kind.DATE}
    (found,) = compare(HEALTH, changed(hide=hide, keep=HEALTH.keep | {Kind.DATE}))
    assert (found.path, found.old, found.new, found.effect) == ("hide.DATE", "label", "keep", Effect.WEAKER)
