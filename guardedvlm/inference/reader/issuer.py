"""Who issued a page: the name of a firm at its top, by its legal form, its trade, or its place above the address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guardedvlm.core.finding import Kind
from guardedvlm.core.firm import sounds_like_firm, without_legal_form
from guardedvlm.inference.reader.fields import names_its_own
from guardedvlm.inference.reader.hidden import pseudonym
from guardedvlm.inference.reader.page import Cell, Excerpt, Page, excerpt
from guardedvlm.inference.reader.postal import address_of
from guardedvlm.inference.reader.values import amounts, dates, letters
from guardedvlm.inference.reader.wording import mentions

_INSTITUTIONS = ("hospital", "clinic", "bank", "insurance", "university", "medicalcent")
_NO_NAMES = (
    "taxinvoice", "invoice", "receipt", "cashbill", "cashsale", "statement", "gstreg", "gstid", "gstno", "regno",
    "companyno", "cono", "rocno", "website", "welcome", "thankyou", "duplicate", "customer", "billto", "malaysia",
)  # fmt: skip
"""What else stands at the top of pages."""
TOP_ROWS = 8
"""Letterheads stand at the top: rows in which an issuer is looked for."""
LEAST_LETTERS = 4
LEAST_OWN = 2
"""Letters beside the legal form."""
LEAST_SHARE = 0.6
"""Of letters among the letters and digits of a name: "99 SPEED MART S/B" has .85, "GST Reg No. 001269075968" .43."""
HIDDEN_NAMES = (Kind.PERSON, Kind.ORGANIZATION)


def issuer_of(page: Page) -> Excerpt | None:
    """The first name of a firm at the top of the page, else the first name above the address; where the guard hid what
    stands first, its label."""
    top = list(_top(page))
    firms = [cell for cell in top if may_be_name(cell.text) and _is_firm(cell.text)]
    if firms:
        return _name(firms[0])
    hidden = next((cell for cell in top if is_hidden_name(cell.text)), None)
    if hidden is not None:
        return excerpt(hidden)
    return next((_name(cell) for cell in _letterhead(page, top) if may_be_name(cell.text)), None)


def may_be_name(text: str) -> bool:
    """Whether a text can be somebody's name: letters rather than digits, no label, and nothing that was hidden instead
    of a name."""
    is_label = pseudonym(text) == text.strip()
    text = text.partition("(")[0] or text  # what follows in brackets is a number or a place
    solid = [char for char in text if char.isalnum()]
    alphabetic = sum(map(str.isalpha, solid))
    if len(letters(text)) < LEAST_LETTERS or alphabetic < LEAST_SHARE * len(solid) or is_label:
        return False
    return not dates(text) and not names_its_own(text) and not mentions(text, *_NO_NAMES)


def is_hidden_name(text: str) -> bool:
    """Whether the guard's label for a name stands there alone."""
    label = pseudonym(text)
    return label is not None and label == text.strip() and label.startswith(HIDDEN_NAMES)


def _is_firm(text: str) -> bool:
    if len(letters(without_legal_form(text.partition("(")[0]))) < LEAST_OWN:
        return False  # what stands before the legal form was hidden
    return sounds_like_firm(text) or mentions(text, *_INSTITUTIONS)


def _name(cell: Cell) -> Excerpt:
    """The name without the registration number that is printed behind it in brackets."""
    before, bracket, behind = cell.text.partition("(")
    is_number = bracket and sum(map(str.isdigit, behind)) > sum(map(str.isalpha, behind))
    return excerpt(cell, 0, len(before)) if is_number and letters(before) else excerpt(cell)


def _top(page: Page) -> Iterator[Cell]:
    """The cells of the first rows, up to the first date or amount: there the letterhead is over."""
    for row in page.rows[:TOP_ROWS]:
        if dates(row.text) or amounts(row.text):
            return
        yield from row.cells


def _letterhead(page: Page, top: Sequence[Cell]) -> Iterator[Cell]:
    """What stands above the address, or at the very top where none is found."""
    address = address_of(page)
    limit = min((line.box.y0 for line in address), default=None)
    for cell in top:
        if limit is not None and cell.line.box.y0 >= limit:
            return
        yield cell
