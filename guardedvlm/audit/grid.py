"""Where on a page something was hidden, coarsely: a 32 x 32 bitmap and the share of the area by kind.

Coarse on purpose: a reviewer sees that the header of a form was hidden, but not the width of a name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from guardedvlm.audit.facts import Area, FoundAlike
from guardedvlm.core.finding import Action, Kind
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


def area_of(box: Box, page: Size) -> Area:
    """How much of the page a box covers."""
    inside = box.clipped(page)
    share = inside.area / page.pixels if inside else 0.0
    bounds = ((0.001, Area.SPECK), (0.01, Area.SMALL), (0.1, Area.MEDIUM))
    return next((area for bound, area in bounds if share < bound), Area.LARGE)


def found_alike(found: Iterable[tuple[Kind, Action, float, Box, Size]]) -> tuple[FoundAlike, ...]:
    """Findings with the same kind, action, tenth of the score and area counted together, in a fixed order."""
    groups = Counter(
        (kind, action, min(10, max(0, int(10 * score))) if score == score else 0, area_of(box, page))
        for kind, action, score, box, page in found
    )
    return tuple(
        FoundAlike(kind=kind, action=action, tenths=tenths, area=area, count=count)  # type: ignore[typeddict-item]
        for (kind, action, tenths, area), count in sorted(groups.items())
    )
