"""Label and value: the pairs that forms, receipts and statements print, beside one another or one above the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from guardedvlm.inference.reader.page import Cell, Excerpt, Page, Row, excerpt
from guardedvlm.inference.reader.values import amounts, dates

COLON, BESIDE, INSIDE, BELOW = 1.0, 0.85, 0.9, 0.7
"""How strongly a layout says that two texts belong together, 0..1; a colon says it outright."""
COLON_MARKS = (":", "\uff1a")
"""The colon and its full-width form, which recognisers of Chinese and Latin print for it."""
TRIMMED = " :\uff1a"
LABEL_CHARS = 48
"""A longer text before a value is a sentence, not a label."""
LABEL_WORDS = 7
BELOW_PITCHES = 2.2
"""A value below its label stands at most this many row distances away (one empty line between)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A label and the value that stands beside or below it. `strength` tells how sure the layout makes that."""

    label: str = field(repr=False)
    value: Excerpt
    strength: float
    cell: Cell = field(repr=False)
    row: int


def fields(page: Page) -> tuple[Field, ...]:
    """Every pair that the layout suggests, in reading order; a label may have several values."""
    found: list[Field] = []
    for index, row in enumerate(page.rows):
        for place, cell in enumerate(row.cells):
            found += _inside(cell, index)
            if is_label(cell.text):
                found += _beside(row, place, index)
                found += _below(page, index, cell, alone=place == len(row.cells) - 1)
    return tuple(found)


def is_label(text: str) -> bool:
    """True for a text that can name a value: short, with letters, without an amount or a date of its own."""
    stripped = text.strip(" .:*-")
    if sum(char.isalpha() for char in stripped) < 2 or len(stripped) > LABEL_CHARS:
        return False
    return len(stripped.split()) <= LABEL_WORDS and not amounts(text) and not dates(text)


_COLON = re.compile(r"(?<!\d)\s*[:\uff1a]\s*(?!//)|(?<=\d)\s*[:\uff1a]\s*(?!\d)|\s[:\uff1a]\s|(?<=\w)=(?=\w)")
"""A colon that parts label and value: not the one of a time or of an address on the web."""


_NUMBERED = re.compile(r"([A-Za-z][A-Za-z .#/]{1,30}?)[ .#]+([A-Z]{0,4}[-/]?\d[\w/-]*)")
"""A label and a number in one cell: "No. 1042", "Invoice # INV-7"."""


def _inside(cell: Cell, row: int) -> Iterator[Field]:
    """Label and value in one cell: parted by a colon, or a label before an amount or a date."""
    text = cell.text
    colon = _COLON.search(text)
    if colon and is_label(text[: colon.start()]) and text[colon.end() :].strip():
        yield Field(text[: colon.start()].strip(), excerpt(cell, colon.end()), COLON, cell, row)
        return
    starts = [item.start for item in amounts(text)] + [item.start for item in dates(text)]
    start = min(starts, default=0)
    if is_label(text[:start]):
        yield Field(text[:start].strip(TRIMMED), excerpt(cell, start), INSIDE, cell, row)
    numbered = _NUMBERED.fullmatch(text)
    if numbered and not start:
        yield Field(numbered[1].strip(TRIMMED + "."), excerpt(cell, numbered.start(2)), BESIDE, cell, row)


def _beside(row: Row, place: int, index: int) -> Iterator[Field]:
    """The next cell to the right, and the next one that holds more than a currency or a colon."""
    cell = row.cells[place]
    sure = COLON if cell.text.rstrip().endswith(COLON_MARKS) else BESIDE
    for other in row.cells[place + 1 :]:
        value = other.text.lstrip()
        offset = len(other.text) - len(value.lstrip(TRIMMED))
        if names_its_own(value):
            return  # the next label: this one has no value
        if offset < len(other.text) and not _is_unit(value):
            strength = COLON if value.startswith(COLON_MARKS) else sure
            yield Field(cell.text.strip(TRIMMED), excerpt(other, offset), strength, cell, index)
            if not amounts(value):
                yield from _last_amount(row, place, index)
            return


def _last_amount(row: Row, place: int, index: int) -> Iterator[Field]:
    """The amount at the end of a line of a table, where a quantity or a code stands between."""
    found = [(cell, amount) for cell in row.cells[place + 2 :] for amount in amounts(cell.text)]
    if found and not any(names_its_own(cell.text) for cell in row.cells[place + 1 :]):
        cell, amount = found[-1]
        label = row.cells[place]
        yield Field(label.text.strip(TRIMMED), excerpt(cell, amount.start, amount.end), BESIDE, label, index)


def names_its_own(text: str) -> bool:
    """True for "Date:" and "Date: 4 May": a label with a colon is nobody else's value."""
    colon = _COLON.search(text)
    return colon is not None and is_label(text[: colon.start()])


def _is_unit(text: str) -> bool:
    """True for what may stand between a label and its value: a currency, a colon, a mark."""
    bare = text.strip(TRIMMED + ".()")
    return not bare or (len(bare) <= 3 and bare.isalpha() and bare.isupper())


def _below(page: Page, index: int, label: Cell, *, alone: bool) -> Iterator[Field]:
    """The first cell under a label; weaker when the label has a neighbour at its right, which is then its value."""
    limit = max(page.pitch, label.height) * BELOW_PITCHES
    for row in page.rows[index + 1 :]:
        if row.middle - label.middle > limit:
            return
        under = [cell for cell in row.cells if cell.overlaps_x(label) > 0.3]
        if under and not names_its_own(under[0].text):
            strength = BELOW if alone else BELOW - 0.15
            yield Field(label.text.strip(TRIMMED), excerpt(under[0]), strength, label, index)
        if under:
            return
