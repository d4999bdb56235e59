"""What stands where the guard hid something: a constant fill, or a label such as PERSON-A that the guard drew.

The reader tells "hidden by policy" from "not on the page", so that nobody takes a redaction for an empty form field.
"""

from __future__ import annotations

import re

import numpy as np

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.inference.reader.page import Cell, Page

FILL_WIDTH = 1.2
"""A run of constant pixels counts as a fill from this many label heights on: a thick rule or letter is narrower."""
REACH = 12.0
"""How far right of a label a fill still belongs to it, in label heights."""

PSEUDONYM = re.compile(
    r"(?<![A-Z])(?:"
    + "|".join(sorted(kind.value.replace("_", "[_ ]?") for kind in Kind))
    + r")\s?[-–]\s?[A-Z]{1,3}(?![A-Za-z])(?:\s?\+\s?\d{1,3}\s?d\b)?"
)
"""A label that the guard draws in place of a value: kind, letters, of a date perhaps days. OCR may lose the
underscore."""


def pseudonym(text: str) -> str | None:
    """The guard's label in `text`, or None."""
    match = PSEUDONYM.search(text)
    return match.group() if match else None


def fill_at(raster: Raster, page: Page, row: int, label: Cell) -> Box | None:
    """The fill that stands where the value of `label` (in row `row`) belongs: right of it, else below it; or None."""
    box, size = label.line.box, Size.of(raster)
    # What begins after the next text of the row is that text's value.
    following = [cell.line.box.x0 for cell in page.rows[row].cells if cell.line.box.x0 >= box.x1]
    end = min([box.x1 + round(REACH * box.height), *following])
    beside = Box(box.x0, box.y0, max(end, box.x1), box.y1).clipped(size)
    found = _fill(raster, beside, box.height, start=box.x1) if beside else None
    if found or _has_text_below(page, row, label):
        return found
    below = Box(box.x0, box.y1, box.x1 + box.height, box.y1 + 2 * box.height).clipped(size)
    return _fill(raster, below, box.height, start=box.x0) if below else None


def _has_text_below(page: Page, row: int, label: Cell) -> bool:
    """True when a text stands in the two lines below: then a fill there is the value of that text."""
    return any(
        cell.overlaps_x(label) > 0 and cell.y0 < label.y1 + 2 * label.height
        for below in page.rows[row + 1 : row + 3]
        for cell in below.cells
    )


def _fill(raster: Raster, area: Box, height: int, start: int) -> Box | None:
    """The longest fill in `area` from column `start` on: black over its width and half a label's height or more."""
    if start >= area.x1:
        return None
    black = (raster[area.y0 : area.y1, start : area.x1] == 0).all(axis=2)
    # On a black page, an X-ray for example, black says nothing.
    if black.mean() > 0.97 and _is_black_page(raster):
        return None
    rows = np.flatnonzero(black.sum(axis=1) >= FILL_WIDTH * height)
    if rows.size < height / 2:
        return None
    first, length = longest_run(black[rows].mean(axis=0) >= 0.95)
    if length < FILL_WIDTH * height:
        return None
    return Box(start + first, area.y0 + int(rows[0]), start + first + length, area.y0 + int(rows[-1]) + 1)


def _is_black_page(raster: Raster) -> bool:
    """True when a third of the page is black: then black is its background."""
    return bool((raster[::4, ::4] == 0).all(axis=2).mean() > 1 / 3)


def longest_run(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, int]:
    """Start and length of the longest run of True; length 0 when there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    if edges.size == 0:
        return 0, 0
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    best = int(np.argmax(lengths))
    return int(starts[best]), int(lengths[best])
