"""Lines of a page as cells in the frame of the text, whichever way the page is turned, and who stands beside whom."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import TextLine

HALF = 0.5
"""Share of the lower cell's height that two cells of one row have in common."""
NEAR_ROWS = 1.6
"""A value stands at most so many heights of the higher cell below its label."""
COLON_REACH, PLAIN_REACH = 0.5, 0.25
"""How far right of a label its value may begin, as a share of the text's width: after a colon dotted leaders are usual,
without one the next column is near."""
COLON_HEIGHTS, PLAIN_HEIGHTS = 15.0, 6.0
"""The same in heights of the label, for pages with little text."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A read line: its index on the page, its text, its rectangle in the frame of the text (x right, y down)."""

    index: int
    text: str = field(repr=False)
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0

    def in_row(self, other: Cell) -> bool:
        """Whether both stand in one row."""
        common = min(self.y1, other.y1) - max(self.y0, other.y0)
        return common >= HALF * min(self.height, other.height)

    def over(self, other: Cell) -> bool:
        """Whether `other` is beneath this cell in the same column: edges or middles are aligned, or it is contained."""
        if min(self.x1, other.x1) - max(self.x0, other.x0) <= 0:
            return False
        slack = 2.0 * max(self.height, other.height)
        aligned = abs(self.x0 - other.x0) <= slack
        centred = abs((self.x0 + self.x1) - (other.x0 + other.x1)) <= 2 * slack
        return aligned or centred or (self.x0 - slack <= other.x0 and other.x1 <= self.x1 + slack)


class Layout:
    """The cells of a page's read lines."""

    def __init__(self, lines: Sequence[TextLine], size: Size) -> None:
        self.size = size
        self.angle = _angle(lines)
        self._cosine, self._sine = math.cos(self.angle), math.sin(self.angle)
        self.cells = tuple(self._cell(i, line) for i, line in enumerate(lines) if line.text)
        self.width = max((c.x1 for c in self.cells), default=1.0) - min((c.x0 for c in self.cells), default=0.0)
        self.top = min((c.y0 for c in self.cells), default=0.0)
        self.bottom = max((c.y1 for c in self.cells), default=1.0)

    def _cell(self, index: int, line: TextLine) -> Cell:
        points = [self._to_frame(x, y) for x, y in line.quad]
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        return Cell(index, line.text, min(xs), min(ys), max(xs), max(ys))

    def _to_frame(self, x: float, y: float) -> tuple[float, float]:
        return x * self._cosine + y * self._sine, y * self._cosine - x * self._sine

    def quad(self, x0: float, y0: float, x1: float, y1: float) -> Quad:
        """Corners on the page of a rectangle of the frame, to the nearest pixel."""
        corners = [
            (round(x * self._cosine - y * self._sine), round(y * self._cosine + x * self._sine))
            for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        ]
        return corners[0], corners[1], corners[2], corners[3]

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Box | None:
        """Box on the page around a rectangle of the frame; None when it lies outside."""
        return Box.around(self.quad(x0, y0, x1, y1)).clipped(self.size)

    def right_of(self, cell: Cell, *, reach: float) -> Cell | None:
        """The nearest cell right of `cell` in its row that begins within `reach` pixels."""
        beside = [c for c in self.cells if c.index != cell.index and c.x0 >= cell.x1 - cell.height and c.in_row(cell)]
        nearest = min(beside, key=lambda c: c.x0, default=None)
        return nearest if nearest is not None and nearest.x0 - cell.x1 <= reach else None

    def below(self, cell: Cell, rows: float = NEAR_ROWS) -> Cell | None:
        """The nearest cell beneath `cell` in its column, at most `rows` heights away."""
        beneath = [c for c in self.cells if c.y0 >= cell.y1 - HALF * min(c.height, cell.height) and cell.over(c)]
        beneath = [c for c in beneath if c.index != cell.index and c.y0 - cell.y1 <= rows * max(c.height, cell.height)]
        return min(beneath, key=lambda c: (c.y0, abs(c.x0 - cell.x0)), default=None)

    def above(self, cell: Cell, rows: float = NEAR_ROWS) -> Cell | None:
        """The nearest cell over `cell` in its column, at most `rows` heights away."""
        over = [c for c in self.cells if c.y1 <= cell.y0 + HALF * min(c.height, cell.height) and c.over(cell)]
        over = [c for c in over if c.index != cell.index and cell.y0 - c.y1 <= rows * max(c.height, cell.height)]
        return max(over, key=lambda c: c.y1, default=None)

    def reach(self, cell: Cell, *, colon: bool) -> float:
        """How far right of a label its value may begin."""
        share, heights = (COLON_REACH, COLON_HEIGHTS) if colon else (PLAIN_REACH, PLAIN_HEIGHTS)
        return max(share * self.width, heights * cell.height)

    def column(self, cell: Cell, rows: float = 1.0) -> Iterator[Cell]:
        """Cells beneath `cell` one after another while each is at most `rows` heights below the last."""
        seen, current = {cell.index}, self.below(cell, rows)
        while current is not None and current.index not in seen:
            yield current
            seen.add(current.index)
            current = self.below(current, rows)


def _angle(lines: Sequence[TextLine]) -> float:
    """The direction of the text in radians: the median over the lines of their baselines, long ones counting more."""
    directions: list[tuple[float, float]] = []
    for line in lines:
        (x0, y0), (x1, y1) = line.quad[0], line.quad[1]
        length = math.hypot(x1 - x0, y1 - y0)
        if length and line.text:
            directions.append((math.atan2(y1 - y0, x1 - x0), length))
    if not directions:
        return 0.0
    # The dominant quarter turn first: a median of angles on both sides of 180 degrees would be meaningless.
    weights = [0.0] * 4
    for angle, length in directions:
        weights[round(angle / (math.pi / 2)) % 4] += length
    quarter = weights.index(max(weights))
    base = quarter * math.pi / 2
    around = [math.remainder(a - base, 2 * math.pi) for a, _ in directions if round(a / (math.pi / 2)) % 4 == quarter]
    skew = statistics.median(around)
    return base + (skew if abs(skew) > LEAST_SKEW else 0.0)


LEAST_SKEW = math.radians(0.7)
"""A smaller skew is the detector's rounding."""
