"""Ids that should be random, and are chosen by somebody else: which of them read as something that was put there."""

from __future__ import annotations

import re
from itertools import groupby

_NUMBER = re.compile(r"[0-9]{16}")
"""As long as a card's number. A shorter number fills an id with zeros, or is one of 16 digits with its filling."""
_CARD = re.compile(r"[0-9]{13}")
"""The shortest card's number. One random trace id in 50 has so many digits in a row by chance: it is replaced where it
comes in, and the record's type, which has to read what was written before, does not refuse it."""
_LETTER = rb"[A-Za-z0-9 .,'@-]"
_TEXT = re.compile(_LETTER + rb"{7}")
"""Letters and what stands between them in names and addresses. One random id in 200 has this or `_NUMBER` by chance."""


def reads_as_content(digits: str) -> bool:
    """Whether an id of hexadecimal digits holds what chance rarely makes: a long number, or text."""
    return _NUMBER.search(digits) is not None or _TEXT.search(bytes.fromhex(digits)) is not None


def may_hold_content(digits: str) -> bool:
    """Whether somebody may have put a card's number or text there, or what reads as that."""
    return _CARD.search(digits) is not None or reads_as_content(digits)


def random_digits(digits: str) -> str:
    """An id of hexadecimal digits as it is. Raises ValueError when it is all zeros or reads as content."""
    if not digits.strip("0") or reads_as_content(digits):
        raise ValueError("not a random id")
    return digits


def _letters_in_digits() -> str:
    """An expression for the two digits of any letter of `_TEXT`."""
    found = [f"{value:02x}" for value in range(256) if re.fullmatch(_LETTER, bytes([value]))]
    groups = groupby(found, key=lambda digits: digits[0])
    return "|".join(f"{high}[{''.join(digits[1] for digits in group)}]" for high, group in groups)


REFUSED = rf"(?:0*+(?![0-9a-f])|[0-9a-f]*[0-9]{{16}}|(?:[0-9a-f]{{2}})*(?:{_letters_in_digits()}){{7}})"
"""What `random_digits` refuses, as an expression for where such an id begins (`audit.shape`)."""
