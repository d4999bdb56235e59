"""The total of a receipt, an invoice or a bill: every amount with its label is scored, the best one is taken.

A label's words weigh most (the rounded grand total before the total, the total before the subtotal). Arithmetic
confirms: cash paid less change is the total. What stands under a tax summary is not the total, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from guardedvlm.inference.reader.page import Excerpt, Page, Row, excerpt
from guardedvlm.inference.reader.values import Amount, amounts, letters
from guardedvlm.inference.reader.wording import mentions

STRONG, NET, GROSS, PLAIN, WEAK, COUNTED, TENDERED = 100.0, 92.0, 88.0, 85.0, 55.0, 41.0, 30.0
"""How much a label says that its amount is the total. Order matters, distance hardly: evidence below moves one step."""
AFTER_ROUNDING = 18.0
"""An amount under a total's label below the rounding line is what was paid."""
PAID_LESS_CHANGE = 12.0
REPEATED = 3.0
IN_SUMMARY = -60.0
ACCEPTED = 40.0
"""Below this the page has amounts, but none that its label makes a total."""

_FINAL = (
    "grandtotal", "totalpayable", "amtpayable", "amountpayable", "amountdue", "balancedue", "totaldue", "totalrounded",
    "roundedtotal", "amtrounded", "amountrounded", "totaltopay", "amounttopay", "invoicetotal", "billtotal",
    "totalapagar", "netapayer", "totalttc", "gesamtbetrag", "zuzahlen", "finaltotal",
)  # fmt: skip
_NET = ("nettotal", "netttotal", "netamt", "nettamt", "netamount", "nettamount", "netsales")
_TOTAL = ("total", "summe", "gesamt")
_NOT_MONEY_DUE = (
    "change", "wechselgeld", "saving", "saved", "discount", "point", "deposit", "withdrawal", "litre", "tendered",
    "loyalty", "previous",
)  # fmt: skip
_COUNTED = ("quantity", "qty", "item", "pcs", "unit")
"""What stands beside a number of things: its amount may be the sum of the lines, before discounts and rounding."""
_TAX = ("gst", "tax", "vat", "sst", "mwst", "tva", "iva")
_PAID = ("cash", "paid", "payment", "received", "tender", "accepted", "visa", "master", "card", "debit", "credit")
_TABLE_HEAD = ("price", "description", "item", "desc", "unit")


@dataclass(frozen=True, slots=True)
class Entry:
    """An amount with the text that stands left of it."""

    row: int
    label: str = field(repr=False)
    amount: Amount
    value: Excerpt
    score: float = 0.0


def entries(page: Page) -> tuple[Entry, ...]:
    """Each row's last amount with its label; a label without amount takes the row below when that is only numbers."""
    found: list[Entry] = []
    for index, row in enumerate(page.rows):
        entry = _entry(row, index)
        if entry is None or letters(entry.label):
            found += [entry] if entry else []
            continue
        above = page.rows[index - 1] if index else None
        if above is not None and _entry(above, index) is None and not mentions(above.text, *_TABLE_HEAD):
            entry = replace(entry, label=above.text)
        found.append(entry)
    return tuple(found)


def _entry(row: Row, index: int) -> Entry | None:
    """The rightmost amount of a row; its label is all text left of the row's first amount."""
    first: tuple[int, Amount] | None = None
    last: tuple[int, Amount] | None = None
    for place, cell in enumerate(row.cells):
        for amount in amounts(cell.text):
            first = first or (place, amount)
            last = (place, amount)
    if first is None or last is None:
        return None
    label = " ".join([*(cell.text for cell in row.cells[: first[0]]), row.cells[first[0]].text[: first[1].start]])
    cell = row.cells[last[0]]
    return Entry(index, label.strip(), last[1], excerpt(cell, last[1].start, last[1].end))


def best_total(page: Page) -> Entry | None:
    """The entry that is most likely the total, or None when no label makes one likely."""
    found = entries(page)
    if not found:
        return None
    summary = next(_summary_rows(page), len(page.rows))
    rounding = [entry.row for entry in found if mentions(entry.label, "rounding", "roundadj", "pembundaran")]
    paid = tuple(_paid_less_change(found))
    scored = [replace(entry, score=_score(entry, found, summary, rounding, paid)) for entry in found]
    # The later of two equals: totals stand below what they add up.
    best = max(scored, key=lambda entry: (entry.score, entry.row))
    return best if best.score >= ACCEPTED else None


def _score(
    entry: Entry, found: Sequence[Entry], summary: int, rounding: Sequence[int], paid: Sequence[Decimal]
) -> float:
    score = label_score(entry.label)
    if score <= 0 or entry.amount.value <= 0:
        return 0.0
    if entry.row >= summary:
        score += IN_SUMMARY
    elif score >= PLAIN and any(row < entry.row for row in rounding):
        score += AFTER_ROUNDING
    if entry.amount.value in paid:
        score += PAID_LESS_CHANGE
    same = sum(other.amount.value == entry.amount.value for other in found)
    return score + REPEATED * min(same - 1, 2)


def label_score(label: str) -> float:
    """How much a label's words say that its amount is the total, 0 when they say that it is not."""
    squeezed = letters(label)
    if mentions(label, *_NOT_MONEY_DUE) and not mentions(label, "afterdisc"):
        return 0.0
    if mentions(label, *_COUNTED):
        return COUNTED if mentions(label, *_TOTAL) else 0.0
    excluding = mentions(label, "exclud", "excl", "beforetax", "beforegst")
    including = mentions(label, "incl", "aftertax", "aftergst", "withgst")
    if mentions(label, "subtotal", "zwischensumme", "soustotal"):
        return WEAK - (15.0 if excluding else 0.0)
    if mentions(label, "rounding", "roundadj") and not mentions(label, *_TOTAL):
        return 0.0
    taxed = mentions(label, *_TAX)
    if excluding or (taxed and not including):
        # "Total GST" is a tax; "Total excl. GST" a step on the way.
        return 10.0 if mentions(label, *_TOTAL) else 0.0
    return _plain_score(label, squeezed, including=including)


def _plain_score(label: str, squeezed: str, *, including: bool) -> float:
    if mentions(label, *_FINAL) or (mentions(label, "rounded", "roundd") and mentions(label, *_TOTAL)):
        return STRONG
    if mentions(label, *_NET):
        return NET
    if mentions(label, *_TOTAL):
        if mentions(label, "gross", "accepted", "collected"):
            return WEAK
        return GROSS if including else PLAIN
    if squeezed in ("tl", "tlrm", "ttl"):
        return PLAIN
    if mentions(label, "amount", "amt", "montant", "betrag", "importe"):
        return GROSS - 15.0 if including else WEAK
    return TENDERED if mentions(label, *_PAID) else 0.0


def _summary_rows(page: Page) -> Iterator[int]:
    """Rows at which a tax summary begins: totals below it are those of the tax."""
    for index, row in enumerate(page.rows):
        if mentions(row.text, "gstsummary", "taxsummary", "vatsummary", "summaryofgst", "gstanalysis", "taxcode"):
            yield index


def _paid_less_change(found: Sequence[Entry]) -> Iterator[Decimal]:
    """Differences of what was paid and what was given back."""
    changes = [entry for entry in found if mentions(entry.label, "change", "wechselgeld", "rendu")]
    for entry in found:
        if mentions(entry.label, *_PAID) and not mentions(entry.label, "change"):
            for change in changes:
                if 0 < change.row - entry.row <= 4 and entry.amount.value > change.amount.value >= 0:
                    yield entry.amount.value - change.amount.value
