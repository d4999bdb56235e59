"""What a screen did, for the audit: kinds and counts, never content."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from guardedvlm.core.finding import Kind
from guardedvlm.core.grounding import Ground
from guardedvlm.policy.model import PersonalText, Topic


class Verdict(StrEnum):
    """What the screen decided."""

    ALLOW = "allow"
    MODIFY = "modify"
    DENY = "deny"


class Deed(StrEnum):
    """What was done to enforce the verdict."""

    NONE = "none"
    LABEL = "label"
    MASK = "mask"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """Verdict, deed, number of edits by kind and of claims by ground (sorted), and the forbidden topics that it met."""

    verdict: Verdict
    deed: Deed
    edits: tuple[tuple[Kind, int], ...] = ()
    grounds: tuple[tuple[Ground, int], ...] = ()
    topics: tuple[Topic, ...] = ()


class Tally:
    """Counts while a screen works."""

    def __init__(self) -> None:
        self.edits: Counter[Kind] = Counter()
        self.grounds: Counter[Ground] = Counter()
        self.topics: frozenset[Topic] = frozenset()
        self.denied = False

    def report(self, personal: PersonalText) -> ScreenReport:
        """The report so far, under a policy that treats personal spans as `personal`."""
        edits = tuple(sorted((+self.edits).items()))
        grounds = tuple(sorted(self.grounds.items()))
        topics = tuple(sorted(self.topics))
        if self.denied:
            return ScreenReport(Verdict.DENY, Deed.REFUSE, edits, grounds, topics)
        if edits:
            return ScreenReport(Verdict.MODIFY, Deed(personal.value), edits, grounds)
        if self.grounds[Ground.MASKED]:
            return ScreenReport(Verdict.MODIFY, Deed.MASK, grounds=grounds)
        return ScreenReport(Verdict.ALLOW, Deed.NONE, grounds=grounds)
