"""Which stretch of time the overview is about."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from guardedvlm.console.fold import DAY, HOUR

PERIODS: Mapping[str, tuple[str, int]] = {
    "24h": ("24 hours", DAY),
    "7d": ("7 days", 7 * DAY),
    "30d": ("30 days", 30 * DAY),
    "1y": ("1 year", 365 * DAY),
    "all": ("All", 0),
}
"""Name in the query -> what it is called, and how long it is; 0 is everything."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` to `until` (exclusive), in milliseconds."""

    name: str
    since: int
    until: int


def choose_period(name: str, extent: tuple[int, int] | None, now: int | None = None) -> Period:
    """The period that somebody asked for; of an unknown name the shortest that shows the ledger's whole life, at most
    30 days of one that is in use."""
    until = (int(time.time() * 1000) if now is None else now) // HOUR * HOUR + HOUR
    first, last = extent or (until - HOUR, until - HOUR)
    until = max(until, last + HOUR)
    if name not in PERIODS:
        name = _fitting(first, last, until)
    length = PERIODS[name][1]
    if (length or until - first) > 2 * DAY:  # whole days, as the sums are kept
        until, first = until - until % -DAY, first // DAY * DAY
        last = last // DAY * DAY + DAY - HOUR
    return Period(
        name, until - length if length else first // HOUR * HOUR, until if length else last // HOUR * HOUR + HOUR
    )


def _fitting(first: int, last: int, until: int) -> str:
    if last < until - 30 * DAY:
        return "all"
    return next((name for name in ("24h", "7d") if first >= until - PERIODS[name][1]), "30d")
