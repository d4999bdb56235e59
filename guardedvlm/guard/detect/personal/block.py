"""What a line's neighbours tell about it: more lines of an address, of a machine-readable zone, a cheque's foot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.form import CLOSE, Hit
from guardedvlm.guard.detect.personal.labels import leading_label, whole_label
from guardedvlm.guard.detect.personal.layout import Cell, Layout
from guardedvlm.guard.detect.personal.view import digit_groups

BLOCK_SCORE = 0.65
LEAST_ADDRESS_SHARE = 0.35
"""Share of a line's letters and digits that an address must have for the rest of the line to belong to it."""
FOOT = 0.75
"""A cheque's MICR line stands in the lowest quarter (ANSI X9.100-160: the lowest 5/8 inch)."""
LEAST_MICR_DIGITS = 14
"""Nine of the routing number and at least five of the account."""


def block_hits(layout: Layout, hits: Sequence[Hit]) -> list[Hit]:
    """Hits that only a line's neighbourhood gives."""
    return [*_addresses(layout, hits), *_zone_lines(layout, hits), *_micr(layout, hits)]


def _whole(cell: Cell, kind: Kind, name: str) -> Hit:
    """All of the cell, a leading label left out."""
    label = leading_label(cell.text)
    start = label.end if label is not None and cell.text[label.end :].lstrip()[:1] == ":" else 0
    return Hit(cell.index, Span(start, len(cell.text), kind, BLOCK_SCORE, f"pattern/{name}"))


def _addresses(layout: Layout, hits: Sequence[Hit]) -> Iterator[Hit]:
    """The rest of lines that are mostly address, and the lines that continue them."""
    found: dict[int, Span] = {}
    for hit in hits:
        # A place that only the model named may stand in any line.
        if hit.span.kind is Kind.ADDRESS and not hit.span.recognizer.startswith("presidio"):
            found[hit.line] = max(hit.span, found.get(hit.line, hit.span), key=lambda s: s.end - s.start)
    places = {hit.line for hit in hits if hit.span.kind is Kind.ADDRESS}
    for cell in layout.cells:
        span = found.get(cell.index)
        if span is None or span.end - span.start < LEAST_ADDRESS_SHARE * len(cell.text):
            continue
        yield _whole(cell, Kind.ADDRESS, "address-line")
        for following in _continuation(layout, cell, places):
            yield _whole(following, Kind.ADDRESS, "address-block")
        above = layout.above(cell, CLOSE)
        if above is not None and above.text.rstrip().endswith(",") and not _ends_block(above.text):
            yield _whole(above, Kind.ADDRESS, "address-block")


def _continuation(layout: Layout, cell: Cell, places: set[int]) -> Iterator[Cell]:
    """Lines directly below an address line while commas lead on or a place is named."""
    current = cell
    for following in layout.column(cell, CLOSE):
        leads_on = current.text.rstrip().endswith((",", "&", "-")) or following.index in places
        if not leads_on or _ends_block(following.text):
            return
        yield following
        current = following


def _ends_block(text: str) -> bool:
    return (
        whole_label(text) is not None or leading_label(text) is not None or bool(re.search(r"\d[.:]\d\d\b|@|www", text))
    )


_ZONE = re.compile(r"[A-Z0-9<«]{24,46}")


def _zone_lines(layout: Layout, hits: Sequence[Hit]) -> Iterator[Hit]:
    """Lines of the width and alphabet of a machine-readable zone next to one of its lines."""
    found = {hit.line for hit in hits if hit.span.kind is Kind.MRZ}
    for cell in layout.cells:
        if cell.index not in found:
            continue
        for neighbour in (layout.above(cell, 2.0), layout.below(cell, 2.0)):
            if neighbour is None:
                continue
            alphabet = _ZONE.fullmatch(re.sub(r"\s", "", neighbour.text).upper())
            if alphabet or _same_extent(cell, neighbour):
                yield _whole(neighbour, Kind.MRZ, "mrz-block")


def _same_extent(cell: Cell, other: Cell) -> bool:
    """Whether both are as long and begin alike: lines of one zone, however badly the other one was read."""
    slack = 0.05 * (cell.x1 - cell.x0)
    long = cell.x1 - cell.x0 >= LEAST_ZONE_HEIGHTS * cell.height
    return long and abs(cell.x0 - other.x0) <= slack and abs(cell.x1 - other.x1) <= slack


LEAST_ZONE_HEIGHTS = 12.0
"""Length of a line of a zone in its heights: 30 characters of OCR-B are at least so long (ICAO 9303-3, 4.4)."""


def _micr(layout: Layout, hits: Sequence[Hit]) -> Iterator[Hit]:
    """The MICR line: digits in at least two groups at the page's foot, its symbols read as anything."""
    dated = {hit.line for hit in hits if hit.span.kind is Kind.DATE}
    foot = layout.top + FOOT * (layout.bottom - layout.top)
    for cell in layout.cells:
        groups = [len(g.digits) for run in digit_groups(cell.text) for g in run if len(g.digits) >= 3]
        solid, number = sum(c.isalnum() for c in cell.text), sum(groups)
        if (
            cell.index not in dated
            and cell.y0 >= foot
            and len(groups) >= 2
            and number >= LEAST_MICR_DIGITS
            and number >= 0.85 * solid
        ):
            yield _whole(cell, Kind.ROUTING, "micr-line")
