"""Where the values of an answer in JSON stand among its tokens, and how likely those were."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]

import numpy as np

from guardedvlm.core.ports import Reading


def readings(pieces: Sequence[tuple[str, float]]) -> tuple[Reading, ...]:
    """Of each value of a finished answer the mean probability of the tokens that write it, among those that the schema
    let follow; a token across the end of a value counts to it. () where the answer is not whole.

    pieces: text and log-probability of each token.
    """
    if any("\ufffd" in text for text, _ in pieces):
        return ()  # characters in pieces: where a value stands among the tokens cannot be said
    ends = np.cumsum([len(text) for text, _ in pieces])
    found = []
    for pointer, start, end in values("".join(text for text, _ in pieces)):
        first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, end, "left"))
        drawn = [math.exp(logp) for _, logp in pieces[first : last + 1]]
        found.append(Reading(pointer, min(1.0, sum(drawn) / len(drawn))) if drawn else Reading(pointer))
    return tuple(found)


def values(text: str) -> Iterator[tuple[str, int, int]]:
    """JSON pointer and characters [start, end) of each value of a compact object that holds no deeper one than an
    object in a list; nothing of a text that is none."""
    try:
        json.loads(text)
    except ValueError:
        return
    yield from _walk(text, 0, "")


def _walk(text: str, at: int, pointer: str) -> Iterator[tuple[str, int, int]]:
    if text[at] not in "{[":
        yield pointer, at, _end(text, at)
        return
    index, at = 0, at + 1
    while text[at] not in "}]":
        at += text[at] == ","
        name, at = scanstring(text, at + 1) if text[at] == '"' and _is_key(text, at) else (str(index), at - 1)
        at, index = at + 1, index + 1
        inner = list(_walk(text, at, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"))
        yield from inner
        at = _end(text, at) if not inner or text[at] in "{[" else inner[-1][2]


def _is_key(text: str, at: int) -> bool:
    _, end = scanstring(text, at + 1)
    return text[end : end + 1] == ":"


def _end(text: str, at: int) -> int:
    """The character behind the value at `at`."""
    return json.JSONDecoder().raw_decode(text, at)[1]
