"""The address that a page prints at its top, line by line, or the labels that stand in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guardedvlm.core.finding import Kind
from guardedvlm.inference.reader.fields import names_its_own
from guardedvlm.inference.reader.hidden import pseudonym
from guardedvlm.inference.reader.page import Cell, Excerpt, Page, excerpt
from guardedvlm.inference.reader.values import amounts, dates

TOP_ROWS = 16
"""A letterhead ends within so many rows."""
MOST_LINES = 6
"""Of a postal address: what goes on longer is none any more."""
GAP_PITCHES = 2.2
_STREET = re.compile(
    r"\b(?:no|lot|jalan|jln|lorong|persiaran|lebuh|taman|tmn|bandar|seksyen|section|block|blk|unit|floor|level|street|st|road|rd|"
    r"avenue|ave|lane|drive|way|square|plaza|p\.?o\.? box|stra(?:ss|ß)e|str|weg|platz|rue|calle|via)\b",
    re.IGNORECASE,
)
_POSTCODE = re.compile(r"(?<!\d)\d{4,6}(?!\d)|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b")
_OTHER = re.compile(
    r"\b(?:tel|fax|phone|gst|sst|vat|reg|co|company|roc|id|invoice|receipt|bill|date|e-?mail|www|cashier|table|order)\b",
    re.IGNORECASE,
)


def address_of(page: Page) -> tuple[Excerpt, ...]:
    """The lines of the first address at the top of the page; () where none stands there."""
    cells = [row.cells[0] for row in page.rows[:TOP_ROWS]]
    labelled = [excerpt(cell) for cell in cells if (pseudonym(cell.text) or "").startswith(Kind.ADDRESS)]
    return tuple(labelled) or _printed(cells, page.pitch)


def _printed(cells: Sequence[Cell], pitch: float) -> tuple[Excerpt, ...]:
    """The first run of lines of which one names a street or a lot with a number, and one a postal code."""
    run: list[Cell] = []
    for cell in cells:
        close = not run or cell.middle - run[-1].middle <= GAP_PITCHES * max(pitch, cell.height)
        if run and not (close and _may_be_one(cell.text)):
            break
        if run or (_STREET.search(cell.text) and re.search(r"\d", cell.text) and _may_be_one(cell.text)):
            run.append(cell)
    run = run[:MOST_LINES]
    ends = [at for at, cell in enumerate(run) if _POSTCODE.search(cell.text)]
    if not ends:
        return ()
    # Town and state may stand below the postal code's line.
    last = next((at for at in range(ends[-1] + 1, len(run)) if re.search(r"\d", run[at].text)), len(run))
    return tuple(excerpt(cell) for cell in run[: max(last, ends[-1] + 1)])


def _may_be_one(text: str) -> bool:
    bare = _OTHER.search(text) or amounts(text) or dates(text)
    return not bare and not names_its_own(text) and sum(map(str.isalpha, text)) >= 3
