"""The hidden strings of one request, to be found again in whatever spelling an answer or a question gives them.

A secret is looked for whole and, for kinds of personal data, word by word; case, spacing, punctuation and diacritics
are folded: "SMITH,J o h n" is John Smith. Text that is hidden only because it could not be read or was not cleared is
looked for as a whole line: its words are ordinary ones too often.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.errors import Internal, Reason
from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.screen.forms import Forms, Spelt
from guardedvlm.guard.screen.nearly import Nearly
from guardedvlm.guard.screen.normal import fold, normalise
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
MIN_BACKWARDS = 5
"""Letters and digits from which on a secret is found backwards; shorter ones read backwards are other words."""
_TAIL_KINDS = frozenset({Kind.PAYMENT_CARD, Kind.ACCOUNT, Kind.IBAN, Kind.SSN})
_QUANTITIES = frozenset({Kind.AMOUNT, Kind.DATE, Kind.AGE, *RESERVED_KINDS})
"""Kinds whose digits are no identifier: they are not assembled from several sentences."""
_TOKEN = re.compile(r"[^\W_]+")
_SORTS = re.compile(r"\d+|[^\W\d_]+")
_YEAR = re.compile(r"(?:19|20)\d\d\Z")


def normalise_secret(text: str) -> str:
    """The form in which two spellings of one secret are equal: folded letters and digits, nothing else."""
    return "".join(_TOKEN.findall(fold(normalise(text))))


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
        self._patterns: _Patterns | None = _Patterns()
        self._numbers: dict[str, Kind] = {}
        self._fragments: dict[str, str] = {}  # every MIN_FRAGMENT digits of a number -> that number
        near: dict[str, _Pattern] = {}
        known = [secret for kind, text in sorted(set(secrets)) if (secret := _Secret.of(kind, text)).whole]
        # Whole secrets first: a word that is a secret of its own keeps its own kind.
        for secret in known:
            if (spelling := _whole_spelling(secret)) is not None:
                pattern = self._patterns.add(secret.whole, _Pattern(secret.kind, secret.whole, spelling))
                if secret.digits and secret.kind not in _QUANTITIES:
                    near.setdefault(secret.whole, pattern)
        for secret in known:
            for word in _words(secret):
                pattern = self._patterns.add(word, _Pattern(secret.kind, secret.whole, Spelling.WORDS))
                if not (word.isdigit() and secret.kind in _QUANTITIES):
                    near.setdefault(word, pattern)
            if secret.kind not in _QUANTITIES and len(secret.digits) >= MIN_SPELLED:
                self._numbers.setdefault(secret.digits, secret.kind)
        for number in self._numbers:
            self._fragments |= {number[at : at + MIN_FRAGMENT]: number for at in range(len(number) - MIN_FRAGMENT + 1)}
        self._nearly = Nearly(near)

    def __repr__(self) -> str:
        return f"DenySet({'wiped' if self._patterns is None else len(self._patterns)})"

    def wipe(self) -> None:
        """Let go of the secrets; the set cannot be asked again."""
        self._patterns = None
        self._numbers = {}
        self._fragments = {}
        self._nearly = Nearly({})

    def matches(self, looked_at: str | Forms) -> tuple[Match, ...]:
        """Every place of a normalised text that spells a secret or a part of one; may overlap.

        Looks at the text itself, at it read backwards, with digits for the words that spell them, at what it holds in
        base64 or hexadecimal, and for secrets with one or two characters wrong.
        Raises Internal after `wipe`: a set that forgot its secrets has not looked.
        """
        if self._patterns is None:
            raise Internal(Reason.INTERNAL)
        if not self._patterns:
            return ()
        forms = Forms.of(looked_at) if isinstance(looked_at, str) else looked_at
        found = [*self._spelled(self._patterns, forms), *self._backwards(self._patterns, forms)]
        for start, end, plain in forms.encoded:
            inside = self._spelled(self._patterns, plain)
            found += [replace(match, start=start, end=end) for match in inside][:1]
        found += [Match(start, end, near.kind, near.secret) for start, end, near in self._nearly.find(forms.near)]
        return tuple(found)

    def spelled_by(self, digits: str) -> bool:
        """Whether digits, put together from all over an answer, contain a hidden number. Raises as `matches`."""
        if self._patterns is None:
            raise Internal(Reason.INTERNAL)
        return len(digits) >= MIN_SPELLED and any(number in digits for number in self._numbers)

    def _spelled(self, patterns: _Patterns, forms: Forms | Spelt) -> Iterator[Match]:
        for run in forms.runs:
            for at, pattern, rule in patterns.find(run):
                if _is_spelled(forms.text, run, at, at + len(pattern), rule.spelling):
                    yield Match(*run.span(at, at + len(pattern)), rule.kind, rule.secret)
            yield from self._parts(run)

    def _backwards(self, patterns: _Patterns, forms: Forms) -> Iterator[Match]:
        text, run = forms.text, forms.backwards
        for at, pattern, rule in patterns.find(run):
            end = at + len(pattern)
            if len(pattern) >= MIN_BACKWARDS and _is_spelled(text, run, at, end, rule.spelling):
                start, stop = run.span(at, end)
                if not is_common_word(text[start:stop]):
                    yield Match(start, stop, rule.kind, rule.secret)

    def _parts(self, run: Run) -> Iterator[Match]:
        """Parts of hidden numbers, MIN_FRAGMENT digits or more, widened to the end of the number they stand in."""
        if not self._fragments:
            return
        for start in run.starts:
            end = start + MIN_FRAGMENT
            number = self._fragments.get(run.run[start:end])
            if number is None:
                continue
            while end < len(run.run) and run.run[end].isdigit() and end not in run.ends:
                end += 1
            yield Match(*run.span(start, end), self._numbers[number], number)


class _Patterns:
    """Strings of letters and digits, found in a run in one go: short ones at the starts of words, long ones by their
    first letters."""

    def __init__(self) -> None:
        self._rules: dict[str, _Pattern] = {}
        self._short: dict[int, set[str]] = {}  # length -> patterns that are shorter than MIN_INSIDE
        self._long: dict[str, _Beginnings] = {}  # by their first MIN_INSIDE characters

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, text: str, rule: _Pattern) -> _Pattern:
        """Look for `text`; one that is looked for already keeps its rule, which is returned."""
        if text in self._rules:
            return self._rules[text]
        self._rules[text] = rule
        if len(text) < MIN_INSIDE:
            self._short.setdefault(len(text), set()).add(text)
        else:
            self._long.setdefault(text[:MIN_INSIDE], _Beginnings()).add(text)
        return rule

    def find(self, run: Run) -> Iterator[tuple[int, str, _Pattern]]:
        """Positions of patterns in `run`; of the short ones only where a word starts."""
        for length, patterns in self._short.items():
            for at in run.starts:
                if (text := run.run[at : at + length]) in patterns:
                    yield at, text, self._rules[text]
        if self._long:
            for at in range(len(run.run) - MIN_INSIDE + 1):
                if (alike := self._long.get(run.run[at : at + MIN_INSIDE])) is not None:
                    yield from ((at, text, self._rules[text]) for text in alike.of(run.run, at))


class _Beginnings:
    """Patterns with one beginning; which of them a text begins with, whatever their number and lengths.

    In order, all patterns that a text begins with are beginnings of the last one that is not behind it.
    """

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._shorter: list[int] | None = None  # of each pattern: the longest other one that it begins with, or -1
        self._longest = 0

    def add(self, text: str) -> None:
        self._patterns.append(text)
        self._longest = max(self._longest, len(text))
        self._shorter = None

    def of(self, text: str, at: int) -> Iterator[str]:
        """Patterns that stand at `at` of a text, the longest first."""
        if self._shorter is None:
            self._shorter = self._linked()
        here = text[at : at + self._longest]
        place = bisect_right(self._patterns, here) - 1
        while place >= 0:
            if here.startswith(self._patterns[place]):
                yield self._patterns[place]
            place = self._shorter[place]

    def _linked(self) -> list[int]:
        self._patterns.sort()
        shorter: list[int] = []
        for place, text in enumerate(self._patterns):
            before = place - 1
            while before >= 0 and not text.startswith(self._patterns[before]):
                before = shorter[before]
            shorter.append(before)
        return shorter


def of_labels(labels: Mapping[str, str]) -> DenySet:
    """The secrets that a picture's labels stand for ("PERSON-A"); a label of no known kind counts as OTHER_ID."""
    return DenySet((label_kind(label) or Kind.OTHER_ID, secret) for secret, label in labels.items())


def label_kind(label: str) -> Kind | None:
    """PERSON of "PERSON-A"; None for anything else."""
    name = label.rpartition("-")[0]
    return Kind(name) if name in Kind.__members__ else None


@dataclass(frozen=True, slots=True)
class _Secret:
    """A secret in the forms that it is compared in."""

    kind: Kind
    tokens: tuple[str, ...] = field(repr=False)  # folded
    whole: str = field(repr=False)
    digits: str = field(repr=False)

    @classmethod
    def of(cls, kind: Kind, text: str) -> _Secret:
        tokens = tuple(_TOKEN.findall(fold(normalise(text))))
        whole = "".join(tokens)
        digits = "" if whole.isalpha() else "".join(filter(str.isdigit, whole))
        return cls(kind, tokens, whole, digits)


def _whole_spelling(secret: _Secret) -> Spelling | None:
    """How the whole secret is looked for; None when it is too short to tell anything."""
    whole = secret.whole
    if secret.kind in RESERVED_KINDS:
        telling = len(secret.tokens) > 1 or secret.digits
        return Spelling.WORDS if telling and len(whole) >= MIN_LINE else None
    if len(whole) < MIN_SECRET:
        return None
    if len(secret.tokens) == 1 and is_common_word(whole):
        return Spelling.CAPITALISED if len(whole) >= MIN_WORD else None
    if whole.isalpha() and len(whole) < MIN_WORD:
        return Spelling.CAPITALISED
    return Spelling.INSIDE if len(whole) >= MIN_INSIDE else Spelling.WORDS


def _words(secret: _Secret) -> Iterator[str]:
    """The parts of a personal secret that are looked for on their own."""
    if secret.kind in RESERVED_KINDS:
        return
    if secret.kind in _TAIL_KINDS and len(secret.digits) >= 2 * MIN_RUN:
        yield secret.digits[-MIN_RUN:]
    for token in _SORTS.findall(" ".join(secret.tokens)):
        if token.isdigit():
            # The year of a date is not hidden (45 CFR 164.514(b)(2)(i)(C)); that of a birth is.
            if len(token) >= MIN_RUN and not (secret.kind is Kind.DATE and _YEAR.match(token)):
                yield token
        elif len(token) >= MIN_WORD and not is_common_word(token):
            yield token


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
