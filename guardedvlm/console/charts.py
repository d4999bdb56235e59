"""Charts as plain numbers: rectangles and ticks that a template writes as SVG. No script, no inline style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from guardedvlm.audit.grid import CELLS
from guardedvlm.console.fold import DAY, HOUR

WIDTH, HEIGHT = 720, 180
"""Units of a chart over time; its CSS width is the column's."""
LEFT, RIGHT, BOTTOM, TOP = 56, 24, 26, 10
SLOTS = 520
"""Bars of a chart at most: ten years of weeks."""
SERIES = 6
"""Colours that can be told apart; what is left over is one more, "other"."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One piece of a stacked bar. `series` counts from 0; `label` is its tooltip."""

    x: float
    y: float
    width: float
    height: float
    series: int
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars over time. `rows` is the same as a table: a label and one number a series."""

    bars: tuple[Bar, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    series: tuple[str, ...]
    totals: tuple[int, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]


def bin_width(since: int, until: int) -> int:
    """Hours for up to two days, days for up to four months, else weeks, or as many of them as `SLOTS` bars take."""
    span = until - since
    return HOUR if span <= 2 * DAY else DAY if span <= 124 * DAY else 7 * DAY * max(1, -(-span // (7 * DAY * SLOTS)))


def over_time(counts: Sequence[tuple[int, str, int]], order: Sequence[str], since: int, until: int) -> Chart:
    """Counts by time and name as stacked bars from `since` to `until`. Names beyond `SERIES` of `order` are "other"."""
    step = bin_width(since, until)
    start = since - since % step
    series = (*order[:SERIES], *(("other",) if len(order) > SERIES else ()))
    places = {name: min(index, SERIES) for index, name in enumerate(order)}
    slots = max(1, -(-(until - start) // step))
    table = [[0] * len(series) for _ in range(slots)]
    for at, name, number in counts:
        slot = (at - start) // step
        if 0 <= slot < slots and name in places:
            table[slot][places[name]] += number
    top = _ceiling(max(map(sum, table), default=0))
    labels = [_moment(start + slot * step, step) for slot in range(slots)]
    return Chart(
        bars=tuple(_bars(table, series, labels, top)),
        across=tuple(_across(start, slots, step)),
        up=tuple(Tick(_y(value, top), f"{value:,}") for value in sorted({0, top // 2, top})),
        series=series,
        totals=tuple(map(sum, zip(*table, strict=True))),
        rows=tuple((label, tuple(row)) for label, row in zip(labels, table, strict=True) if any(row)),
    )


def _bars(table: Sequence[Sequence[int]], series: Sequence[str], labels: Sequence[str], top: int) -> list[Bar]:
    slot_width = (WIDTH - LEFT - RIGHT) / len(table)
    width = max(1.0, min(slot_width - 1, 48))
    bars = []
    for slot, row in enumerate(table):
        below = 0
        for index, number in enumerate(row):
            if number:
                y, low = _y(below + number, top), _y(below, top)
                x = LEFT + slot * slot_width + (slot_width - width) / 2
                bars.append(_bar(x, y, width, low - y, index, f"{labels[slot]}: {series[index]} {number:,}"))
                below += number
    return bars


def _bar(x: float, y: float, width: float, height: float, series: int, label: str) -> Bar:
    return Bar(round(x, 1), round(y, 1), round(width, 1), round(height, 2), series, label)


def _y(value: float, top: int) -> float:
    return round(HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP), 1)


def _ceiling(value: int) -> int:
    """The axis's end: 2, 4, 6, 8, 10, 20, 40, ... at or above `value`, so that its half is a whole number."""
    power = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if value <= step * power:
                return step * power
        power *= 10


def _across(start: int, slots: int, step: int) -> list[Tick]:
    every = max(1, -(-slots // 6))
    width = (WIDTH - LEFT - RIGHT) / slots
    return [
        Tick(round(LEFT + (slot + 0.5) * width, 1), _short(start + slot * step, step))
        for slot in range(0, slots, every)
    ]


def _moment(at: int, step: int) -> str:
    when = datetime.fromtimestamp(at / 1000, UTC)
    if step > 7 * DAY:
        return when.strftime("weeks from %Y-%m-%d")
    return when.strftime("%Y-%m-%d %H:00" if step < DAY else "%Y-%m-%d" if step == DAY else "week of %Y-%m-%d")


def _short(at: int, step: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M" if step < DAY else "%d %b")


def ranked(totals: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """Names, most first, with their number and their share (0..100) of the largest."""
    most = max(totals.values(), default=0) or 1
    return [
        (name, n, round(100 * n / most, 1)) for name, n in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]


def grid_runs(bits: str) -> list[tuple[int, int, int]]:
    """Cells of a page's grid that are set, as runs (column, row, cells); `bits` as `audit.grid.hidden_grid` writes."""
    runs = []
    value = int(bits, 16)
    for row in range(CELLS):
        cells = f"{value >> (CELLS * (CELLS - 1 - row)) & (2**CELLS - 1):0{CELLS}b}"
        column = 0
        while (start := cells.find("1", column)) >= 0:
            column = cells.find("0", start) if "0" in cells[start:] else CELLS
            runs.append((start, row, column - start))
    return runs
