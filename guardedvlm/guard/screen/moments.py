"""Dates and times as people write them -> everything that they may mean. English, German, French, Spanish, Italian.

`detect.personal.written_date` says the one day that is certain; here 03/05/2024 is two days, because an answer may
write either of them in words, and "May 2024" is a date without a day.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from guardedvlm.guard.detect.personal.written_date import MONTHS

Day = tuple[int, int, int]
"""Year, month, day; 0 for what is not said."""
Clock = tuple[int, int, int]
"""Hour, minute, second; -1 for a second that is not said."""

_MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})(?![a-z])\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d|\d\d(?!\d)|\d\d(?=\d\d?:\d\d))"
_LONG_YEAR = r"(?P<year>(?:19|20)\d\d)"
_OF = r"(?:of |de |del )?"
_ORDINAL = r"(?:st|nd|rd|th|er|º|\.)?"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<mark>[-./ ])(?P<month>0?[1-9]|1[0-2])(?P=mark)(?P<day>\d\d?)(?!\d)",
        r"(?<![^\W_])(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?!\d)",
        # No border after a year of four digits: OCR drops the space before the time ("09/02/201811:40").
        rf"(?<!\d)(?P<first>\d\d?) ?(?P<mark>[-./]) ?(?P<second>\d\d?) ?(?P=mark) ?{_YEAR}(?![-/]\d)",
        rf"(?<!\d)(?P<day>\d\d?){_ORDINAL}[ ,./-]{{0,2}}{_OF}{_MONTH}[ ,./'-]{{0,3}}{_OF}{_YEAR}",
        rf"(?<![a-z]){_MONTH}[ ,-]{{0,2}}(?P<day>\d\d?){_ORDINAL}[ ,.-]{{1,3}}{_LONG_YEAR}",
        rf"(?<!\d)(?P<day>\d\d?){_ORDINAL}[ .-]?{_OF}{_MONTH}(?! ?\d)",
        rf"(?<![a-z]){_MONTH}[ ,./-]{{0,3}}{_OF}{_LONG_YEAR}(?!\d)",
        rf"(?<![a-z]){_MONTH} ?(?P<day>\d\d?)(?!\d|[.,:/-]\d)(?:st|nd|rd|th)?",
        rf"(?<![\d/.-])(?P<month>0?[1-9]|1[0-2])[/.-]{_LONG_YEAR}(?![\d/.-])",
    )
)
_DIGIT = re.compile(r"\d")
"""Every date and time has one."""
_CLOCK = re.compile(
    r"(?:(?<!\d)(?<!\d[.:])|(?<=19\d\d)|(?<=20\d\d))(?P<hour>[01]?\d|2[0-4])(?:"
    r":(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?: ?(?P<half>[ap])\.?m\b\.?)?"
    r"|(?:\.(?P<minute2>[0-5]\d))? ?(?P<half2>[ap])\.?m\b\.?)(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Characters [start, end) of a text may mean any of `days`, or any of `clocks`."""

    start: int
    end: int
    days: frozenset[Day] = frozenset()
    clocks: frozenset[Clock] = frozenset()


def moments(text: str) -> tuple[Written, ...]:
    """Dates and times of a normalised text, in order; none overlaps another."""
    if not _DIGIT.search(text):
        return ()
    plain = _plain(text)
    found: list[Written] = []
    for written in (*_dates(plain), *_clocks(plain)):
        if not any(written.start < other.end and other.start < written.end for other in found):
            found.append(written)
    return tuple(sorted(found, key=lambda written: written.start))


def tells(said: Day, shown: Day) -> bool:
    """Whether every part that `said` names stands in `shown` as well."""
    return all(part in (0, other) for part, other in zip(said, shown, strict=True))


def strikes(said: Clock, shown: Clock) -> bool:
    """Whether two times are one, as far as `said` tells it."""
    return said[:2] == shown[:2] and said[2] in (-1, shown[2])


def _dates(plain: str) -> Iterator[Written]:
    for pattern in _DATES:
        for match in pattern.finditer(plain):
            if days := frozenset(filter(_is_day, _days(match.groupdict()))):
                yield Written(match.start(), match.end(), days=days)


def _days(parts: dict[str, str | None]) -> Iterator[Day]:
    for year in _years(parts.get("year")):
        if first := parts.get("first"):
            second = parts["second"]
            yield year, int(first), int(second or 0)
            yield year, int(second or 0), int(first)
        else:
            month = parts["month"] or ""
            yield year, int(month) if month.isdigit() else MONTHS[month], int(parts.get("day") or 0)


def _years(year: str | None) -> tuple[int, ...]:
    if not year:
        return (0,)
    return (int(year),) if len(year) == 4 else (2000 + int(year), 1900 + int(year))


def _is_day(day: Day) -> bool:
    return 1 <= day[1] <= 12 and 0 <= day[2] <= 31


def _clocks(plain: str) -> Iterator[Written]:
    for match in _CLOCK.finditer(plain):
        hour, minute = int(match["hour"]), int(match["minute"] or match["minute2"] or 0)
        second = int(match["second"] or -1)
        half = match["half"] or match["half2"]
        hours = (
            {hour % 12 + (12 if half == "p" else 0)} if half else {hour} | ({hour % 12 + 12} if hour <= 12 else set())
        )
        yield Written(match.start(), match.end(), clocks=frozenset((hour, minute, second) for hour in hours))


def _plain(text: str) -> str:
    """Small letters without accents, character by character."""
    if text.isascii():
        return text.lower()
    return "".join(unicodedata.normalize("NFD", c)[0].lower()[:1] or " " for c in text)
