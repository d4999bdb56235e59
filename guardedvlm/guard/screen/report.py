"""What a screen did, for the audit: kinds and counts, never content."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from guardedvlm.core.finding import Kind
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
    """Verdict, deed, number of edits by kind (sorted) and the forbidden topics that were met."""

    verdict: Verdict
    deed: Deed
    edits: tuple[tuple[Kind, int], ...] = ()
    topics: tuple[Topic, ...] = ()


class Tally:
    """Counts while a screen works."""

    def __init__(self) -> None:
        self.edits: Counter[Kind] = Counter()
        self.topics: frozenset[Topic] = frozenset()
        self.denied = False

    def report(self, personal: PersonalText) -> ScreenReport:
        """The report so far, under a policy that treats personal spans as `personal`."""
        edits = tuple(sorted(self.edits.items()))
        topics = tuple(sorted(self.topics))
        if self.denied:
            return ScreenReport(Verdict.DENY, Deed.REFUSE, edits, topics)
        if edits:
            return ScreenReport(Verdict.MODIFY, Deed(personal.value), edits)
        return ScreenReport(Verdict.ALLOW, Deed.NONE)
