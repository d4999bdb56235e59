"""From characters of a line to its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guardedvlm.core.finding import Finding, Span
from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import TextLine

LEAST_LEFT_VISIBLE = 4
"""Characters of a joined word that must be left over before it is cut at all ("Name:JohnSmith")."""
MARGIN_CHARS = 1.5
"""Widths of a mean character that a cut leaves on the side of what stays: letters are not equally wide."""
STRAIGHT = math.radians(2.0)
"""A line less turned than this is hidden by its upright box."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters [start, end) of the line lie between `left` and `right`, shares of the line's width."""

    start: int
    end: int
    left: float
    right: float


class Place:
    """Where the characters of one line are."""

    def __init__(self, line: TextLine, size: Size) -> None:
        self.line = line
        self.size = size
        (x0, y0), (x1, y1) = line.quad[0], line.quad[1]
        self._length = math.hypot(x1 - x0, y1 - y0) or 1.0
        self._axis = ((x1 - x0) / self._length, (y1 - y0) / self._length)
        self._pieces = self._words()

    def finding(self, span: Span) -> Finding:
        """The finding of a span of the line's text."""
        left, right = self._extent(span.start, span.end)
        quad = self._quad(left, right)
        box = Box.around(quad).clipped(self.size) or self.line.box.clipped(self.size) or Box(0, 0, 1, 1)
        secret = self.line.text[span.start : span.end]
        return Finding(
            span.kind, box, span.score, span.recognizer, quad=quad if self._turned() else None, secret=secret
        )

    def _turned(self) -> bool:
        angle = math.atan2(self._axis[1], self._axis[0])
        return abs(math.remainder(angle, math.pi / 2)) > STRAIGHT

    def _words(self) -> list[_Piece]:
        pieces, at = [], 0
        for word in self.line.words:
            start = self.line.text.find(word.text, at)
            if start < 0:
                # The words do not spell the text: only the whole line is sure.
                return []
            at = start + len(word.text)
            box = word.box
            corners = word.quad or ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
            along = [self._along(x, y) for x, y in corners]
            pieces.append(_Piece(start, at, min(along), max(along)))
        return pieces

    def _along(self, x: float, y: float) -> float:
        """Pixels along the text's direction from its first corner."""
        (x0, y0), (ax, ay) = self.line.quad[0], self._axis
        return (x - x0) * ax + (y - y0) * ay

    def _extent(self, start: int, end: int) -> tuple[float, float]:
        """Pixels along the line that characters [start, end) take: whole words, long joined ones cut with a margin."""
        touched = [p for p in self._pieces if p.start < end and start < p.end]
        if not touched:
            return 0.0, self._length
        first, last = touched[0], touched[-1]
        left, right = first.left, last.right
        if start - first.start >= LEAST_LEFT_VISIBLE:
            char = (first.right - first.left) / (first.end - first.start)
            left = max(first.left, first.left + char * (start - first.start - MARGIN_CHARS))
        if last.end - end >= LEAST_LEFT_VISIBLE:
            char = (last.right - last.left) / (last.end - last.start)
            right = min(last.right, last.right - char * (last.end - end - MARGIN_CHARS))
        return min(left, right), max(left, right)

    def _quad(self, left: float, right: float) -> Quad:
        """Corners of the part of the line's quad between `left` and `right`, the line's whole height."""
        a, b, c, d = self.line.quad
        low, high = max(0.0, left / self._length), min(1.0, right / self._length)
        if high <= low:
            low, high = 0.0, 1.0

        def between(p: tuple[int, int], q: tuple[int, int], share: float, outward: float) -> tuple[int, int]:
            x = p[0] + (q[0] - p[0]) * share + outward * self._axis[0]
            y = p[1] + (q[1] - p[1]) * share + outward * self._axis[1]
            return round(x), round(y)

        # Half a pixel outwards, so that rounding never takes the value's edge away.
        return between(a, b, low, -0.5), between(a, b, high, 0.5), between(d, c, high, 0.5), between(d, c, low, -0.5)
