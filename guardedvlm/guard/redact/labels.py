"""Pseudonyms of one request: PERSON-A for every place, on every page, where the same hidden thing stands.

The letter tells nothing: it is not derived from the data, and the order in which letters are dealt is random (45 CFR
164.514(c): a re-identification code may not be derived from information about the individual). Where the policy asks
for intervals, and only there, the label of a date tells its distance from another one: DATE-A, DATE-A+14d.
"""

from __future__ import annotations

import secrets
import string
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from itertools import product

from guardedvlm.core.finding import Action, Finding, Kind
from guardedvlm.guard.redact.same import Sameness, Thing
from guardedvlm.policy.model import DateLabels, Policy

LONGEST_INTERVAL = timedelta(days=365)
"""From the first date of a group to its last. Days tell a course of treatment; years would tell an age as soon as one
of the dates is a birth that nobody marked as one."""


class Labels:
    """The labels of one request. Holds hidden strings in memory; its repr shows only how many."""

    def __init__(self, findings: Sequence[Finding], policy: Policy) -> None:
        self._policy = policy
        self._same = Sameness(findings, policy.text.languages)
        self._letters = _letters()
        self._by_thing: dict[Thing, str] = {}
        self._read: dict[Thing, Counter[str]] = {}
        for finding in findings:
            if finding.secret:
                self._read.setdefault(self._same.of(finding), Counter())[finding.secret] += 1
        intervals = self._intervals(findings)
        things = [thing for thing in dict.fromkeys(map(self._same.of, findings)) if thing not in intervals]
        secrets.SystemRandom().shuffle(things)
        for thing in things:
            self._deal(thing)
        for thing, (first, days) in intervals.items():
            if label := self._deal(first):
                self._by_thing[thing] = f"{label}+{days}d"

    def __repr__(self) -> str:
        return f"Labels({len(self._by_thing)})"

    def of(self, finding: Finding) -> str:
        """The finding's label; "" where the policy does not label its kind. Equal things of a kind have equal
        labels."""
        return self._deal(self._same.of(finding))

    def by_secret(self) -> dict[str, str]:
        """Hidden string as it was read, in each of its spellings -> label. Content: never log it."""
        return {
            text: label for thing, read in self._read.items() if (label := self._by_thing.get(thing)) for text in read
        }

    def dealt(self) -> frozenset[str]:
        """Every label of the request, also of what has no text: none of them may stand for anything else."""
        return frozenset(self._by_thing.values())

    def by_label(self, kinds: Collection[Kind]) -> dict[str, tuple[str, ...]]:
        """Label of one of `kinds` -> what was read there: the longest spelling first. Content: never log it."""
        return {
            label: tuple(sorted(read, key=lambda text: (-len(text), -read[text], text)))
            for thing, read in self._read.items()
            if thing[0] in kinds and (label := self._by_thing.get(thing))
        }

    def _deal(self, thing: Thing) -> str:
        kind = thing[0]
        if self._policy.action(kind) is not Action.LABEL:
            return ""
        if thing not in self._by_thing and (letter := next(self._letters, "")):
            self._by_thing[thing] = f"{kind}-{letter}"
        return self._by_thing.get(thing, "")

    def _intervals(self, findings: Sequence[Finding]) -> dict[Thing, tuple[Thing, int]]:
        """Dates that are labelled by their distance: thing -> the first date of its group, and days since then.

        A birth is never among them: its distance from an examination is an age. So a date that is the birth's on
        another line has a label of its own, too.
        """
        if self._policy.text.date_labels is not DateLabels.INTERVAL:
            return {}
        births = {self._same.day(finding) for finding in findings if finding.kind is Kind.DATE_OF_BIRTH}
        days = {
            self._same.of(finding): day
            for finding in findings
            if finding.kind is Kind.DATE and (day := self._same.day(finding)) is not None and day not in births
        }
        found = {}
        first: tuple[Thing, date] | None = None
        for thing, day in sorted(days.items(), key=lambda item: item[1]):
            if first is None or day - first[1] > LONGEST_INTERVAL:
                first = thing, day
            else:
                found[thing] = first[0], (day - first[1]).days
        return found


def _letters() -> Iterator[str]:
    """A ... Z, AA ... ZZ: 702 of them; what comes after them stays a plain fill."""
    for length in (1, 2):
        yield from map("".join, product(string.ascii_uppercase, repeat=length))
