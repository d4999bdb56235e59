"""The date at which a document was issued: each printed date is scored by its label, its place and a time beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from guardedvlm.inference.reader.page import Cell, Excerpt, Page, excerpt
from guardedvlm.inference.reader.values import PrintedDate, dates, letters
from guardedvlm.inference.reader.wording import mentions

_OTHER_DATE = (
    "due", "expir", "birth", "dob", "valid", "until", "delivery", "effective", "bestbefore", "since", "from",
    "nextvisit", "admission", "discharge", "registered", "appointment", "geburt", "naissance", "nacimiento",
)  # fmt: skip
_ISSUE = ("invoice", "bill", "receipt", "issue", "biz", "transaction", "purchase", "statement", "report", "document")
_DATE = ("date", "datum", "fecha", "dated", "billdt", "bizdt")
_TIME = re.compile(r"(?<!\d)\d{1,2}[:.]\d{2}(?:[:.]\d{2})?")

LABELLED, ISSUE, TIMED, HIGHER, REPEATED, OTHER, COPY, RANGE = 30.0, 8.0, 10.0, 6.0, 4.0, -60.0, -6.0, -12.0
"""Weights of the evidence. A label says more than a place; "due" or "birth" says that it is another date."""
ACCEPTED = 0.0


@dataclass(frozen=True, slots=True)
class DatedCell:
    """A date, where it stands and how likely it is the date of issue."""

    date: PrintedDate = field(repr=False)
    value: Excerpt
    score: float


def best_date(page: Page) -> DatedCell | None:
    """The date of issue, or None when no date is printed or each is labelled as another one."""
    scored = list(_scored(page))
    best = max(scored, key=lambda item: item.score, default=None)
    return best if best is not None and best.score >= ACCEPTED else None


def _scored(page: Page) -> Iterator[DatedCell]:
    printed = [
        (index, cell, found) for index, row in enumerate(page.rows) for cell in row.cells for found in dates(cell.text)
    ]
    for index, cell, found in printed:
        label = _label(page, index, cell, found)
        score = HIGHER * (1 - index / max(1, len(page.rows)))
        if mentions(label, *_OTHER_DATE):
            score += OTHER
        elif mentions(label, *_DATE) or letters(label).endswith("dt"):
            score += LABELLED + (ISSUE if mentions(label, *_ISSUE) else 0.0)
        if mentions(label, "print", "copy"):
            score += COPY
        rest = page.rows[index].text.replace(found.printed, " ", 1)
        if _TIME.search(rest) or _TIME.search(cell.text[found.end :]):
            score += TIMED
        if len(dates(cell.text)) > 1:
            score += RANGE  # a period, not a day
        if sum(other.value == found.value for _, _, other in printed) > 1:
            score += REPEATED
        yield DatedCell(found, excerpt(cell, found.start, found.end), score)


def _label(page: Page, index: int, cell: Cell, found: PrintedDate) -> str:
    """What names a date: the text before it, the cell at its left, else the label above it."""
    before = cell.text[: found.start]
    if sum(char.isalpha() for char in before) >= 2:
        return before
    left = [other for other in page.rows[index].cells if other.x1 <= cell.x0 + 1 and letters(other.text)]
    if left:
        return left[-1].text
    above = page.rows[index - 1].cells if index else ()
    over = [other for other in above if other.overlaps_x(cell) > 0.3 and not dates(other.text)]
    return over[0].text if over else ""
