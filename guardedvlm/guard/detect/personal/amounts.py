"""Recogniser of money, of numbers with two decimals and of quantities with a unit, so that a policy can keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View

_CURRENCY = r"(?:[$€£¥₹]|US\$|A\$|S\$|\b(?:RM|USD|EUR|GBP|CHF|MYR|SGD|AUD|CAD|INR|JPY|MXN)\b|\bRM)"
_NUMBER = r"\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?"
_UNIT = r"(?:mg/d[lL]|mmol/[lL]|mmol|mg|mcg|[µμu]g|kg|g|m[lL]|d[lL]|mmHg|mm|cm|IU|kcal|bpm|mEq|°[CF]|%)"
"""Of doses, laboratory values and vital signs; single letters but g are too often a misread digit."""
_AMOUNT = re.compile(
    rf"[-+(]?\s?{_CURRENCY}\s?[-+]?(?:{_NUMBER})(?![\d.])\)?"
    rf"|(?<![\w.,/:-])[-+(]?(?:{_NUMBER})\s?(?:{_CURRENCY}|\b(?:dollars?|euros?|pounds?|ringgit|francs?|pesos?)\b)"
    r"|(?<![\w.,/:-])[-+(]?(?:\d{1,3}(?:[,.' ]\d{3})+|\d{1,7})[.,]\d{2}(?![\d.,/:-]\d|\w)\)?"
    r"(?:\s?(?:CR|DR|SR|ZR|-))?",
    re.IGNORECASE,
)
_QUANTITY = re.compile(rf"(?<![\w.,/:-])\d{{1,5}}(?:[.,]\d{{1,3}})?\s?{_UNIT}(?![\w])")


def amounts(view: View) -> Iterator[Span]:
    """Amounts: a number with a currency or a unit, or with exactly two decimals."""
    for match in (*_AMOUNT.finditer(view.text), *_QUANTITY.finditer(view.text)):
        text = match[0].strip()
        start = match.start() + match[0].index(text)
        yield view.span(start, start + len(text), Kind.AMOUNT, 0.7, "pattern/amount")
