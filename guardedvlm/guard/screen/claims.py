"""What an answer says that can be looked up in a picture: numbers with their units, dates, times, identifiers.

A claim is *slight* where it tells nothing that a picture could hide: a count of one or two digits, without a unit. The
number of an item of a list is no claim, nor is a label of the guard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from guardedvlm.guard.screen.edits import own_labels
from guardedvlm.guard.screen.moments import Written, moments
from guardedvlm.guard.screen.quantities import QUANTITY, Quantity, decimals
from guardedvlm.guard.screen.spelled import spelled

SLIGHT_DIGITS = 2
"""Digits up to which a bare whole number is a count ("3 items"). A security code has three."""
LEAST_SPELLED = 3
"""Digits in words from which on they are a number: "one or two of them" is none."""
_LIST_NUMBER = re.compile(r"^[ \t]*\(?\d{1,3}[.)](?=[ \t])", re.MULTILINE)
_TOKEN = re.compile(r"[^\s\[\]{}()\"“”„«»<>|=]*\d[^\s\[\]{}()\"“”„«»<>|=]*")
_EDGE = ".,;:!?'’‘*_–—-/\\#~…"
_NUMBER_PIECE = re.compile(r"[^-–—/:]+")
_RANGE = re.compile(r"[^\W\d_]{0,3}[$€£]?[\d.,]+(?:[-–—/:][^\W\d_]{0,3}[$€£]?[\d.,]+)+")
_SPACED = re.compile(r"\d{1,3}(?:[ \u202f]\d{3})+[.,]\d\d(?!\d)")
_BETWEEN = re.compile(r"[ \t\n.,;:/–-]{1,3}\Z")
_UNITS_AROUND = 12
"""Characters beside a number in which its currency or unit may stand."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Characters [start, end) of a text; `code` is how they read as an identifier, `parts` as single numbers."""

    start: int
    end: int
    text: str = field(repr=False)
    quantity: Quantity | None = field(default=None, repr=False)
    moment: Written | None = field(default=None, repr=False)
    parts: tuple[Claim, ...] = field(default=(), repr=False)
    digits: str = field(default="", repr=False)  # that are spelled in words
    bound: bool = False  # a part of something that stands in the picture

    @property
    def slight(self) -> bool:
        """Whether it is a count, or another number that tells nothing by itself."""
        if self.bound or self.moment is not None or self.digits or (self.quantity is not None and self.quantity.unit):
            return False
        return sum(map(str.isdigit, self.text)) <= SLIGHT_DIGITS and not re.search(r"\d[.,]\d", self.text)


def claims(text: str, dealt: Collection[str] = ()) -> tuple[Claim, ...]:
    """The claims of a normalised text in order; none overlaps another. `dealt`: labels of this request, which claim
    nothing."""
    for label in own_labels(text, dealt):
        text = f"{text[: label.start()]}{' ' * len(label[0])}{text[label.end() :]}"
    text = _LIST_NUMBER.sub(lambda number: " " * len(number[0]), text)
    found = [Claim(when.start, when.end, text[when.start : when.end], moment=when) for when in moments(text)]
    for number in spelled(text):
        if len(number.digits) >= LEAST_SPELLED and not _touched(found, number.start, number.end):
            found.append(Claim(number.start, number.end, text[number.start : number.end], digits=number.digits))
    blank = _blanked(text, found)
    return tuple(sorted((*found, *_joined(text, list(_numbers(blank)))), key=lambda claim: claim.start))


def _touched(found: list[Claim], start: int, end: int) -> bool:
    return any(start < claim.end and claim.start < end for claim in found)


def _blanked(text: str, found: list[Claim]) -> str:
    """`text` with what is claimed already written as spaces."""
    for claim in found:
        text = f"{text[: claim.start]}{' ' * (claim.end - claim.start)}{text[claim.end :]}"
    return text


def _numbers(text: str) -> Iterator[Claim]:
    """Quantities and identifiers, token by token; "5-10" and "120/80" are two."""
    taken = 0
    for token in _TOKEN.finditer(text):
        core = token[0].strip(_EDGE)
        first = token.start() + token[0].index(core)
        pieces = _NUMBER_PIECE.finditer(core) if _RANGE.fullmatch(core) else [re.match(".*", core)]
        for piece in filter(None, pieces):
            start, end = first + piece.start(), first + piece.end()
            if start >= taken:
                claim = _spaced(text, start) or _quantity(text, start, end) or Claim(start, end, text[start:end])
                taken = claim.end
                yield claim


def _spaced(text: str, start: int) -> Claim | None:
    """The number that is written with spaces at `start` ("1 234,50"), which may as well be two."""
    found = _SPACED.match(text, start)
    if found is None:
        return None
    parts = (_quantity(text, start + part.start(), start + part.end()) for part in _TOKEN.finditer(found[0]))
    value = Quantity(decimals(re.sub(r"\s", "", found[0])), has_cents=True)
    return Claim(start, found.end(), found[0], value, parts=tuple(filter(None, parts)))


def _quantity(text: str, start: int, end: int) -> Claim | None:
    """The number that the token at [start, end) is, with the unit beside it; None for any other token."""
    first = max(0, start - _UNITS_AROUND)
    for found in QUANTITY.finditer(text, first, min(len(text), end + _UNITS_AROUND)):
        # Nothing of the token is left over, and of its neighbours only a unit is taken.
        if found.start("number") < end and found.end("number") > start:
            whole = found.start() <= start + _signs(text, start) and found.end() >= end
            inside = "\n" not in found[0] and start <= found.start("number") and found.end("number") <= end
            quantity = Quantity.of(found)
            return (
                Claim(found.start(), found.end(), found[0], quantity) if whole and inside and quantity.values else None
            )
    return None


def _signs(text: str, start: int) -> int:
    return len(text[start:]) - len(text[start:].lstrip("+-−–~≈"))


def _joined(text: str, found: list[Claim]) -> Iterator[Claim]:
    """Claims, with those of digits alone that follow each other closely as one: a number that is written in pieces."""
    run: list[Claim] = []
    for claim in found:
        if run and not (_is_piece(claim) and _BETWEEN.match(text[run[-1].end : claim.start])):
            yield from _one(text, run)
            run = []
        run.append(claim)
        if not _is_piece(claim):
            yield from _one(text, run)
            run = []
    yield from _one(text, run)


def _is_piece(claim: Claim) -> bool:
    return claim.text.isdigit()


def _one(text: str, run: list[Claim]) -> Iterator[Claim]:
    if len(run) < 2:
        yield from run
        return
    start, end = run[0].start, run[-1].end
    yield Claim(start, end, text[start:end], parts=tuple(run))
