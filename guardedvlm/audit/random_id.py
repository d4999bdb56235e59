"""Ids that should be random, and are chosen by somebody else: which of them read as something that was put there."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[0-9]{16}")
"""As long as a card's number. A shorter number fills an id with zeros, or is one of 16 digits with its filling."""
_TEXT = re.compile(rb"[A-Za-z0-9 .,'@-]{7}")
"""Letters and what stands between them in names and addresses. One random id in 200 has this or `_NUMBER` by chance."""


def reads_as_content(digits: str) -> bool:
    """Whether an id of hexadecimal digits holds what chance rarely makes: a long number, or text."""
    return _NUMBER.search(digits) is not None or _TEXT.search(bytes.fromhex(digits)) is not None
