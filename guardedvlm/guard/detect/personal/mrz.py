"""Recogniser of machine-readable zones (ICAO 9303): TD1, TD2 and TD3 lines, also partly or wrongly read ones.

A line is hidden whole: every character of it is personal. Check digits raise the score and nothing else, because a line
that was read wrongly is still readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.checks import mrz_digit
from guardedvlm.guard.detect.personal.view import View

LENGTHS = (30, 36, 44)
"""Characters of a line of TD1, TD2 and TD3."""
LEAST_LENGTH = 20
"""A shorter fragment needs filler characters to be told from other codes."""

MISREAD_LETTERS = 1
"""Letters of a nationality that OCR may take for digits; an account's number of zeros has all check digits right."""

_FILLER = str.maketrans({"«": "<<", "‹": "<", "〈": "<", "く": "<", "≤": "<", "_": "<"})
_LINE = re.compile(r"[^\n]+")


def mrz_lines(view: View) -> Iterator[Span]:
    """Every line of `view` that looks like a line of a machine-readable zone."""
    for match in _LINE.finditer(view.text):
        score = line_score(match[0])
        if score:
            name = "check/mrz" if score > 0.95 else "pattern/mrz"
            yield view.span(*match.span(), Kind.MRZ, score, name)


def line_score(line: str) -> float:
    """How surely `line` is (part of) a line of a machine-readable zone; 0 when it is not."""
    # Compatibility folding and spaces that OCR puts between fillers do not matter.
    solid = re.sub(r"\s", "", line).translate(_FILLER)
    zone = sum(c.isdigit() or c == "<" or ("A" <= c <= "Z") for c in solid)
    if _UPSIDE_DOWN.search(solid):
        return 0.8
    if len(solid) < 8 or zone < 0.9 * len(solid):
        return 0.0
    fillers = solid.count("<")
    if len(solid) >= 24 and _checks(solid.upper()):
        return 0.99
    if fillers >= 4 or ("<<" in solid and len(solid) >= 12):
        return 0.9
    if fillers and len(solid) >= LEAST_LENGTH:
        return 0.8
    # A second line without a single filler that failed its checks: the shape "number, nationality, birth date, sex".
    return 0.7 if _SECOND_LINE.match(solid) else 0.0


_UPSIDE_DOWN = re.compile(r">{5,}")
"""Fillers of a line that was read upside down: the orientation classifier errs on lines that are mostly fillers."""
_SECOND_LINE = re.compile(
    r"[A-Z0-9]{10}[A-Z]{3}\d{7}[MFX<]\d{7}|\d{7}[MFX<]\d{7}[A-Z]{3}|[IAC][A-Z<][A-Z]{3}[A-Z0-9]{9}\d"
)


def _checks(line: str) -> bool:
    """Whether the fields of a second line (TD3, TD2, TD1) carry their check digits."""
    numeric = line.translate(str.maketrans("OQDILSBZG", "000115826"))
    for document, birth, expiry in ((0, 13, 21), (None, 0, 8)):
        dates = [numeric[at : at + 7] for at in (birth, expiry)]
        if not all(len(d) == 7 and d.isdigit() and mrz_digit(d[:6]) == d[6] for d in dates):
            continue
        nationality = line[10:13] if document is not None else line[15:18]
        if sum(map(str.isdigit, nationality)) > MISREAD_LETTERS:
            continue
        if document is None or numeric[9:10] == mrz_digit(line[:9] if re.fullmatch(r"[A-Z0-9<]{9}", line[:9]) else "A"):
            return True
    first = re.match(r"[IAC][A-Z<][A-Z<]{3}([A-Z0-9<]{9})(\d)", line)
    return bool(first and mrz_digit(first[1]) == first[2])
