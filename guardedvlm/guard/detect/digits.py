"""Which words with digits stand on one line: a number that is part of a longer one says more than it seems to.

Nearness is measured along the text. A long line tells in which direction it runs; of one or two characters the
detector's rectangle is tilted as the glyph happens to be, so these are compared along the picture's rows as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from guardedvlm.core.word import TextLine, Word
from guardedvlm.guard.detect.quads import shape, text_height, text_length

APART = 3.0
"""Text heights between two numbers that make them different numbers (columns of a table); card numbers, telephone
numbers and dates are written with gaps of at most about two."""
SAME_LINE = 0.5
"""Part of the lower word's height that two words share when they stand on one line."""
STACKED = 0.5
"""Text heights between the lone digits of a number that runs down a page, each a line of its own to the reader; rows of
a table are further apart."""
MOST_STACKED = 2
"""Digits of a piece of a number that runs down: more make a line that tells its direction; "2019" over "2021" are
two."""
LONE = 2.0
"""Lengths over heights below which a line may be a lone digit that lies on its side."""
SURE_LENGTH = 3.0
"""Lengths over heights from which a line tells in which direction its text runs."""

Points = npt.NDArray[np.float64]
"""(..., 2) x, y."""
Extents = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""From where to where along an axis."""

_ROWS = np.array([1.0, 0.0])


class Digits:
    """The words with digits of a page."""

    def __init__(self, lines: Sequence[TextLine]) -> None:
        placed = [(word, line) for line in lines for word in line.words if has_digit(word)]
        self._words = [word for word, _ in placed]
        self._corners = np.array([shape(word) for word in self._words], np.float64).reshape(-1, 4, 2)
        self._axes = np.array([_axis(line) for _, line in placed], np.float64).reshape(-1, 2)
        self._sure = np.array([_proportion(line) >= SURE_LENGTH for _, line in placed], np.bool_)

    def near(self, word: Word, line: TextLine) -> bool:
        """Whether another word with a digit stands near a word of `line`, before or after it in one run of text."""
        others = np.array([other is not word for other in self._words], np.bool_)
        if not others.any():
            return False
        corners = np.array(shape(word), np.float64)
        near = self._along(corners, np.broadcast_to(_axis(line), self._axes.shape))
        near |= self._sure & self._along(corners, self._axes)
        proportion = _proportion(line)
        if proportion < SURE_LENGTH:
            near |= self._along(corners, np.broadcast_to(_ROWS, self._axes.shape))
        if proportion < LONE and sum(map(str.isdigit, word.text)) <= MOST_STACKED:
            reach = STACKED * max(text_length(shape(line)), text_height(shape(line)))
            for axis in (_axis(line), _ROWS):
                near |= self._along(corners, np.broadcast_to(_turned(axis), self._axes.shape), reach)
        return bool((near & others).any())

    def _along(self, word: Points, axes: Points, reach: float | None = None) -> npt.NDArray[np.bool_]:
        """Which words share a line along `axes` (N, 2) with `word` (4, 2), at most `reach` pixels from it (APART text
        heights by default)."""
        (a0, a1), (b0, b1) = self._extents(word, _turned(axes))
        height = np.minimum(a1 - a0, b1 - b0)
        shared = np.minimum(a1, b1) - np.maximum(a0, b0) >= SAME_LINE * height
        (a0, a1), (b0, b1) = self._extents(word, axes)
        gap = np.maximum(a0, b0) - np.minimum(a1, b1)
        near: npt.NDArray[np.bool_] = shared & (gap <= (APART * height if reach is None else reach))
        return near

    def _extents(self, word: Points, axes: Points) -> tuple[Extents, Extents]:
        """Of the word and of each word of the page, along one axis each."""
        own = word @ axes.T
        others = np.einsum("nij,nj->ni", self._corners, axes)
        return (own.min(axis=0), own.max(axis=0)), (others.min(axis=1), others.max(axis=1))


def has_digit(word: Word) -> bool:
    """Whether a word has one."""
    return any(map(str.isdigit, word.text))


def _axis(line: TextLine) -> Points:
    """Unit vector in the direction in which the text of a line runs: a quad has its corners in reading order."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = line.quad
    x, y = bx + cx - ax - dx, by + cy - ay - dy
    length = max(1.0, math.hypot(x, y))
    return np.array([x / length, y / length])


def _turned(axes: Points) -> Points:
    """Axes across."""
    return np.stack([-axes[..., 1], axes[..., 0]], axis=-1)


def _proportion(line: TextLine) -> float:
    return text_length(shape(line)) / text_height(shape(line))
