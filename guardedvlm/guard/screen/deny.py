"""The hidden strings of one request, to be found again in whatever spelling an answer or a question gives them.

A secret is looked for whole and, for kinds of personal data, word by word; case, spacing, punctuation and diacritics
are folded: "SMITH,J o h n" is John Smith. Text that is hidden only because it could not be read or was not cleared is
looked for as a whole line: its words are ordinary ones too often.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.errors import Internal, Reason
from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.screen.normal import NormalText, fold, visible
from guardedvlm.guard.screen.runs import Run, is_part_of_a_number

MIN_WORD = 4
"""Letters of a part of a secret that is looked for on its own; shorter ones ("van") are too frequent."""
MIN_RUN = 4
"""Digits of a part of a secret that is looked for on its own: the last four of a card identify it to its holder."""
MIN_LINE = 6
"""Letters and digits of a line of unread or uncleared text that is looked for."""
MIN_SECRET = 2
"""Letters and digits of the shortest secret; a single character would blank half an answer and tells nothing."""
MIN_INSIDE = 8
"""Letters and digits from which on a secret is found inside a longer word too ("xJohnSmithx")."""
MIN_FRAGMENT = 6
"""Digits from which on any part of a long hidden number counts as that number."""
MIN_SPELLED = 7
"""Digits from which on a number that the released digits spell together counts as told."""
_TAIL_KINDS = frozenset({Kind.PAYMENT_CARD, Kind.ACCOUNT, Kind.IBAN, Kind.SSN})
_QUANTITIES = frozenset({Kind.AMOUNT, Kind.DATE, Kind.AGE, *RESERVED_KINDS})
"""Kinds whose digits are no identifier: they are not assembled from several sentences."""
_TOKEN = re.compile(r"[^\W_]+")
_YEAR = re.compile(r"(?:19|20)\d\d\Z")


def normalise_secret(text: str) -> str:
    """The form in which two spellings of one secret are equal: folded letters and digits, nothing else."""
    return "".join(_TOKEN.findall(fold(NormalText.of(visible(text)).text)))


@dataclass(frozen=True, slots=True)
class Match:
    """Characters [start, end) of a normalised text are of `kind`. `secret` is the secret that they (partly) spell."""

    start: int
    end: int
    kind: Kind
    secret: str = field(default="", repr=False)


class Spelling(Enum):
    """How freely a pattern is found."""

    INSIDE = "inside"  # anywhere, also inside a longer word
    WORDS = "words"  # from the start of a word to the end of a word
    CAPITALISED = "capitalised"  # the same, and not in lower case: "Rose", never "rose"


@dataclass(frozen=True, slots=True)
class _Pattern:
    kind: Kind
    secret: str = field(repr=False)
    spelling: Spelling


class DenySet:
    """What must not come back. Holds the secrets until `wipe`; no repr shows them."""

    def __init__(self, secrets: Iterable[tuple[Kind, str]]) -> None:
        self._patterns: dict[str, _Pattern] | None = {}
        self._numbers: dict[str, Kind] = {}
        known = [(kind, text, whole) for kind, text in secrets if (whole := normalise_secret(text))]
        # Whole secrets first: a word that is a secret of its own keeps its own kind.
        for kind, text, whole in known:
            if (spelling := _whole_spelling(kind, text, whole)) is not None:
                self._patterns.setdefault(whole, _Pattern(kind, whole, spelling))
        for kind, text, whole in known:
            if kind not in RESERVED_KINDS:
                for word in _words(kind, text):
                    self._patterns.setdefault(word, _Pattern(kind, whole, Spelling.WORDS))
            digits = "".join(filter(str.isdigit, whole))
            if kind not in _QUANTITIES and len(digits) >= MIN_SPELLED:
                self._numbers.setdefault(digits, kind)

    def __repr__(self) -> str:
        return f"DenySet({'wiped' if self._patterns is None else len(self._patterns)})"

    def wipe(self) -> None:
        """Let go of the secrets; the set cannot be asked again."""
        self._patterns = None
        self._numbers = {}

    def matches(self, text: str) -> tuple[Match, ...]:
        """Every place of a normalised text that spells a secret or a part of one; may overlap.

        Raises Internal after `wipe`: a set that forgot its secrets has not looked.
        """
        if self._patterns is None:
            raise Internal(Reason.INTERNAL)
        run = Run.of(text)
        found = [
            Match(*run.span(at, at + len(pattern)), rule.kind, rule.secret)
            for pattern, rule in self._patterns.items()
            for at in _occurrences(run.run, pattern)
            if _is_spelled(text, run, at, at + len(pattern), rule.spelling)
        ]
        return (*found, *self._fragments(run))

    def spelled_by(self, digits: str) -> bool:
        """Whether digits, put together from all over an answer, contain a hidden number. Raises as `matches`."""
        if self._patterns is None:
            raise Internal(Reason.INTERNAL)
        return any(number in digits for number in self._numbers)

    def _fragments(self, run: Run) -> Iterator[Match]:
        """Parts of hidden numbers, MIN_FRAGMENT digits or more, widened to the end of the number they stand in."""
        for number, kind in self._numbers.items():
            for start in run.starts:
                end = start + MIN_FRAGMENT
                if end > len(run.run) or run.run[start:end] not in number:
                    continue
                while end < len(run.run) and run.run[end].isdigit() and end not in run.ends:
                    end += 1
                yield Match(*run.span(start, end), kind, number)


def of_labels(labels: Mapping[str, str]) -> DenySet:
    """The secrets that a picture's labels stand for ("PERSON-A"); a label of no known kind counts as OTHER_ID."""
    return DenySet((label_kind(label) or Kind.OTHER_ID, secret) for secret, label in labels.items())


def label_kind(label: str) -> Kind | None:
    """PERSON of "PERSON-A"; None for anything else."""
    name = label.rpartition("-")[0]
    return Kind(name) if name in Kind.__members__ else None


def _whole_spelling(kind: Kind, text: str, whole: str) -> Spelling | None:
    """How the whole secret is looked for; None when it is too short to tell anything."""
    words = _TOKEN.findall(text)
    if kind in RESERVED_KINDS:
        telling = len(words) > 1 or any(map(str.isdigit, whole))
        return Spelling.WORDS if telling and len(whole) >= MIN_LINE else None
    if len(whole) < MIN_SECRET:
        return None
    if len(words) == 1 and is_common_word(whole):
        return Spelling.CAPITALISED if len(whole) >= MIN_WORD else None
    if whole.isalpha() and len(whole) < MIN_WORD:
        return Spelling.CAPITALISED
    return Spelling.INSIDE if len(whole) >= MIN_INSIDE else Spelling.WORDS


def _words(kind: Kind, text: str) -> Iterator[str]:
    """The parts of a secret that are looked for on their own."""
    digits = "".join(filter(str.isdigit, normalise_secret(text)))
    if kind in _TAIL_KINDS and len(digits) >= 2 * MIN_RUN:
        yield digits[-MIN_RUN:]
    for token in re.findall(r"\d+|[^\W\d_]+", fold(NormalText.of(visible(text)).text)):
        if token.isdigit():
            # The year of a date is not hidden (45 CFR 164.514(b)(2)(i)(C)); that of a birth is.
            if len(token) >= MIN_RUN and not (kind is Kind.DATE and _YEAR.match(token)):
                yield token
        elif len(token) >= MIN_WORD and not is_common_word(token):
            yield token


def _occurrences(run: str, pattern: str) -> Iterator[int]:
    at = run.find(pattern)
    while at >= 0:
        yield at
        at = run.find(pattern, at + 1)


def _is_spelled(text: str, run: Run, start: int, end: int, spelling: Spelling) -> bool:
    if spelling is Spelling.INSIDE:
        return True
    if start not in run.starts or end not in run.ends:
        return False
    first, last = run.span(start, end)
    if spelling is Spelling.CAPITALISED:
        return not text[first:last].islower()
    # "45" is not the age 45 in "45.00", nor "1234" the last four in "1,234.50".
    is_part = is_part_of_a_number(text, first, last)
    return not (is_part and run.run[start:end].isdigit() and end - start < MIN_FRAGMENT)
