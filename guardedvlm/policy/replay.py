"""What would a new policy have said? Decided from the facts that a ledger holds of past requests, where they decide it.

A verdict is how a request ended (released, or refused for a reason) and what was hidden and edited on the way. A record
holds no text and no pixels, so much cannot be known: whether a word would have been cleared, what a model would have
said. That is *undecidable*, and never counted as unchanged. A value that nothing here knows is undecidable, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import FINAL, State
from guardedvlm.core.ports import FinishReason
from guardedvlm.errors import Reason
from guardedvlm.policy.compare import Change, compare
from guardedvlm.policy.model import Instructions, Mode, Policy

ANSWERLESS = frozenset({Reason.INTERNAL, Reason.CANCELLED, Reason.DEADLINE_EXCEEDED, Reason.STAGE_TIMEOUT})
"""Refusals that say nothing of what a policy would have done: the request ended before it was known."""
BY_QUESTION = frozenset(
    {
        *(Reason.QUESTION_EMPTY, Reason.QUESTION_TOO_LONG, Reason.QUESTION_LANGUAGE, Reason.QUESTION_FORBIDDEN),
        *(Reason.QUESTION_PERSONAL, Reason.FIELD_INVALID),
    }
)
BY_DOCUMENT = frozenset(
    {
        *(Reason.EMPTY_INPUT, Reason.FORMAT_UNSUPPORTED, Reason.FORMAT_MISMATCH, Reason.IMAGE_CORRUPT),
        *(Reason.IMAGE_TOO_SMALL, Reason.IMAGE_TOO_LARGE, Reason.BYTES_TOO_LARGE, Reason.TOO_MANY_PAGES),
        *(Reason.DOCUMENT_ENCRYPTED, Reason.NO_PIXELS),
    }
)

BEFORE_INSTRUCTIONS = BY_QUESTION | BY_DOCUMENT | {Reason.KIND_REFUSED, Reason.RESIDUAL_FOUND, Reason.POLICY_FORBIDS}
"""Refusals that come before anybody looks for what speaks to the model."""


class Verdict(StrEnum):
    """What a new policy means for a past request."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNDECIDABLE = "undecidable"


SAME, OTHER, UNKNOWN = Verdict.UNCHANGED, Verdict.CHANGED, Verdict.UNDECIDABLE


@dataclass(frozen=True, slots=True)
class Past:
    """A past request: the digest of its policy ("" before there was one), how far it came, and its facts together."""

    request: str
    policy: str
    asks: bool  # for an answer, not only for a redaction
    reached: frozenset[State]
    reason: Reason | None
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def released(self) -> bool:
        """Whether something left."""
        return State.RELEASED in self.reached


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one request, and the values that decide it, or that would have to be known."""

    past: Past
    verdict: Verdict
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """One change and one past request."""

    change: Change
    past: Past
    old: Policy
    new: Policy

    @property
    def member(self) -> str:
        return self.change.path.rpartition(".")[2]


_Rule: TypeAlias = Callable[[_Case], Verdict]


def replay(past: Past, known: Mapping[str, Policy], new: Policy) -> Replayed:
    """What `new` would have meant for `past`; `known` are policies that were in force, by digest."""
    if not past.reached & FINAL:
        return Replayed(past, UNKNOWN, ("unfinished",))
    if not past.policy or past.policy == new.digest():
        return Replayed(past, SAME, ())
    old = known.get(past.policy)
    if old is None:
        return Replayed(past, UNKNOWN, ("policy",))
    found = {change.path: _decided(_Case(change, past, old, new)) for change in compare(old, new)}
    for verdict in (OTHER, UNKNOWN):
        if because := tuple(path for path, said in found.items() if said is verdict):
            return Replayed(past, verdict, because)
    return Replayed(past, SAME, ())


def _decided(case: _Case) -> Verdict:
    path = case.change.path
    for known in (path, path.rpartition(".")[0], path.partition(".")[0]):
        if known in _RULES:
            return _RULES[known](case)
    return UNKNOWN


def _never(_: _Case) -> Verdict:
    """Of values that no verdict depends on."""
    return SAME


def _hide(case: _Case) -> Verdict:
    past, kind = case.past, Kind(case.member)
    if State.REDACTED not in past.reached:
        return _unfound(case, kind)
    verified, found = past.facts.get("verification"), past.facts.get("findings")
    if found is None or verified is None:
        return UNKNOWN
    if kind in verified["residual"] or any(one["kind"] == kind for one in found):
        return OTHER
    return _in_text(case, kind) if past.asks else SAME


def _unfound(case: _Case, kind: Kind) -> Verdict:
    """Of a request that ended before what was found in it was written down."""
    reason = case.past.reason
    if reason in BY_DOCUMENT or reason in (Reason.QUESTION_EMPTY, Reason.QUESTION_TOO_LONG, Reason.QUESTION_LANGUAGE):
        return SAME
    if reason is Reason.QUESTION_FORBIDDEN and kind not in (Kind.PERSON, Kind.FACE):  # their labels are people
        return SAME
    if reason is Reason.KIND_REFUSED and case.old.hide.get(kind) is not Action.REFUSE:
        return SAME
    return UNKNOWN


def _in_text(case: _Case, kind: Kind) -> Verdict:
    """Of question and answer: what a policy hides was counted there; what it kept was not looked at. How a kind is
    hidden in the picture makes no difference to them."""
    was_kept, is_kept = (policy.action(kind) is Action.KEEP for policy in (case.old, case.new))
    if was_kept is is_kept:
        return SAME
    if was_kept:
        return UNKNOWN
    screens = [case.past.facts.get(name) for name in ("prompt_screen", "answer_screen")]
    if any(kind in screen["found"] for screen in screens if screen):
        return OTHER
    return SAME if all(screens) or case.past.reason in (BY_QUESTION | {Reason.RESIDUAL_FOUND}) else UNKNOWN


def _text(case: _Case) -> Verdict:
    past = case.past
    if past.reason in BY_DOCUMENT:
        return SAME
    if past.reason in BY_QUESTION and State.REDACTED not in past.reached:
        return UNKNOWN if case.change.path.startswith("text.languages") else SAME
    return UNKNOWN


def _instructions(case: _Case) -> Verdict:
    """What speaks to the model is looked for last before it is asked, and counted whatever the policy says of it."""
    past, count = case.past, case.past.facts.get("instructions")
    if not past.asks or past.reason in BEFORE_INSTRUCTIONS:
        return SAME
    if past.reason is Reason.INSTRUCTIONS_FOUND:
        return OTHER  # it no longer refuses
    if count == 0:
        return SAME
    if count is None or case.new.text.instructions is not Instructions.REFUSE:
        return UNKNOWN  # the model would have been asked in other words
    return OTHER


def _clear(case: _Case) -> Verdict:
    """Balanced policies show what was read, whatever the classes are."""
    is_idle = case.old.text.mode is Mode.BALANCED and case.new.text.mode is Mode.BALANCED
    return SAME if is_idle else _text(case)


def _date_labels(case: _Case) -> Verdict:
    found = case.past.facts.get("findings")
    if State.REDACTED in case.past.reached and found is not None:
        return UNKNOWN if any(one["kind"] == Kind.DATE for one in found) else SAME
    return _text(case)


def _question_length(case: _Case) -> Verdict:
    if not case.past.asks:
        return SAME
    is_longer = case.new.ask.max_chars > case.old.ask.max_chars
    return SAME if is_longer is not (case.past.reason is Reason.QUESTION_TOO_LONG) else UNKNOWN


def _topic(screen: str, refusal: Reason) -> _Rule:
    """Of a topic that is forbidden, or no longer. Only topics that were forbidden were written down."""

    def rule(case: _Case) -> Verdict:
        past, refused = case.past, case.past.reason is refusal
        if not past.asks or (screen == "answer_screen" and State.GENERATING not in past.reached):
            return SAME
        if case.change.new == "yes":
            return SAME if refused or past.reason is Reason.QUESTION_FORBIDDEN else UNKNOWN
        if not refused:
            return SAME
        topics = past.facts.get(screen, {}).get("topics")
        if topics is None:
            return UNKNOWN
        forbidden = case.new.ask.forbid if screen == "prompt_screen" else case.new.say.forbid
        return OTHER if topics and case.member in topics and not forbidden & set(topics) else SAME

    return rule


def _personal(screen: str) -> _Rule:
    def rule(case: _Case) -> Verdict:
        is_before = screen == "answer_screen" and State.GENERATING not in case.past.reached
        if not case.past.asks or is_before:
            return SAME
        seen = case.past.facts.get(screen)
        if seen is None:
            return UNKNOWN
        return OTHER if any(seen["found"].values()) else SAME

    return rule


def _tokens(case: _Case) -> Verdict:
    facts, limit = case.past.facts, case.new.say.max_tokens
    if State.GENERATING not in case.past.reached:
        return SAME
    written, finish = facts.get("output_tokens"), facts.get("finish")
    if written is None or finish is None:
        return UNKNOWN
    if written <= limit:
        return UNKNOWN if finish is FinishReason.LENGTH else SAME
    return (
        OTHER if facts.get("pages") == 1 else UNKNOWN
    )  # of several pages the limit is each one's, and here is the sum


def _grounding(case: _Case) -> Verdict:
    """Which claims are not in the picture depends on words that nobody wrote down."""
    return UNKNOWN if State.GENERATING in case.past.reached else SAME


def _release(case: _Case) -> Verdict:
    """What left before a refusal depends on it, and nothing else."""
    return SAME if case.past.released or State.GENERATING not in case.past.reached else UNKNOWN


def _boxes(case: _Case) -> Verdict:
    regions = case.past.facts.get("regions")
    if regions is None and case.past.released:
        return UNKNOWN
    return OTHER if case.past.released and any((regions or {}).values()) else SAME


def _picture(case: _Case) -> Verdict:
    """Whether the caller of an analysis wanted the picture was not written down; a redaction is nothing else."""
    if case.past.reason is Reason.POLICY_FORBIDS or case.past.asks:
        return UNKNOWN
    return OTHER if case.past.released else SAME


def _reidentify(case: _Case) -> Verdict:
    wanted = case.past.facts.get("sealed_labels") is not None or case.past.reason is Reason.POLICY_FORBIDS
    return UNKNOWN if wanted else SAME


def _inference(case: _Case) -> Verdict:
    return UNKNOWN if State.GENERATING in case.past.reached else SAME


def _bytes(case: _Case) -> Verdict:
    size, limit = case.past.facts.get("input_bytes"), case.new.limits.max_bytes
    if case.past.reason in BY_QUESTION and State.DECODED not in case.past.reached:
        return SAME  # the question is looked at first
    if size is None:
        return UNKNOWN
    return OTHER if (case.past.reason is Reason.BYTES_TOO_LARGE) is not (size > limit) else SAME


def _pages(case: _Case) -> Verdict:
    def is_over(facts: Mapping[str, Any]) -> bool:
        return bool(facts["pages"] > case.new.limits.max_pages)

    return _decoded(case, Reason.TOO_MANY_PAGES, is_over, case.new.limits.max_pages > case.old.limits.max_pages)


def _side(case: _Case) -> Verdict:
    limits, name = case.new.limits, case.member

    def is_over(facts: Mapping[str, Any]) -> bool | None:
        width, height = facts["width"], facts["height"]
        over: bool = {
            "max_side": max(width, height) > limits.max_side,
            "max_pixels": width * height > limits.max_pixels,
            "min_side": min(width, height) < limits.min_side,
        }[name]
        return over or (False if facts["pages"] == 1 else None)  # of the first page only

    is_wider = getattr(case.new.limits, name) > getattr(case.old.limits, name)
    reason = Reason.IMAGE_TOO_SMALL if name == "min_side" else Reason.IMAGE_TOO_LARGE
    return _decoded(case, reason, is_over, is_wider is not (name == "min_side"))


def _decoded(
    case: _Case, reason: Reason, is_over: Callable[[Mapping[str, Any]], bool | None], is_wider: bool
) -> Verdict:
    """Of a limit that holds for what was decoded; `is_over` is None where the facts do not say."""
    past = case.past
    if past.reason is reason:
        return UNKNOWN if is_wider else SAME
    if is_wider:
        return SAME
    if State.DECODED in past.reached:
        if not {"pages", "width", "height"} <= past.facts.keys():
            return UNKNOWN
        return {True: OTHER, False: SAME, None: UNKNOWN}[is_over(past.facts)]
    return SAME if past.reason in BY_QUESTION or past.reason is Reason.BYTES_TOO_LARGE else UNKNOWN


def _seconds(case: _Case) -> Verdict:
    taken = case.past.facts.get("timings", {}).get("total")
    if taken is None or case.past.reason in ANSWERLESS:
        return UNKNOWN
    return SAME if taken < 1000 * case.new.limits.max_seconds else UNKNOWN


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("name", "version", "description", "rules", "expert", "gdpr", "audit", "review", "change"), _never),
    "hide": _hide,
    "text": _text,
    "text.clear": _clear,
    "text.date_labels": _date_labels,
    "text.instructions": _instructions,
    "ask.max_chars": _question_length,
    "ask.personal": _personal("prompt_screen"),
    "ask.forbid": _topic("prompt_screen", Reason.QUESTION_FORBIDDEN),
    "say.max_tokens": _tokens,
    "say.personal": _personal("answer_screen"),
    "say.forbid": _topic("answer_screen", Reason.ANSWER_REFUSED),
    "say.release": _release,
    "say.grounding": _grounding,
    "say.boxes": _boxes,
    "say.redacted_image": _picture,
    "say.reidentify": _reidentify,
    "inference": _inference,
    "limits.max_bytes": _bytes,
    "limits.max_pages": _pages,
    "limits.max_side": _side,
    "limits.max_pixels": _side,
    "limits.min_side": _side,
    "limits.max_seconds": _seconds,
}
"""By path; a section stands for everything in it that is not named. What is not here is undecidable."""


def counted(replayed: Sequence[Replayed]) -> dict[Verdict, int]:
    """How many of each verdict."""
    return {verdict: sum(one.verdict is verdict for one in replayed) for verdict in Verdict}
