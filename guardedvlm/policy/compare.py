"""What changed between two policies, and whether each change is *weaker*, *stronger* or *other*.

Weaker: something that was hidden, refused or kept as evidence no longer is, or not as much. Every value of the schema
has its measure here (a test says so), so that what somebody adds later cannot pass as harmless.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from guardedvlm.core.finding import RESERVED_KINDS, Action, Kind
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.model import Policy
from guardedvlm.policy.vocabulary import Clear, DateLabels, GroundRule, Instructions, Mode, PersonalText, Release, Topic


class Effect(StrEnum):
    """What a change does."""

    WEAKER = "weaker"
    STRONGER = "stronger"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; of a set, one member that came or went. `path` is where it stands: `hide.FACE`."""

    path: str
    old: str
    new: str
    effect: Effect


Measure: TypeAlias = Callable[[Any], float]
"""How strict a value is: more is stricter."""


def _order(*words: str) -> Measure:
    """Words from the weakest to the strictest. One that is not known here counts as the weakest."""
    ranks = {word: float(rank) for rank, word in enumerate(words, start=1)}
    return lambda value: ranks.get(value, 0.0)


def _more(value: float) -> float:
    return value


def _less(value: float) -> float:
    return -value


def _no(value: Any) -> float:
    """Stricter where the value is false: what is given out."""
    return 0.0 if value else 1.0


def _yes(value: Any) -> float:
    return 1.0 if value else 0.0


MEASURES: Mapping[str, Measure | None] = {
    "name": None,
    "version": None,
    "description": None,
    # A label tells which are equal, and a refused document tells nothing.
    "hide": _order(Action.KEEP, Action.LABEL, Action.FILL, Action.REFUSE),
    "rules": _yes,
    "expert.determination": None,
    "expert.policy_version": None,
    "expert.determined": None,
    "expert.expires": None,
    "gdpr.special_categories": _no,
    "gdpr.impact_assessment": None,
    "text.mode": _order(Mode.BALANCED, Mode.STRICT),
    "text.languages": _no,
    "text.min_confidence": _more,
    "text.clear": _no,
    "text.instructions": _order(Instructions.FLAG, Instructions.QUOTE, Instructions.REFUSE),
    "text.date_labels": _order(DateLabels.INTERVAL, DateLabels.RANDOM),
    "ask.max_chars": _less,
    "ask.personal": _order(PersonalText.LABEL, PersonalText.MASK, PersonalText.REFUSE),
    "ask.forbid": _yes,
    "say.max_tokens": _less,
    "say.personal": _order(PersonalText.LABEL, PersonalText.MASK, PersonalText.REFUSE),
    "say.forbid": _yes,
    "say.release": _order(Release.TOKEN, Release.SENTENCE, Release.WHOLE),
    "say.grounding": _order(GroundRule.OFF, GroundRule.FLAG, GroundRule.MASK, GroundRule.REFUSE),
    "say.boxes": _no,
    "say.redacted_image": _no,
    "say.reidentify": _no,
    "inference.max_temperature": None,
    "inference.max_top_p": None,
    "inference.seed": None,
    "limits.max_bytes": _less,
    "limits.max_pixels": _less,
    "limits.max_side": _less,
    "limits.max_pages": _less,
    "limits.min_side": _more,
    "limits.max_seconds": None,
    "audit.retention_class": None,
    "audit.retention_days": _more,  # the ledger holds no personal data: to keep it longer hurts nobody
    "review.random": _less,  # a picture that is kept can get out
    "review.margin": _less,
    "review.days": _less,
    "change.why": None,
}
"""How strict a value is; None where more is neither stricter nor weaker. Members of sets are yes or no."""

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "rules": tuple(Rule),
    "text.clear": tuple(Clear),
    "ask.forbid": tuple(Topic),
    "say.forbid": tuple(Topic),
    "say.reidentify": tuple(Kind),
}


def compare(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Every difference between two policies, by path. Of equal ones none."""
    before, after = facts_of(old), facts_of(new)
    return tuple(
        Change(path, _told(before.get(path)), _told(after.get(path)), _effect(path, before.get(path), after.get(path)))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    )


def measure_of(path: str) -> tuple[bool, Measure | None]:
    """Whether the schema's value at `path` is known here, and its measure."""
    for known in (path, path.rpartition(".")[0]):
        if known in MEASURES:
            return True, MEASURES[known]
    return False, None


def facts_of(policy: Policy) -> dict[str, Any]:
    """A policy as plain values by path. A kind has one: what is done to it; a set's members are present or absent."""
    facts: dict[str, Any] = {
        f"hide.{kind}": policy.hide.get(kind, Action.KEEP).value for kind in Kind if kind not in RESERVED_KINDS
    }
    dumped = json.loads(policy.canonical())
    for key, value in dumped.items():
        if key not in ("hide", "keep"):
            facts |= dict(_flat(key, value))
    return facts


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The plain values at and below `path`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for member in {*_MEMBERS.get(path, ()), *map(str, value)}:
            yield f"{path}.{member}", member in value
    else:
        yield path, value


def _effect(path: str, old: Any, new: Any) -> Effect:
    measure = measure_of(path)[1]
    if measure is None:
        return Effect.OTHER
    # A member that one of the two does not know at all (a language, a ground) is absent there.
    before, after = (measure(value if value is not None else False) for value in (old, new))
    if before == after:
        return Effect.OTHER
    return Effect.STRONGER if after > before else Effect.WEAKER


def _told(value: Any) -> str:
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
