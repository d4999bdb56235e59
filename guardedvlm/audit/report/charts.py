"""Small charts as plain shapes, drawn as SVG in a page and as vectors in a PDF. Units: points; y grows downwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

WIDTH = 480.0
ROW = 15.0
LABEL = 150.0
COLUMNS = 110.0
"""Height of the columns of a chart by day."""
MOST_COLUMNS = 62
"""Columns that can be told apart on a page; longer periods are brought together by weeks, four weeks or quarters."""
SIZE = 8.0
"""Of letters."""


class Tone(StrEnum):
    """What a shape means; a drawing gives it a colour."""

    MAIN = "main"
    SECOND = "second"
    INK = "ink"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Word:
    """A text at its baseline; `anchor` says which end of it stands at x."""

    x: float
    y: float
    text: str
    anchor: str = "start"  # start, middle, end


@dataclass(frozen=True, slots=True)
class Chart:
    """Shapes on an area of `width` x `height`, and what they show in words."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    words: tuple[Word, ...]
    told: str


def bars(counts: Mapping[str, int], told: str) -> Chart:
    """One horizontal bar a name, in the order given, as long as its count."""
    most = max(counts.values(), default=0) or 1
    shapes, words = [], []
    for row, (name, count) in enumerate(counts.items()):
        y = row * ROW
        length = (WIDTH - LABEL - 60) * count / most
        shapes.append(Bar(LABEL, y + 3, max(length, 0.5), ROW - 5, Tone.MAIN))
        words.append(Word(LABEL - 6, y + ROW - 4.5, name, "end"))
        words.append(Word(LABEL + length + 5, y + ROW - 4.5, f"{count:,}"))
    return Chart(WIDTH, ROW * len(counts), tuple(shapes), tuple(words), told)


def columns(days: Mapping[date, tuple[int, int]], since: date, until: date, told: str) -> Chart:
    """A column a day (or a week, 28 or 91 days) of two counts on each other: the first below, in the main tone."""
    length = (until - since).days + 1
    step = next(days for days in (1, 7, 28, 91, length) if -(-length // days) <= MOST_COLUMNS)
    heaps = [[0, 0] for _ in range(-(-length // step))]
    for day, (first, second) in days.items():
        heap = heaps[(day - since).days // step]
        heap[0] += first
        heap[1] += second
    most = max(map(sum, heaps), default=0) or 1
    left, width = 34.0, (WIDTH - 34.0) / len(heaps)
    shapes = [Bar(left, COLUMNS + 4, WIDTH - left, 0.6, Tone.LINE)]
    for index, (first, second) in enumerate(heaps):
        shapes += _heap(left + index * width, width, COLUMNS * first / most, COLUMNS * second / most)
    words = [Word(left - 5, 4 + SIZE, f"{most:,}", "end"), Word(left - 5, COLUMNS + 4, "0", "end")]
    words += _dates(since, step, len(heaps), left, width)
    return Chart(WIDTH, COLUMNS + 20, tuple(shapes), tuple(words), told)


def _heap(x: float, width: float, first: float, second: float) -> list[Bar]:
    inner = min(width * 0.8, 26.0)
    x += (width - inner) / 2
    bottom = COLUMNS + 4
    found = []
    if first:
        found.append(Bar(x, bottom - first, inner, first, Tone.MAIN))
    if second:
        found.append(Bar(x, bottom - first - second, inner, second, Tone.SECOND))
    return found


def _dates(since: date, step: int, count: int, left: float, width: float) -> Sequence[Word]:
    """Under the columns, as many dates as fit."""
    every = max(1, -(-count // 8))
    form = "%Y-%m" if step > 7 else "%m-%d"
    return [
        Word(left + (index + 0.5) * width, COLUMNS + 16, f"{since + timedelta(days=index * step):{form}}", "middle")
        for index in range(0, count, every)
    ]
