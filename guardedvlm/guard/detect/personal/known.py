"""Search of a page for secrets that the document's own header tells (DICOM), whatever their spelling on the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.labels import find_labels
from guardedvlm.guard.detect.personal.lexicon import fold
from guardedvlm.guard.detect.personal.view import View, folded, without_spaces

KNOWN_SCORE = 0.95
LEAST_JOINED = 4
"""Letters from which on a name is also searched within joined words."""
LEAST_INEXACT = 6
"""Letters from which on one wrongly read letter is forgiven."""
LEAST_CODE = 4
"""Characters of a header's number that is searched within other characters; shorter ones must stand alone."""

_CONFUSED = str.maketrans("o01il5s8b2z6g", "ooiiissbbzzgg".replace("s", "s"))


def known_spans(text: str, known: Sequence[tuple[Kind, str]]) -> Iterator[Span]:
    """Where `text` (one line) shows one of the secrets."""
    view = folded(text)
    for kind, secret in known:
        value = secret.strip()
        if not value:
            continue
        if kind in (Kind.DATE, Kind.DATE_OF_BIRTH):
            yield from _dates(view, kind, value)
        if kind is Kind.PERSON:
            yield from name_spans(view, name_parts(value), "known/name")
        else:
            yield from _codes(view, kind, value)


def name_parts(value: str) -> list[str]:
    """Parts of a name ("DOE^JANE^A"), folded; single letters are left out."""
    return [part for part in (fold(piece) for piece in re.split(r"[\s^=,;]+", value)) if len(part) >= 2]


def name_spans(view: View, parts: Sequence[str], recognizer: str) -> Iterator[Span]:
    """Words of `view` that are one of the parts of a name, alone, joined with others, or with one letter misread."""
    for match in re.finditer(r"[^\W_][^\s,;:/()]*", view.text):
        word = fold(match[0])
        if any(_is_part(word, part) for part in parts) and not find_labels(match[0]):
            yield view.span(*match.span(), Kind.PERSON, KNOWN_SCORE, recognizer)


def _is_part(word: str, part: str) -> bool:
    if word == part or (len(part) >= LEAST_JOINED and part in word):
        return True
    if len(part) < LEAST_JOINED:
        return False
    if confused(part) in confused(word):
        return True
    return len(part) >= LEAST_INEXACT and abs(len(word) - len(part)) <= 1 and _within_one(word, part)


def confused(word: str) -> str:
    """`word` with characters that OCR takes for each other made the same."""
    return word.translate(_CONFUSED)


def _within_one(a: str, b: str) -> bool:
    """Whether one insertion, deletion or replacement at most makes `a` of `b`."""
    short, long = sorted((a, b), key=len)
    at = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    return short[at:] == long[at + 1 :] or (len(short) == len(long) and short[at + 1 :] == long[at + 1 :])


def _codes(view: View, kind: Kind, value: str) -> Iterator[Span]:
    """The characters of `value` in a row, however spaced and punctuated and with misread digits."""
    wanted = confused("".join(c for c in value.casefold() if c.isalnum()))
    if not wanted:
        return
    solid = without_spaces(view)
    kept = [i for i, c in enumerate(solid.text) if c.isalnum()]
    squeezed = confused("".join(solid.text[i].casefold()[:1] for i in kept))
    at = squeezed.find(wanted)
    while at >= 0:
        start, end = kept[at], kept[at + len(wanted) - 1] + 1
        span = solid.span(start, end, kind, KNOWN_SCORE, "known/code")
        if len(wanted) >= LEAST_CODE or _stands_alone(view, span):
            yield span
        at = squeezed.find(wanted, at + 1)


def _stands_alone(view: View, span: Span) -> bool:
    inside = [i for i, origin in enumerate(view.origin) if span.start <= origin < span.end]
    before, after = view.text[inside[0] - 1 : inside[0]], view.text[inside[-1] + 1 : inside[-1] + 2]
    return not before.isalnum() and not after.isalnum()


_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _dates(view: View, kind: Kind, value: str) -> Iterator[Span]:
    """The date in any order and with any separator."""
    match = re.fullmatch(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})", value)
    try:
        day = date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        day = None
    if day is None:
        return
    pattern = _date_pattern(day)
    for found in pattern.finditer(view.text):
        yield view.span(*found.span(), kind, KNOWN_SCORE, "known/date")


def _date_pattern(day: date) -> re.Pattern[str]:
    d, m = f"0?{day.day}(?:st|nd|rd|th)?", f"(?:0?{day.month}|{_MONTH_NAMES[day.month - 1]}[a-zà-ž]*\\.?)"
    year = f"(?:{day.year}|'?{day.year % 100:02d})"
    between = r"[\s./,-]{0,3}"
    orders = ((d, m, year), (m, d, year), (f"{day.year}", m, d))
    return re.compile("|".join(rf"(?<!\d){between.join(order)}(?!\d)" for order in orders), re.IGNORECASE)
