"""Ids that should be random, and are chosen by somebody else: which of them read as something that was put there."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[0-9]{16}")
"""As long as a card's number. A shorter number fills an id with zeros, or is one of 16 digits with its filling."""
_CARD = re.compile(r"[0-9]{13}")
"""The shortest card's number. One random trace id in 50 has so many digits in a row by chance: it is replaced where it
comes in, and the record's type, which has to read what was written before, does not refuse it."""
_TEXT = re.compile(rb"[A-Za-z0-9 .,'@-]{7}")
"""Letters and what stands between them in names and addresses. One random id in 200 has this or `_NUMBER` by chance."""


def reads_as_content(digits: str) -> bool:
    """Whether an id of hexadecimal digits holds what chance rarely makes: a long number, or text."""
    return _NUMBER.search(digits) is not None or _TEXT.search(bytes.fromhex(digits)) is not None


def may_hold_content(digits: str) -> bool:
    """Whether somebody may have put a card's number or text there, or what reads as that."""
    return _CARD.search(digits) is not None or reads_as_content(digits)
