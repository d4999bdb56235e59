"""Where on a page something was hidden, coarsely: a 32 x 32 bitmap and the share of the area by kind.

Coarse on purpose: a reviewer sees that the header of a form was hidden, but not the width of a name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Size

CELLS = 32
"""Cells a side."""
_GRID = Size(CELLS, CELLS)


def hidden_grid(boxes: Iterable[Box], page: Size) -> str:
    """Cells of a page that any of `boxes` touches, in reading order, one bit each, as 256 hex digits."""
    bits = 0
    for box in boxes:
        cells = box.scaled(page, _GRID).clipped(_GRID)
        if cells is None:
            continue
        row = ((1 << cells.width) - 1) << (CELLS - cells.x1)
        for y in range(cells.y0, cells.y1):
            bits |= row << (CELLS * (CELLS - 1 - y))
    return f"{bits:0{CELLS * CELLS // 4}x}"


def area_permille(pages: Iterable[tuple[Size, Iterable[tuple[Kind, Box]]]]) -> dict[Kind, int]:
    """Area of each kind in thousandths of all pages together, rounded up, at most 1000; boxes that overlap count
    twice."""
    areas: defaultdict[Kind, int] = defaultdict(int)
    pixels = 0
    for page, regions in pages:
        pixels += page.pixels
        for kind, box in regions:
            inside = box.clipped(page)
            areas[kind] += inside.area if inside else 0
    return {kind: min(1000, -(-1000 * area // pixels)) for kind, area in areas.items()}
