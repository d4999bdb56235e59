"""Search of a page for secrets that are known: from the document's own header (DICOM), or from another of its pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.labels import find_labels
from guardedvlm.guard.detect.personal.lexicon import fold, is_common_word
from guardedvlm.guard.detect.personal.view import View, folded, without_spaces
from guardedvlm.guard.detect.personal.written_date import written_date

KNOWN_SCORE = 0.95
LEAST_JOINED = 4
"""Letters from which on a name is also searched within joined words."""
LEAST_INEXACT = 6
"""Letters from which on one wrongly read letter is forgiven in any word."""
LEAST_INEXACT_KNOWN = 4
"""The same for the header's own names, where the word is none of the language: "JANF" may be Jane, "lane" is a lane."""
LEAST_CODE = 4
"""Characters of a header's number that is searched within other characters; shorter ones must stand alone."""
LEAST_INEXACT_CODE = 7
"""Characters of a header's number from which on one wrongly read, missing or added character is forgiven. Shorter
numbers have too many neighbours."""

_AMOUNT = re.compile(r"\d[\d, ]*\.\d\d|\d[\d. ]*,\d\d")
DATES = (Kind.DATE, Kind.DATE_OF_BIRTH)

_CONFUSED = str.maketrans("o01il5s8b2z6g", "ooiiissbbzzgg")


class Known:
    """Secrets that are searched, made ready once for all the lines of a page."""

    def __init__(self, known: Sequence[tuple[Kind, str]]) -> None:
        values = [(kind, value) for kind, secret in known if (value := secret.strip())]
        self._names = sorted({part for kind, value in values if kind is Kind.PERSON for part in name_parts(value)})
        days = {(kind, day) for kind, value in values if kind in DATES for day in possible_days(value)}
        self._dates = [(kind, _date_pattern(day)) for kind, day in sorted(days)]
        self._codes = _Codes((kind, value) for kind, value in values if kind is not Kind.PERSON)

    def spans(self, text: str) -> Iterator[Span]:
        """Where `text` (one line) shows one of the secrets."""
        view = folded(text)
        for kind, pattern in self._dates:
            yield from _dates(view, kind, pattern)
        if self._names:
            yield from name_spans(view, self._names, "known/name", LEAST_INEXACT_KNOWN)
        yield from self._codes.spans(text, view)


def known_spans(text: str, known: Sequence[tuple[Kind, str]]) -> Iterator[Span]:
    """Where `text` (one line) shows one of the secrets."""
    return Known(known).spans(text)


def name_parts(value: str) -> list[str]:
    """Parts of a name ("DOE^JANE^A"), folded; single letters are left out."""
    return [part for part in (fold(piece) for piece in re.split(r"[\s^=,;]+", value)) if len(part) >= 2]


def name_spans(view: View, parts: Sequence[str], recognizer: str, least_inexact: int = LEAST_INEXACT) -> Iterator[Span]:
    """Words of `view` that are one of the parts of a name, alone, joined with others, or with one letter misread (in
    names of `least_inexact` letters or more)."""
    for match in re.finditer(r"[^\W_][^\s,;:/()]*", view.text):
        word = fold(match[0])
        if any(_is_part(word, part, least_inexact) for part in parts) and not find_labels(match[0]):
            yield view.span(*match.span(), Kind.PERSON, KNOWN_SCORE, recognizer)


def _is_part(word: str, part: str, least_inexact: int) -> bool:
    if word == part or (len(part) >= LEAST_JOINED and part in word):
        return True
    if len(part) < LEAST_JOINED:
        return False
    if confused(part) in confused(word):
        return True
    if len(part) < least_inexact or abs(len(word) - len(part)) > 1 or not _within_one(word, part):
        return False
    return len(part) >= LEAST_INEXACT or not is_common_word(word)


def confused(word: str) -> str:
    """`word` with characters that OCR takes for each other made the same."""
    return word.translate(_CONFUSED)


def _within_one(a: str, b: str) -> bool:
    """Whether one insertion, deletion or replacement at most makes `a` of `b`."""
    short, long = sorted((a, b), key=len)
    at = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    return short[at:] == long[at + 1 :] or (len(short) == len(long) and short[at + 1 :] == long[at + 1 :])


@dataclass(frozen=True, slots=True)
class _Run:
    """The letters and digits of a line in one run, misread ones made the same; character i is `solid`'s `kept[i]`."""

    solid: View
    kept: tuple[int, ...]
    text: str

    @classmethod
    def of(cls, view: View) -> _Run:
        solid = without_spaces(view)
        kept = tuple(i for i, c in enumerate(solid.text) if c.isalnum())
        return cls(solid, kept, confused("".join(solid.text[i].casefold()[:1] for i in kept)))


class _Codes:
    """Characters of secrets in a row, however spaced and punctuated, with misread digits and one error more.

    A code of LEAST_INEXACT_CODE characters with one error has one of its halves intact: halves are looked up, not
    searched one by one, because a document may tell thousands.
    """

    def __init__(self, values: Iterable[tuple[Kind, str]]) -> None:
        self._exact: dict[str, set[Kind]] = {}
        self._first: dict[str, list[tuple[str, Kind]]] = {}
        self._second: dict[str, list[tuple[str, Kind]]] = {}
        for kind, value in sorted(set(values)):
            wanted = confused("".join(c for c in value.casefold() if c.isalnum()))
            if len(wanted) >= LEAST_INEXACT_CODE and kind not in DATES:
                half = len(wanted) // 2
                self._first.setdefault(wanted[:half], []).append((wanted, kind))
                self._second.setdefault(wanted[half:], []).append((wanted, kind))
            elif wanted:
                self._exact.setdefault(wanted, set()).add(kind)
        self._lengths = [sorted(set(map(len, table))) for table in (self._exact, self._first, self._second)]

    def spans(self, text: str, view: View) -> Iterator[Span]:
        """Where `text`, whose `view` it is, shows one of them."""
        run = _Run.of(view)
        for start, end, kind in sorted({*self._exactly(run.text), *self._nearly(run.text)}):
            span = run.solid.span(run.kept[start], run.kept[end - 1] + 1, kind, KNOWN_SCORE, "known/code")
            # "106.50" is an amount, whatever number 10650 is.
            amount = end - start < LEAST_INEXACT_CODE and _AMOUNT.fullmatch(text[span.start : span.end])
            if not amount and (end - start >= LEAST_CODE or _stands_alone(view, span)):
                yield span

    def _exactly(self, run: str) -> Iterator[tuple[int, int, Kind]]:
        for length in self._lengths[0]:
            for start in range(len(run) - length + 1):
                for kind in self._exact.get(run[start : start + length], ()):
                    yield start, start + length, kind

    def _nearly(self, run: str) -> Iterator[tuple[int, int, Kind]]:
        """Places [start, end) that are a code but for one character at most."""
        for length in self._lengths[1]:
            for start in range(len(run) - length + 1):
                for wanted, kind in self._first.get(run[start : start + length], ()):
                    for size in (len(wanted), len(wanted) - 1, len(wanted) + 1):
                        if start + size <= len(run) and _within_one(run[start : start + size], wanted):
                            yield start, start + size, kind
                            break
        for length in self._lengths[2]:
            for end in range(length, len(run) + 1):
                for wanted, kind in self._second.get(run[end - length : end], ()):
                    for size in (len(wanted), len(wanted) - 1, len(wanted) + 1):
                        if end >= size and _within_one(run[end - size : end], wanted):
                            yield end - size, end, kind
                            break


def _stands_alone(view: View, span: Span) -> bool:
    inside = [i for i, origin in enumerate(view.origin) if span.start <= origin < span.end]
    before, after = view.text[inside[0] - 1 : inside[0]], view.text[inside[-1] + 1 : inside[-1] + 2]
    return not before.isalnum() and not after.isalnum()


_MISREAD = str.maketrans("oOlI|sSbBzZ", "00111558822")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def possible_days(value: str) -> set[date]:
    """The days that a written date may mean: "03/04/1985" two, one without a year of four digits none."""
    compact = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", value)
    day = written_date("-".join(compact.groups()) if compact else value, ("en",))
    if day is not None:
        return {day}
    day = written_date(value, ("de",))
    if day is None:
        return set()
    return {day, day.replace(month=day.day, day=day.month)}


def _dates(view: View, kind: Kind, pattern: re.Pattern[str]) -> Iterator[Span]:
    """The date in any order, with any separator, and with letters that OCR reads for digits."""
    places = {found.span() for text in (view.text, view.text.translate(_MISREAD)) for found in pattern.finditer(text)}
    for place in sorted(places):
        yield view.span(*place, kind, KNOWN_SCORE, "known/date")


def _date_pattern(day: date) -> re.Pattern[str]:
    d, m = f"0?{day.day}(?:st|nd|rd|th)?", f"(?:0?{day.month}|{_MONTH_NAMES[day.month - 1]}[a-zà-ž]*\\.?)"
    year = f"(?:{day.year}|'?{day.year % 100:02d})"
    between = r"[\s./,-]{0,3}"
    orders = ((d, m, year), (m, d, year), (f"{day.year}", m, d))
    return re.compile("|".join(rf"(?<!\d){between.join(order)}(?!\d)" for order in orders), re.IGNORECASE)
