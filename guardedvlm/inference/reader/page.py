"""A page as rows of cells: text lines brought upright and grouped by height. Boxes stay those of the raster.

A scan is a little skewed or turned by a quarter; rows are therefore made in *upright coordinates*, the raster's own
turned back by the angle in which most of the text runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from guardedvlm.core.region import Box
from guardedvlm.core.word import TextLine

MIN_CONFIDENCE = 0.5
"""Below this the recogniser's text is a guess (its own `text_score` default); nothing is answered from it."""
SAME_ROW = 0.5
"""Centres closer than this share of the lower cell's height share a row; neighbouring lines are 1.0 or more apart."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text line in upright coordinates (pixels): left, top, right, bottom."""

    line: TextLine
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def text(self) -> str:
        """What was read."""
        return self.line.text

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        """Height of the centre line."""
        return (self.y0 + self.y1) / 2

    def overlaps_x(self, other: Cell) -> float:
        """Common width as a share of the narrower cell's width."""
        common = min(self.x1, other.x1) - max(self.x0, other.x0)
        return max(0.0, common) / max(1.0, min(self.x1 - self.x0, other.x1 - other.x0))


@dataclass(frozen=True, slots=True)
class Row:
    """Cells side by side, from left to right."""

    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        """The cells' texts with a space between."""
        return " ".join(cell.text for cell in self.cells)

    @property
    def middle(self) -> float:
        """Height of the centre line."""
        return median(cell.middle for cell in self.cells)

    @property
    def height(self) -> float:
        """Typical height of a cell."""
        return median(cell.height for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A value as it stands on the page: where it was read and how sure the recogniser was."""

    text: str = field(repr=False)
    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class Page:
    """Rows from top to bottom."""

    rows: tuple[Row, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell in reading order."""
        return tuple(cell for row in self.rows for cell in row.cells)

    @property
    def pitch(self) -> float:
        """Typical distance of two neighbouring rows in pixels."""
        gaps = [b.middle - a.middle for a, b in zip(self.rows, self.rows[1:], strict=False)]
        return median(gaps) if gaps else 1.0

    @classmethod
    def of(cls, lines: Sequence[TextLine]) -> Page:
        """The page of `lines`; what was not read with confidence is left out."""
        readable = [line for line in lines if line.text.strip() and line.confidence >= MIN_CONFIDENCE]
        angle = reading_angle(readable)
        return cls(tuple(_rows(_upright(line, angle) for line in readable)))


def reading_angle(lines: Iterable[TextLine]) -> float:
    """Angle in radians in which the text runs (0: to the right, pi/2: downwards), long lines counting most."""
    across = down = 0.0
    for line in lines:
        (x0, y0), (x1, y1) = line.quad[0], line.quad[1]
        # The square of the length: a short line's corners say little about its angle.
        length = math.hypot(x1 - x0, y1 - y0)
        across += (x1 - x0) * length
        down += (y1 - y0) * length
    return math.atan2(down, across) if across or down else 0.0


def _upright(line: TextLine, angle: float) -> Cell:
    cosine, sine = math.cos(angle), math.sin(angle)
    xs = [x * cosine + y * sine for x, y in line.quad]
    ys = [y * cosine - x * sine for x, y in line.quad]
    return Cell(line, min(xs), min(ys), max(xs), max(ys))


def _rows(cells: Iterable[Cell]) -> Iterable[Row]:
    """Group cells whose centres lie at one height; the row's height is that of the cell next to the new one."""
    open_rows: list[list[Cell]] = []
    for cell in sorted(cells, key=lambda item: item.middle):
        # Among the last rows the one whose nearest cell stands closest: a slight curl of the paper is followed.
        candidates = [(_distance(row, cell), row) for row in open_rows[-4:]]
        fitting = [item for item in candidates if item[0] < SAME_ROW]
        if fitting:
            min(fitting, key=lambda item: item[0])[1].append(cell)
        else:
            open_rows.append([cell])
    ordered = sorted(open_rows, key=lambda row: median(cell.middle for cell in row))
    return (Row(tuple(sorted(row, key=lambda item: item.x0))) for row in ordered)


def _distance(row: Sequence[Cell], cell: Cell) -> float:
    """Distance of the centres in heights of the lower cell; cells that stand above one another are never in one row."""
    if any(cell.overlaps_x(other) > 0.5 for other in row):
        return math.inf
    nearest = min(row, key=lambda other: max(other.x0 - cell.x1, cell.x0 - other.x1))
    return abs(nearest.middle - cell.middle) / max(1.0, min(nearest.height, cell.height))


def excerpt(cell: Cell, start: int = 0, end: int | None = None) -> Excerpt:
    """Characters [start, end) of a cell, trimmed, with the box around the words that they touch."""
    text = cell.text[start:end]
    stop = len(cell.text) if end is None else end
    boxes: list[Box] = []
    position = 0
    for word in cell.line.words:
        at = cell.text.find(word.text, position)
        if at < 0:
            continue
        position = at + len(word.text)
        if at < stop and position > start:
            boxes.append(word.box)
    box = boxes[0] if boxes else cell.line.box
    for other in boxes[1:]:
        box = box.union(other)
    return Excerpt(text.strip(), box, cell.line.confidence)
