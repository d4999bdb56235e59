"""Hidden strings with one or two characters wrong: misread by the model, or altered so that nobody should notice.

Only words that are no plain words are compared, and only with hidden words that are none: an edit never turns one
common word into another ("killer" is not the hidden "Miller").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from guardedvlm.guard.detect.personal.lexicon import is_common_word, is_word
from guardedvlm.guard.screen.normal import fold

T = TypeVar("T")

ONE_EDIT = 6
"""Letters and digits from which on a string is found with one character wrong, missing, added or swapped."""
TWO_EDITS = 9
"""The same for two characters."""
_PIECE = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_CHUNK = re.compile(r"\S+")
_LOOSE = re.compile(r"(?:(?<![^\W_])(?:\d+|[^\W\d_])(?![^\W_])[^\w\n]{0,3}){2,12}")
"""Groups of digits, or single letters, one after the other: "7730 419 952", "S m i t h"."""


@dataclass(frozen=True, slots=True)
class Places:
    """What of a text is compared: folded letters and digits -> where they stand."""

    by_text: Mapping[str, Sequence[tuple[int, int]]] = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Places:
        """Of a normalised text."""
        places: dict[str, list[tuple[int, int]]] = {}
        for start, end in _places(text):
            folded = "".join(c for c in fold(text[start:end]) if c.isalnum())
            if len(folded) >= ONE_EDIT - 1:
                places.setdefault(folded, []).append((start, end))
        return cls(places)


class Nearly(Generic[T]):
    """Strings (folded letters and digits) -> what they stand for, found with edits."""

    def __init__(self, known: Mapping[str, T]) -> None:
        self._by_length: dict[int, list[str]] = {}
        for text in known:
            if len(text) >= ONE_EDIT:
                self._by_length.setdefault(len(text), []).append(text)
        self._known = known

    def find(self, places: Places) -> Iterator[tuple[int, int, T]]:
        """Places [start, end) of a text that are nearly a known string, and what it stands for."""
        for near, known in self._pairs(list(places.by_text)):
            yield from ((start, end, self._known[known]) for start, end in places.by_text[near])

    def _pairs(self, said: list[str]) -> Iterator[tuple[str, str]]:
        for length, known in self._by_length.items():
            most = 1 if length < TWO_EDITS else 2
            close = [text for text in said if abs(len(text) - length) <= most]
            if not close:
                continue
            distances = cdist(close, known, scorer=OSA.distance, score_cutoff=most, dtype=np.uint8)
            for row, column in zip(*np.nonzero(distances <= most), strict=True):
                yield close[row], known[column]


def _places(text: str) -> Iterator[tuple[int, int]]:
    """Words that are no plain words, alone and with what is attached to them, and numbers in groups."""
    for piece in _PIECE.finditer(text):
        if not _is_plain(piece[0]):
            yield piece.span()
    for chunk in _CHUNK.finditer(text):
        parts = list(_PIECE.finditer(text, *chunk.span()))
        if len(parts) > 1 and not all(_is_plain(part[0]) for part in parts):
            yield parts[0].start(), parts[-1].end()
    for loose in _LOOSE.finditer(text):
        pieces = [(loose.start() + p.start(), loose.start() + p.end()) for p in _PIECE.finditer(loose[0])]
        for first in range(len(pieces)):
            yield from ((pieces[first][0], last[1]) for last in pieces[first + 1 :])


def _is_plain(word: str) -> bool:
    """Whether `word` is a plain word; a name that is one too ("holder") counts where nobody wrote it as a name."""
    return is_common_word(word) or (word.islower() and is_word(word))
