"""Lists on a page: the lines of a table or a receipt, and the text under a heading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from guardedvlm.inference.reader.fields import is_label, names_its_own
from guardedvlm.inference.reader.page import Excerpt, Page, Row, excerpt
from guardedvlm.inference.reader.totals import label_score
from guardedvlm.inference.reader.values import amounts, dates, letters
from guardedvlm.inference.reader.wording import mentions

_COLUMNS = (
    "quantity", "qty", "item", "description", "desc", "amount", "price", "total", "date", "debit", "credit", "balance",
    "code", "particulars", "details", "unit", "disc", "tax", "withdrawal", "deposit", "paidin", "paidout", "reference",
)  # fmt: skip
"""Heads of columns."""
_CARRIED = ("openingbalance", "closingbalance", "broughtforward", "carriedforward", "balanceforward", "startingbalance")
"""Lines of a statement's table that are no transaction."""
_ENDS = ("subtotal", "endofstatement", "payment", "cash", "change", "rounding", "thankyou", "summary", "closingbalance")
TOTAL_FROM = 40.0
"""Score of `totals.label_score` from which a row is a total and no line."""
GAP_PITCHES = 3.5
"""A table ends where the next row is farther away than this many row distances."""
HEADING_PITCHES = 1.9


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line of a table: what it is and its last amount."""

    name: str = field(repr=False)
    amount: str = field(repr=False)
    sources: tuple[Excerpt, ...]


def table_lines(page: Page) -> tuple[TableLine, ...]:
    """Lines with an amount between the heads of the columns (or the first amount) and the first total."""
    head = _head(page)
    start = head + 1 if head is not None else _first_amount(page)
    body: list[Row] = []
    for index in range(start, len(page.rows)):
        row = page.rows[index]
        if body and (row.middle - body[-1].middle > GAP_PITCHES * page.pitch or _ends(row)):
            break
        if not _is_head(row):
            body.append(row)
    # A line whose first row has numbers only is named by the row below it, any other by itself or the row above.
    named_below = bool(body) and _has_amount(body[0]) and not _name(body[0])
    with_balance = head is not None and mentions(page.rows[head].cells[-1].text, "balance")
    found = (
        _line(body, place, named_below=named_below, with_balance=with_balance)
        for place, row in enumerate(body)
        if _has_amount(row)
    )
    return tuple(line for line in found if not mentions(line.name, *_CARRIED))


def _line(body: Sequence[Row], place: int, *, named_below: bool, with_balance: bool) -> TableLine:
    row = body[place]
    name, named_by = _name(row), row
    other = place + 1 if named_below else place - 1
    if not name and 0 <= other < len(body) and not _has_amount(body[other]):
        named_by = body[other]
        name = named_by.text
    # In a statement the last column is the balance: the line's own amount stands before it.
    every = [(cell, amount) for cell in row.cells for amount in amounts(cell.text)]
    cell, amount = every[0] if with_balance else every[-1]
    sources = tuple(excerpt(part) for part in {*named_by.cells, *row.cells} if part is not cell)
    return TableLine(name, amount.printed, (*sources, excerpt(cell)))


def _name(row: Row) -> str:
    """The words of a row: its cells without amounts, at least three letters in all."""
    text = " ".join(cell.text for cell in row.cells if not amounts(cell.text) and not dates(cell.text))
    inside = " ".join(cell.text[: amounts(cell.text)[0].start] for cell in row.cells if amounts(cell.text))
    whole = text if len(letters(text)) >= 3 else f"{text} {inside}".strip()
    return whole if len(letters(whole)) >= 3 else ""


def _has_amount(row: Row) -> bool:
    return any(amounts(cell.text) for cell in row.cells)


def _ends(row: Row) -> bool:
    """True for a total and for what stands below it. A row that begins with a date is a line, whatever it is called."""
    if dates(row.cells[0].text):
        return False
    return (_has_amount(row) and label_score(row.text) >= TOTAL_FROM) or letters(row.text).startswith(_ENDS)


def _is_head(row: Row) -> bool:
    """True for a row of column heads: two or more, and no value among them."""
    if _has_amount(row) or any(dates(cell.text) for cell in row.cells):
        return False
    return sum(mentions(cell.text, *_COLUMNS) for cell in row.cells if is_label(cell.text)) >= 2


def _head(page: Page) -> int | None:
    """The first row of column heads under which an amount stands within four rows."""
    for index, row in enumerate(page.rows):
        if _is_head(row) and any(_has_amount(later) for later in page.rows[index + 1 : index + 5]):
            return index
    return None


def _first_amount(page: Page) -> int:
    """The first row that could be a line of a receipt, where no columns have heads."""
    for index, row in enumerate(page.rows):
        if _has_amount(row) and not names_its_own(row.text):
            named_above = index > 0 and not _name(row) and not _has_amount(page.rows[index - 1])
            return index - 1 if named_above else index
    return len(page.rows)


def section(page: Page, heading: int) -> tuple[Excerpt, ...]:
    """Rows under the heading in row `heading`, up to the next heading or a wide gap."""
    found: list[Excerpt] = []
    above = page.rows[heading]
    for row in page.rows[heading + 1 :]:
        if row.middle - above.middle > HEADING_PITCHES * max(page.pitch, row.height) or is_heading(row):
            break
        found += [excerpt(cell) for cell in row.cells]
        above = row
    return tuple(found)


def is_heading(row: Row) -> bool:
    """True for a short line of its own that ends with a colon or is in capitals, or that names its own value."""
    first = row.cells[0].text.strip()
    if names_its_own(first):
        return True
    alone = len(row.cells) == 1 and is_label(first) and len(first.split()) <= 5
    return alone and (first.endswith(":") or (first.isupper() and len(letters(first)) >= 4))
