"""Synthetic read pages: text put at pixels, as OCR would return it."""

from __future__ import annotations

import math

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Quad
from guardedvlm.core.word import TextLine, Word

CHAR = 10
"""Width of a character in pixels."""
HEIGHT = 20


def line(text: str, x: int, y: int, *, height: int = HEIGHT) -> TextLine:
    """A read line whose words stand at their characters' places."""
    char = CHAR * height // HEIGHT
    box = Box(x, y, x + max(1, char * len(text)), y + height)
    words, at = [], 0
    for part in text.split():
        start = text.index(part, at)
        at = start + len(part)
        words.append(Word(part, Box(x + char * start, y, x + char * at, y + height)))
    quad: Quad = ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
    return TextLine(box, quad, text, 0.95, tuple(words))


def turned(read: TextLine, degrees: float, centre: tuple[float, float]) -> TextLine:
    """The line on a page turned about `centre`; its words lose their boxes' straightness but keep their quads."""

    def turn(x: float, y: float) -> tuple[int, int]:
        a = math.radians(degrees)
        dx, dy = x - centre[0], y - centre[1]
        return (
            round(centre[0] + dx * math.cos(a) - dy * math.sin(a)),
            round(centre[1] + dx * math.sin(a) + dy * math.cos(a)),
        )

    def quad_of(box: Box) -> Quad:
        return turn(box.x0, box.y0), turn(box.x1, box.y0), turn(box.x1, box.y1), turn(box.x0, box.y1)

    words = tuple(Word(w.text, Box.around(quad_of(w.box)), quad_of(w.box)) for w in read.words)
    quad = quad_of(read.box)
    return TextLine(Box.around(quad), quad, read.text, read.confidence, words)


def hides(findings: tuple[Finding, ...], box: Box) -> bool:
    """Whether every pixel column of `box` lies under findings, with the box's middle row inside them."""
    middle = (box.y0 + box.y1) // 2
    covering = [f.box for f in findings if f.box.y0 <= middle < f.box.y1]
    return all(any(b.x0 <= x < b.x1 for b in covering) for x in range(box.x0, box.x1))


def kinds_at(findings: tuple[Finding, ...], box: Box) -> set[Kind]:
    """Kinds of the findings that touch `box`."""
    return {f.kind for f in findings if f.box.overlap(box)}
