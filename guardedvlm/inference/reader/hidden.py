"""What stands where the guard hid something: a constant fill, or a label such as PERSON-A that the guard drew.

The reader tells "hidden by policy" from "not on the page", so that nobody takes a redaction for an empty form field.
"""

from __future__ import annotations

import re

import numpy as np

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Raster, Size

FILL_WIDTH = 1.2
"""A run of constant pixels counts as a fill from this many label heights on: a thick rule or letter is narrower."""
REACH = 12.0
"""How far right of a label a fill still belongs to it, in label heights."""

PSEUDONYM = re.compile(
    r"(?<![A-Z])(?:"
    + "|".join(sorted(kind.value.replace("_", "[_ ]?") for kind in Kind))
    + r")\s?[-–]\s?[A-Z]{1,3}(?![A-Za-z])"
)
"""A label that the guard draws in place of a value: kind and letters. OCR may lose the underscore."""


def pseudonym(text: str) -> str | None:
    """The guard's label in `text`, or None."""
    match = PSEUDONYM.search(text)
    return match.group() if match else None


def fill_beside(raster: Raster, label: Box) -> Box | None:
    """The fill that begins right of `label` on its line, or below it, or None."""
    size = Size.of(raster)
    right = Box(label.x1, label.y0, label.x1 + round(REACH * label.height), label.y1).clipped(size)
    below = Box(label.x0, label.y1, label.x1 + label.height, label.y1 + 2 * label.height).clipped(size)
    return (right and _fill(raster, right, label.height)) or (below and _fill(raster, below, label.height))


def _fill(raster: Raster, area: Box, height: int) -> Box | None:
    """The first fill inside `area`: black columns in a row, over at least half a label's height."""
    part = raster[area.y0 : area.y1, area.x0 : area.x1]
    black = (part == 0).all(axis=2)
    # On a black page, an X-ray for example, black says nothing.
    if black.mean() > 0.97 and _is_black_page(raster):
        return None
    rows = black.mean(axis=1)
    held = np.flatnonzero(rows >= min(1.0, FILL_WIDTH * height / max(1, area.width)))
    if held.size < height / 2:
        return None
    columns = black[held].mean(axis=0) >= 0.95
    start, length = longest_run(columns)
    if length < FILL_WIDTH * height:
        return None
    return Box(area.x0 + start, area.y0 + int(held[0]), area.x0 + start + length, area.y0 + int(held[-1]) + 1)


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
