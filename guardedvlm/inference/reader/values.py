"""Values in printed text: amounts of money, dates, whole numbers. Each keeps the characters as they are printed.

OCR joins and splits: a date may be glued to a time ("25/12/20188:13PM"), an amount to a tax code ("5.30SR").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Amount:
    """Characters [start, end) of a text are an amount; `printed` has its currency when that is attached."""

    start: int
    end: int
    printed: str = field(repr=False)
    value: Decimal = field(repr=False)
    has_currency: bool = False


@dataclass(frozen=True, slots=True)
class PrintedDate:
    """Characters [start, end) are a date. `value` reads it day first where both orders are possible."""

    start: int
    end: int
    printed: str = field(repr=False)
    value: date = field(repr=False)


_CURRENCY = r"(?:RM|MYR|USD|EUR|GBP|CHF|SGD|AUD|CAD|INR|DH|Rs\.?|US\$|S\$|\$|€|£|¥|₹)"
_NUMBER = (
    r"(?:\d{1,3}(?:[,']\d{3})+(?:\s?\.\s?\d{2})?"  # 1,234.50
    r"|\d{1,3}(?:\.\d{3})+,\d{2}"  # 1.234,50
    r"|\d{1,9}\s?[.]\s?\d{2}"  # 1234.50, also "9 .00"
    r"|\d{1,9},\d{2})"  # 9,00
)
_AMOUNT = re.compile(
    rf"(?<![\d.,/:])(?P<sign>[-−(]\s?)?(?P<before>{_CURRENCY}\s?[-−]?)?(?P<number>{_NUMBER})(?!\d|[.,/:]\d|\s?%)"
    rf"(?P<after>\s?{_CURRENCY}(?![A-Za-z]))?",
    re.IGNORECASE,
)
_CURRENCY_WHOLE = re.compile(
    rf"(?<![A-Za-z\d])(?P<before>{_CURRENCY}\s?)(?P<number>\d{{1,3}}(?:,\d{{3}})+|\d{{1,9}})(?![\d.,/:-]*\d|\s?%)"
)


_LETTER_O = re.compile(r"(?<![A-Za-z])[Oo](?=\d)|(?<=\d)[Oo](?![A-Za-z])|(?<=\d[./-])[Oo](?=[\dOo])")
"""The letter O where only a zero can stand: among digits."""


def amounts(text: str) -> tuple[Amount, ...]:
    """Amounts of `text` in order: numbers with two decimals, or whole numbers with a currency before them."""
    text = _LETTER_O.sub("0", text)
    found = [_amount(match) for match in _AMOUNT.finditer(text)]
    taken = [(item.start, item.end) for item in found]
    for match in _CURRENCY_WHOLE.finditer(text):
        if not any(match.start() < end and start < match.end() for start, end in taken):
            found.append(_amount(match))
    return tuple(sorted(found, key=lambda item: item.start))


def _amount(match: re.Match[str]) -> Amount:
    groups = match.groupdict()
    sign = (groups.get("sign") or "").strip()
    before, after = groups.get("before") or "", groups.get("after") or ""
    value = _decimal(groups["number"])
    negative = sign in ("-", "−") or (sign == "(" and match.string[match.end() : match.end() + 1] == ")")
    negative = negative or before.rstrip().endswith(("-", "−"))
    start = match.start() if negative and sign != "(" else match.start() + len(groups.get("sign") or "")
    printed = match.string[start : match.end()].strip()
    return Amount(start, match.end(), printed, -value if negative else value, bool(before or after))


def _decimal(number: str) -> Decimal:
    """The value of a printed number; a comma before exactly two last digits is a decimal comma."""
    compact = re.sub(r"[\s']", "", number)
    if re.search(r",\d{2}\Z", compact):
        return Decimal(compact.replace(".", "").replace(",", "."))
    return Decimal(compact.replace(",", ""))


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?P<year>(?:19|20)\d{2}(?!:)|\d{2})"
_LOST_MARK = re.compile(r"(?<![\d/.:-])(\d{2})([-/.:]?)(\d{2})([-/.:]?)((?:19|20)\d{2})(?!\d|[-/.:]\d)")
"""A date of which the recogniser lost a mark ("2703/2018"), read it as a colon ("27:03/2018") or lost both."""
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>(?:19|20)\d{2})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d?[-/.]\d)",
        rf"(?<![\d/])(?<!\d[.-])(?P<first>\d{{1,2}})\s?(?P<mark>[-/.])\s?(?P<second>\d{{1,2}})\s?(?P=mark)\s?{_YEAR}(?![-/.]\d)",
        rf"(?<![\d/.])(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s,./-]{{0,2}}{_MONTH}[\s,./'-]{{0,2}}{_YEAR}(?!:)",
        rf"(?<![A-Za-z]){_MONTH}[\s.]{{0,2}}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s,]{{1,2}}(?P<year>(?:19|20)\d{{2}})",
    )
)


def dates(text: str) -> tuple[PrintedDate, ...]:
    """Calendar dates of `text` in order; what is no day of the calendar is no date."""
    text = _LETTER_O.sub("0", text)
    found: list[PrintedDate] = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            value = _date(match.groupdict())
            if value is None or any(match.start() < other.end and other.start < match.end() for other in found):
                continue
            found.append(PrintedDate(match.start(), match.end(), match.group(), value))
    if not found:
        found += _repaired(text)
    return tuple(sorted(found, key=lambda item: item.start))


def _repaired(text: str) -> Iterator[PrintedDate]:
    """Dates that lack a mark, printed with it: the digits are on the page, only the stroke was not recognised."""
    for match in _LOST_MARK.finditer(text):
        first, left, second, right, year = match.groups()
        value = _date({"first": first, "second": second, "year": year})
        marks = {left, right} & {"-", "/", "."}
        # Without any mark only a text of nothing but eight digits passes: it may be a number of another kind.
        alone = not left and not right and match.group() == text.strip()
        if value is not None and (len(marks) == 1 or alone):
            yield PrintedDate(match.start(), match.end(), next(iter(marks), "/").join((first, second, year)), value)


def _date(groups: dict[str, str]) -> date | None:
    year = int(groups["year"])
    year += 2000 if year < 70 else 1900 if year < 100 else 0
    if "first" in groups:
        day, month = int(groups["first"]), int(groups["second"])
        if month > 12:  # month first, as in the United States
            day, month = month, day
    else:
        day = int(groups["day"])
        name = groups["month"].lower()
        month = int(name) if name.isdigit() else _MONTHS.index(name[:3]) + 1
    try:
        return date(year, month, day)
    except ValueError:
        return None


_WHOLE = re.compile(r"(?<![\d.,:/-])\d{1,6}(?![\d:/-]|[.,]\d)")


def whole_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of up to six digits that are part of nothing else."""
    return tuple(int(match.group()) for match in _WHOLE.finditer(text))


_WORD = re.compile(r"[^\W\d_]+|\d+", re.UNICODE)


def letters(text: str) -> str:
    """`text` in lower case with nothing but letters: OCR joins words, so labels are compared without spaces."""
    return "".join(char for char in text.casefold() if char.isalpha())


def words(text: str) -> tuple[str, ...]:
    """Words and numbers of `text` in lower case; a change from lower to upper case inside a word also divides."""
    parts: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group()
        cuts = [0] + [i for i, (a, b) in enumerate(pairwise(word), 1) if a.islower() and b.isupper()] + [len(word)]
        parts += [word[start:end].casefold() for start, end in pairwise(cuts)]
    return tuple(parts)
