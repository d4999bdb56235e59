"""The policy: what is looked for, what happens to it, what may be asked and said, and the limits.

Closed (an unknown key is an error), frozen, and never vacuous: a policy that looks for nothing is refused. No field can
switch detection, verification or the ledger off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from guardedvlm.core.change import Why
from guardedvlm.core.finding import PATTERN_KINDS, RESERVED_KINDS, TEXT_KINDS, VISUAL_KINDS, Action, Kind
from guardedvlm.core.ports import Sampling
from guardedvlm.policy.document import Contradiction, Contradictions
from guardedvlm.policy.extend import BASES
from guardedvlm.policy.legal import IDENTIFIERS, REFERENCE, RETENTION_DAYS, RETENTION_REFERENCE, Rule
from guardedvlm.policy.prohibited import Ground, broken
from guardedvlm.policy.vocabulary import Clear, DateLabels, GroundRule, Instructions, Mode, PersonalText, Release, Topic

__all__ = [
    "AuditRules",
    "ChangeNote",
    "Clear",
    "DateLabels",
    "GroundRule",
    "InferenceRules",
    "Instructions",
    "Limits",
    "Mode",
    "PersonalText",
    "Policy",
    "Release",
    "ReviewRules",
    "Topic",
]


MAX_NAME_DIGITS = 8
"""A record holds the policy's name, and no number as long as one that is somebody's (audit.facts)."""


class Section(BaseModel):
    """Base of every part: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=False, hide_input_in_errors=True)


class TextRules(Section):
    """How text is cleared."""

    mode: Mode = Mode.STRICT
    languages: Annotated[tuple[Literal["en", "de", "fr", "es"], ...], Field(min_length=1)] = ("en",)
    min_confidence: Annotated[float, Field(ge=0.5, le=1.0)] = 0.75
    clear: frozenset[Clear] = frozenset({Clear.LABELS, Clear.COMMON_WORDS})
    date_labels: DateLabels = DateLabels.RANDOM
    instructions: Instructions = Instructions.QUOTE  # text that speaks to the model, as injected prompts do


class AskRules(Section):
    """What may be asked."""

    max_chars: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    personal: PersonalText = PersonalText.LABEL
    forbid: frozenset[Topic] = frozenset(Topic) - {Topic.HEALTH}


class SayRules(Section):
    """What may be said."""

    max_tokens: Annotated[int, Field(ge=1, le=2_048)] = 512  # of an answer; of several pages, of each page's
    personal: PersonalText = PersonalText.MASK
    forbid: frozenset[Topic] = frozenset()
    release: Release = Release.SENTENCE
    # A claim that is in no word of the redacted picture: invented, or print too faint for every detector.
    grounding: GroundRule = GroundRule.MASK
    boxes: bool = True  # whether a caller gets the boxes of hidden regions
    redacted_image: bool = True  # whether a caller gets the redacted picture
    # Kinds whose labels a caller with the role `reidentify` may have undone: the strings that they stand for leave
    # sealed for the key that the tenants file names. Empty: nobody may.
    reidentify: frozenset[Kind] = frozenset()


class InferenceRules(Section):
    """How the model may be asked. A caller's wishes are brought inside these; `say.max_tokens` is one of them."""

    max_temperature: Annotated[float, Field(ge=0, le=2)] = (
        2.0  # 0: always the likeliest word, so answers can be repeated
    )
    max_top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int | None, Field(ge=0, lt=2**32)] = None  # of every call, whatever the caller says


class Limits(Section):
    """Limits of one request."""

    max_bytes: Annotated[int, Field(ge=1, le=512 * 2**20)] = 32 * 2**20
    max_pixels: Annotated[int, Field(ge=1, le=200_000_000)] = 40_000_000
    max_side: Annotated[int, Field(ge=16, le=60_000)] = 20_000
    max_pages: Annotated[int, Field(ge=1, le=500)] = 50
    min_side: Annotated[int, Field(ge=1, le=64)] = 8
    max_seconds: Annotated[float, Field(gt=0, le=600)] = 120.0


class AuditRules(Section):
    """What the ledger keeps, and how long."""

    retention_class: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "default"
    retention_days: Annotated[int, Field(ge=180, le=36_500)] = 2_192  # six years, 45 CFR 164.316(b)(2)(i)


class ReviewRules(Section):
    """Which redacted pictures are kept for a blind review, and how long. None unless a share or a margin is set."""

    random: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of the released requests, drawn at random
    # Scores this near to text.min_confidence, or verified at the last look that is allowed: kept, too. 0: not kept.
    margin: Annotated[float, Field(ge=0, le=0.25)] = 0.0
    days: Annotated[int, Field(ge=1, le=30)] = 7  # until the picture's key is destroyed

    @property
    def is_on(self) -> bool:
        """Whether any picture may be kept."""
        return self.random > 0 or self.margin > 0


class ChangeNote(Section):
    """Why this version was made; the ledger tells it when the policy takes effect."""

    why: Why


class ExpertDetermination(Section):
    """The document that `hipaa_expert` stands on: who says that the risk is very small, of what, and until when."""

    determination: Annotated[str, Field(min_length=1, max_length=200)]  # where the signed document is found
    policy_version: Annotated[str, Field(min_length=1, max_length=32)]  # the version of this policy that was examined
    determined: date
    expires: date


class GdprRecord(Section):
    """What the controller decided, where the regulation leaves the decision to it."""

    # Topic of Article 9(1) that may be spoken of -> the letter of Article 9(2) that allows it.
    special_categories: dict[Topic, Ground] = Field(default_factory=dict)
    impact_assessment: Annotated[str | None, Field(min_length=1, max_length=200)] = None  # where the document is found


class Policy(Section):
    """One tenant's policy."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[0-9]+)?$")]
    description: Annotated[str, Field(min_length=1, max_length=500)]
    rules: frozenset[Rule] = frozenset()  # what the policy claims to follow; checked (policy.legal)
    extends: Annotated[str | None, Field(exclude=True, repr=False)] = None  # a base; resolved before this (extend)
    hide: dict[Kind, Literal[Action.FILL, Action.LABEL, Action.REFUSE]]
    keep: frozenset[Kind] = frozenset()
    expert: ExpertDetermination | None = None  # with the rule hipaa_expert, and only with it
    gdpr: GdprRecord | None = None  # with the rule gdpr, and only with it
    text: TextRules = TextRules()
    ask: AskRules = AskRules()
    say: SayRules = SayRules()
    inference: InferenceRules = InferenceRules()
    limits: Limits = Limits()
    audit: AuditRules = AuditRules()
    review: ReviewRules = ReviewRules()
    change: ChangeNote | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Policy:
        """Refuse what leaves a kind open, hides nothing, contradicts itself or breaks a rule that it claims."""
        found = [*self._uncovered(), *self._mixed(), *self._unstreamable(), *self._illegal()]
        if found:
            raise Contradictions(found)
        return self

    def _uncovered(self) -> Iterator[Contradiction]:
        """Each kind is either hidden or deliberately kept: a kind that nobody thought of cannot pass unseen."""
        hidden = set(self.hide)
        if not hidden:
            yield Contradiction(("hide",), "the policy hides nothing; name at least FACE and one kind of text")
            return
        missing = set(Kind) - RESERVED_KINDS - self.keep - hidden
        if missing:
            yield Contradiction(("hide",), f"say 'hide' or 'keep' for: {', '.join(sorted(missing))}")
        if not hidden & (TEXT_KINDS - VISUAL_KINDS):
            yield Contradiction(("hide",), "the policy hides no kind of text")
        if not hidden & VISUAL_KINDS:
            yield Contradiction(("hide",), "the policy hides no kind of thing in the picture (FACE, CODE, SIGNATURE)")

    def _mixed(self) -> Iterator[Contradiction]:
        """Parts that say opposite things."""
        for kind in sorted(RESERVED_KINDS & set(self.hide)):
            yield Contradiction(("hide", kind.value), f"{kind} is the guard's own kind and always hidden; remove it")
        for kind in sorted(RESERVED_KINDS & self.keep):
            yield Contradiction(("keep",), f"{kind} is the guard's own kind and always hidden; it cannot be kept")
        for kind in sorted(self.keep & set(self.hide)):
            yield Contradiction(("hide", kind.value), f"{kind} is under both 'hide' and 'keep'")
        for clear, kind in ((Clear.DATES, Kind.DATE), (Clear.AMOUNTS, Kind.AMOUNT)):
            if clear in self.text.clear and kind in self.hide:
                yield Contradiction(("text", "clear"), f"text.clear names {clear}, but {kind} is hidden")
        if self.text.date_labels is DateLabels.INTERVAL and self.hide.get(Kind.DATE) is not Action.LABEL:
            yield Contradiction(("text", "date_labels"), "text.date_labels is interval, but hide.DATE is not label")
        if sum(map(str.isdigit, self.name)) > MAX_NAME_DIGITS:
            yield Contradiction(("name",), f"has more than {MAX_NAME_DIGITS} digits; no record could hold it")
        if self.name == BASES:
            yield Contradiction(("name",), f"{BASES!r} is the folder of the bases; choose another name")
        unlabelled = sorted(kind for kind in self.say.reidentify if self.hide.get(kind) is not Action.LABEL)
        if unlabelled:
            explanation = f"say.reidentify names what has no label under 'hide': {', '.join(unlabelled)}"
            yield Contradiction(("say", "reidentify"), explanation)

    def _unstreamable(self) -> Iterator[Contradiction]:
        """Rules that decide whole sentences, because they change their mind with what follows, and `token`."""
        if self.say.release is not Release.TOKEN:
            return
        where, why = ("say", "release"), "say.release is token, but a rule decides whole sentences:"
        if sentence_kinds := sorted(set(self.hide) - PATTERN_KINDS - VISUAL_KINDS):
            yield Contradiction(where, f"{why} hide {', '.join(sentence_kinds)} (use sentence)")
        if self.say.forbid:
            yield Contradiction(where, f"{why} say.forbid (use sentence)")
        if self.say.grounding is not GroundRule.OFF:
            yield Contradiction(where, f"{why} say.grounding {self.say.grounding} (use sentence)")

    def _illegal(self) -> Iterator[Contradiction]:
        """What the claimed rules ask for and the policy does not do."""
        for rule in sorted(self.rules):
            for identifier in IDENTIFIERS.get(rule, ()):
                kept = sorted(identifier.kinds & self.keep)
                if kept:
                    asked = f"{rule} ({REFERENCE[rule].format(identifier.paragraph)}, {identifier.name})"
                    yield Contradiction(("keep",), f"{asked} asks to hide: {', '.join(kept)}")
            if self.audit.retention_days < RETENTION_DAYS.get(rule, 0):
                asked = (
                    f"{rule} ({RETENTION_REFERENCE[rule]}) asks for at least {RETENTION_DAYS[rule]} days of evidence"
                )
                yield Contradiction(("audit", "retention_days"), f"{asked}, not {self.audit.retention_days}")
        for where, explanation in broken(self, datetime.now(UTC).date()):
            yield Contradiction(where, explanation)

    def in_force(self, day: date) -> bool:
        """Whether the policy may be used on `day`: an expert's determination that it stands on has not expired."""
        return self.expert is None or self.expert.determined <= day < self.expert.expires

    def hides(self, kind: Kind) -> bool:
        """Whether a finding of `kind` may not stay."""
        return self.action(kind) is not Action.KEEP

    def action(self, kind: Kind) -> Action:
        """What happens to a finding of `kind`; kinds that the guard gives itself are filled, and so is, until the
        document is refused for it, one of `refused`."""
        if kind in self.keep:
            return Action.KEEP
        action = self.hide.get(kind, Action.FILL)
        return Action.FILL if action is Action.REFUSE else action

    @property
    def refused(self) -> frozenset[Kind]:
        """Kinds for which a whole document is refused."""
        return frozenset(kind for kind, action in self.hide.items() if action is Action.REFUSE)

    def sampling(self, wished: Sampling) -> Sampling:
        """`wished` inside what the policy allows."""
        rules = self.inference
        return Sampling(
            max_tokens=min(wished.max_tokens, self.say.max_tokens),
            temperature=min(wished.temperature, rules.max_temperature),
            top_p=min(wished.top_p, rules.max_top_p),
            seed=wished.seed if rules.seed is None else rules.seed,
        )

    def canonical(self) -> str:
        """Effective values as canonical JSON: what the digest covers and what GetPolicy shows."""
        return json.dumps(_sorted(self.model_dump(mode="json")), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of the canonical form, as hex."""
        return hashlib.sha256(b"guardedvlm.v1.policy\x00" + self.canonical().encode()).hexdigest()


def _sorted(value: object) -> object:
    """JSON value with the members of every set in order (pydantic dumps sets in hash order)."""
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_sorted(item) for item in value]
        return sorted(items, key=str) if all(isinstance(item, str) for item in items) else items
    return value
