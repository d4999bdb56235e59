"""Search of a page for secrets that the document's own header tells (DICOM), whatever their spelling on the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.labels import find_labels
from guardedvlm.guard.detect.personal.lexicon import fold, is_common_word
from guardedvlm.guard.detect.personal.view import View, folded, without_spaces

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

_CONFUSED = str.maketrans("o01il5s8b2z6g", "ooiiissbbzzgg")


def known_spans(text: str, known: Sequence[tuple[Kind, str]]) -> Iterator[Span]:
    """Where `text` (one line) shows one of the secrets."""
    view = folded(text)
    run = _Run.of(view)
    for kind, secret in known:
        value = secret.strip()
        if not value:
            continue
        if kind in (Kind.DATE, Kind.DATE_OF_BIRTH):
            yield from _dates(view, kind, value)
        if kind is Kind.PERSON:
            yield from name_spans(view, name_parts(value), "known/name", LEAST_INEXACT_KNOWN)
        else:
            yield from _codes(view, run, kind, value)


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


def _codes(view: View, run: _Run, kind: Kind, value: str) -> Iterator[Span]:
    """The characters of `value` in a row, however spaced and punctuated, with misread digits and one error more."""
    wanted = confused("".join(c for c in value.casefold() if c.isalnum()))
    if not wanted:
        return
    inexact = len(wanted) >= LEAST_INEXACT_CODE and kind not in (Kind.DATE, Kind.DATE_OF_BIRTH)
    for at, end in _nearly(run.text, wanted) if inexact else _exactly(run.text, wanted):
        span = run.solid.span(run.kept[at], run.kept[end - 1] + 1, kind, KNOWN_SCORE, "known/code")
        if len(wanted) >= LEAST_CODE or _stands_alone(view, span):
            yield span


def _exactly(run: str, wanted: str) -> Iterator[tuple[int, int]]:
    at = run.find(wanted)
    while at >= 0:
        yield at, at + len(wanted)
        at = run.find(wanted, at + 1)


def _nearly(run: str, wanted: str) -> Iterator[tuple[int, int]]:
    """Places [start, end) of `run` that are `wanted` but for one character at most: one of its halves is intact."""
    half = len(wanted) // 2
    lengths = (len(wanted), len(wanted) - 1, len(wanted) + 1)
    for start, _ in _exactly(run, wanted[:half]):
        found = next((n for n in lengths if start + n <= len(run) and _within_one(run[start : start + n], wanted)), 0)
        if found:
            yield start, start + found
    for _, end in _exactly(run, wanted[half:]):
        found = next((n for n in lengths if end >= n and _within_one(run[end - n : end], wanted)), 0)
        if found:
            yield end - found, end


def _stands_alone(view: View, span: Span) -> bool:
    inside = [i for i, origin in enumerate(view.origin) if span.start <= origin < span.end]
    before, after = view.text[inside[0] - 1 : inside[0]], view.text[inside[-1] + 1 : inside[-1] + 2]
    return not before.isalnum() and not after.isalnum()


_MISREAD = str.maketrans("oOlI|sSbBzZ", "00111558822")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _dates(view: View, kind: Kind, value: str) -> Iterator[Span]:
    """The date in any order, with any separator, and with letters that OCR reads for digits."""
    match = re.fullmatch(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})", value)
    try:
        day = date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        day = None
    if day is None:
        return
    pattern = _date_pattern(day)
    places = {found.span() for text in (view.text, view.text.translate(_MISREAD)) for found in pattern.finditer(text)}
    for place in sorted(places):
        yield view.span(*place, kind, KNOWN_SCORE, "known/date")


def _date_pattern(day: date) -> re.Pattern[str]:
    d, m = f"0?{day.day}(?:st|nd|rd|th)?", f"(?:0?{day.month}|{_MONTH_NAMES[day.month - 1]}[a-zà-ž]*\\.?)"
    year = f"(?:{day.year}|'?{day.year % 100:02d})"
    between = r"[\s./,-]{0,3}"
    orders = ((d, m, year), (m, d, year), (f"{day.year}", m, d))
    return re.compile("|".join(rf"(?<!\d){between.join(order)}(?!\d)" for order in orders), re.IGNORECASE)
