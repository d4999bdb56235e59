"""Texts that stand in a text as base64 or as hexadecimal digits."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from guardedvlm.guard.screen.normal import normalise

LEAST_ENCODED = 8
"""Characters of an encoded text: six letters in base64."""
_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{8,}={0,2}(?![\w+/=-])")
_HEX = re.compile(r"(?<!\w)(?:0x)?(?:[0-9A-Fa-f]{2}[ :]?){6,}(?!\w)")
MOST_STRANGE = 0.1
"""Share of characters that nobody writes up to which decoded bytes are believed to be a text."""


def encoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Places [start, end) of a normalised text that decode to a text, and that text, normalised."""
    for found in _BASE64.finditer(text):
        if plain := _text(_from_base64(found[0])):
            yield *found.span(), plain
    for found in _HEX.finditer(text):
        if plain := _text(bytes.fromhex(re.sub(r"0x|[ :]", "", found[0]))):
            yield *found.span(), plain


def _from_base64(token: str) -> bytes:
    token = token.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(token[: len(token) - (len(token) % 4 == 1)] + "=" * (-len(token) % 4 % 3))
    except binascii.Error:
        return b""


def _text(content: bytes) -> str:
    """The text that bytes are, as UTF-8 or Latin-1; "" where they are none."""
    try:
        plain = content.decode()
    except UnicodeDecodeError:
        plain = content.decode("latin-1")
    strange = sum(not (character.isprintable() or character.isspace()) for character in plain)
    return normalise(plain) if plain and strange <= MOST_STRANGE * len(plain) else ""
