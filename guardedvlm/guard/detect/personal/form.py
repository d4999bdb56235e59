"""Form rules: what stands right of or below a label is personal whatever the named-entity model says.

A value never reaches over another label, and never into a far column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.labels import Label, find_labels, join, leading_label, whole_label
from guardedvlm.guard.detect.personal.layout import Cell, Layout
from guardedvlm.guard.detect.personal.values import trimmed_value

Rectangle = tuple[float, float, float, float]
"""x0, y0, x1, y1 in the frame of the text."""
FORM_SCORE = 0.85
FOLLOWING: dict[Kind, int] = {Kind.ADDRESS: 4, Kind.PERSON: 1, Kind.ATTRIBUTE: 1}
"""Further lines that a value of a kind may have below its first one."""
NO_COLUMN = frozenset({Kind.ADDRESS, Kind.ATTRIBUTE})
"""Kinds whose values look like any other text: what stands below the value is not taken for another one."""
COLUMN_ROWS = 40
"""Rows of a table whose header is a label; more than fit on a page."""
CLOSE = 0.9
"""Heights between the lines of one value."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A span of the text of line `line`."""

    line: int
    span: Span


def form_hits(layout: Layout) -> Iterator[Hit]:
    """Values of every label that stands alone in its cell or ends it."""
    for cell in layout.cells:
        label = _open_label(cell.text)
        if label is None or label.kind in (None, Kind.AMOUNT, Kind.SIGNATURE):
            continue
        yield from _values(layout, cell, label)


def _open_label(text: str) -> Label | None:
    """The label that the cell is, or that ends it with a colon ("Male   DOB:"); its value must stand elsewhere."""
    label = whole_label(text)
    if label is not None:
        return label
    if not text.rstrip(" _.").endswith(":"):
        return None
    labels = join(text, find_labels(text))
    last = labels[-1] if labels else None
    return last if last is not None and not text[last.end :].strip(" _.:") else None


def _values(layout: Layout, cell: Cell, label: Label) -> Iterator[Hit]:
    colon = ":" in cell.text[label.end - label.start :] or cell.text.rstrip(" _.").endswith(":")
    right = layout.right_of(cell, reach=layout.reach(cell, colon=colon))
    beside = _hit(right, label) if right is not None else None
    if right is not None and beside is not None:
        yield beside
        yield from _continued_right(layout, right, label)
        if label.kind is Kind.ADDRESS:
            yield from _continued_below(layout, right, label)
        if colon:
            return
    below = layout.below(cell)
    beneath = _hit(below, label) if below is not None else None
    if below is not None and beneath is not None:
        yield beneath
        yield from _continued_right(layout, below, label)
        yield from _continued_below(layout, below, label)


def _hit(cell: Cell, label: Label, *, strict: bool = False) -> Hit | None:
    """The value of `label` at the start of `cell`, or None where `cell` is or starts with another label."""
    first = leading_label(cell.text)
    if first is not None and not _is_value_word(cell.text, first):
        return None
    labels = join(cell.text, find_labels(cell.text))
    limit = next((other.start for other in labels if other.start and _colon_after(cell.text, other)), len(cell.text))
    found = trimmed_value(cell.text, 0, limit, label, strict=strict)
    if found is None or label.kind is None:
        return None
    return Hit(cell.index, Span(*found, label.kind, FORM_SCORE, f"form/{label.kind.value.lower()}"))


def _colon_after(text: str, label: Label) -> bool:
    return text[label.end :].lstrip()[:1] == ":"


def _is_value_word(text: str, label: Label) -> bool:
    """Whether a label's word begins a value after all: "Provider Street 5", "Holder, Jane": more text, no colon."""
    rest = text[label.end :]
    return bool(rest.strip(" .:_-")) and ":" not in rest[:3] and label.end - label.start <= MAX_CHANCE_CHARS


MAX_CHANCE_CHARS = 8
"""A longer label at the start of a cell is one; short ones ("City", "Case") also begin names."""


def _continued_right(layout: Layout, cell: Cell, label: Label) -> Iterator[Hit]:
    """Cells directly right of a value: OCR cuts a value where its spaces are wide."""
    current = cell
    for _ in range(4):
        following = layout.right_of(current, reach=1.5 * current.height)
        hit = _hit(following, label) if following is not None and label.kind in FOLLOWING else None
        if hit is None or following is None:
            return
        yield hit
        current = following


def _continued_below(layout: Layout, cell: Cell, label: Label) -> Iterator[Hit]:
    """Further lines of a value, and further rows of the column that the label heads."""
    further = FOLLOWING.get(label.kind, 0) if label.kind else 0
    for row, following in enumerate(layout.column(cell, CLOSE)):
        in_value = row < further
        if row >= COLUMN_ROWS or (not in_value and label.kind in NO_COLUMN):
            return
        hit = _hit(following, label, strict=not in_value or label.kind is Kind.PERSON)
        if hit is None:
            return
        yield hit


def signature_areas(layout: Layout) -> Iterator[Rectangle]:
    """Rectangles (frame coordinates) beside "Signature" labels: handwriting is not read, so it is hidden by its place.

    Right of the label up to the next text; above and below it up to the text there, as wide as signatures are; and
    every cell there that is much higher than the label, because it is handwriting that was read as something.
    """
    for cell in layout.cells:
        label = whole_label(cell.text) or leading_label(cell.text)
        if label is None or label.kind is not Kind.SIGNATURE:
            continue
        areas = [*_beside(layout, cell), *_over_and_under(layout, cell)]
        yield from areas
        near = (cell.x0 - _wide(cell), cell.y0 - _high(cell), cell.x1 + _wide(cell), cell.y1 + _high(cell))
        for other in layout.cells:
            tall = other.height >= HANDWRITING_HEIGHTS * cell.height
            if tall and other.x0 < near[2] and near[0] < other.x1 and other.y0 < near[3] and near[1] < other.y1:
                yield other.x0, other.y0, other.x1, other.y1


def _wide(label: Cell) -> float:
    return SIGNATURE_WIDTH * label.height


def _high(label: Cell) -> float:
    return SIGNATURE_HEIGHT * label.height


def _beside(layout: Layout, cell: Cell) -> Iterator[Rectangle]:
    h = cell.height
    beside = layout.right_of(cell, reach=_wide(cell))
    end = cell.x1 + _wide(cell)
    if beside is not None:
        # Text directly beside the label is the signature's own (a typed name); text further off ends the area.
        end = beside.x1 if beside.x0 - cell.x1 < 2 * h and leading_label(beside.text) is None else beside.x0
    if end - cell.x1 > h:
        yield cell.x1, cell.y0 - 0.8 * h, end, cell.y1 + 0.5 * h


def _over_and_under(layout: Layout, cell: Cell) -> Iterator[Rectangle]:
    h = cell.height
    above, below = layout.above(cell, SIGNATURE_HEIGHT), layout.below(cell, SIGNATURE_HEIGHT)
    for near, far, neighbour in ((cell.y0, cell.y0 - _high(cell), above), (cell.y1, cell.y1 + _high(cell), below)):
        top, bottom = _free(near, far, neighbour)
        if bottom - top > 0.8 * h:
            yield cell.x0 - h, top, max(cell.x1, cell.x0 + _wide(cell)), bottom


def _free(near: float, far: float, neighbour: Cell | None) -> tuple[float, float]:
    """The rows between a label's edge and the text on that side, top first."""
    if far < near:
        return (max(far, neighbour.y1) if neighbour else far), near
    return near, (min(far, neighbour.y0) if neighbour else far)


SIGNATURE_WIDTH, SIGNATURE_HEIGHT = 14.0, 4.5
"""Size of a signature in heights of its label: fields of bank and health forms are 2 to 3 inches wide and about half an
inch high, their labels 8 to 10 points."""
HANDWRITING_HEIGHTS = 2.0
"""Handwriting is at least so much higher than the label of its field: measured 3.7 and 9 on the demonstration's."""
