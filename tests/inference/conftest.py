"""Pages made by hand: text lines where a reader of a clean print would find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from guardedvlm.core.region import Box, Raster
from guardedvlm.core.word import TextLine, Word

if TYPE_CHECKING:  # the reader is not installed where vLLM's tests run
    from guardedvlm.inference.reader.answering import Answering
    from guardedvlm.reading.embedding import Sentences

CHAR, HEIGHT, PITCH = 10, 20, 32
"""Pixels: width of a character, height of a line, distance of two lines."""

Print = Callable[[str], tuple[TextLine, ...]]


def text_line(text: str, x: int, y: int, confidence: float = 0.99) -> TextLine:
    """A line at (x, y) with one box a word."""
    words, at = [], x
    for part in text.split(" "):
        if part:
            words.append(Word(part, Box(at, y, at + CHAR * len(part), y + HEIGHT)))
        at += CHAR * (len(part) + 1)
    x1, y1 = x + CHAR * len(text), y + HEIGHT
    return TextLine(Box(x, y, x1, y1), ((x, y), (x1, y), (x1, y1), (x, y1)), text, confidence, tuple(words))


def printed(text: str) -> tuple[TextLine, ...]:
    """Lines of a monospaced print; three spaces or more part two text regions; `#` marks what a fill covers."""
    found = []
    for row, line in enumerate(text.strip("\n").split("\n")):
        at = 0
        for part in line.split("   "):
            stripped = part.strip(" #")
            if stripped:
                column = line.index(stripped, at)
                found.append(text_line(stripped, 20 + CHAR * column, 20 + PITCH * row))
                at = column + len(stripped)
    return tuple(found)


def pixels(text: str) -> Raster:
    """A white page with a black fill for each run of `#`."""
    lines: Sequence[str] = text.strip("\n").split("\n")
    raster = np.full((60 + PITCH * len(lines), 60 + CHAR * max(map(len, lines)), 3), 255, np.uint8)
    for row, line in enumerate(lines):
        for column, char in enumerate(line):
            if char == "#":
                y, x = 20 + PITCH * row, 20 + CHAR * column
                raster[y : y + HEIGHT, x : x + CHAR] = 0
    return raster


@pytest.fixture(scope="session")
def sentences() -> Sentences:
    from guardedvlm.reading.embedding import Sentences

    return Sentences()


@pytest.fixture(scope="session")
def answering(sentences: Sentences) -> Answering:
    from guardedvlm.inference.reader.answering import Answering

    return Answering(sentences)


@pytest.fixture(scope="session")
def print_page() -> Print:
    return printed


@pytest.fixture(scope="session")
def ask(answering: Answering):
    def _ask(text: str, question: str, history=()):
        return answering.answer(printed(text), pixels(text), question, history)

    return _ask
