"""A date as people write it -> the day that it means, where that is certain. English, German, French, Spanish, Italian.

Uncertain is: a year of two digits, no year, and 03/05/2024 on a page that may be English, where it is read both ways.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import date

DAY_FIRST = frozenset({"de", "fr", "es"})
"""Languages that write day, month, year; English is written in both orders (US and UK)."""

_NAMES = (
    "january jan januar jaenner janner janvier janv enero ene gennaio gen",
    "february feb februar fevrier fevr fev febrero febbraio",
    "march mar marz maerz mrz mars marzo",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag",
    "june jun juni juin junio giugno giu",
    "july jul juli juillet juil julio luglio lug",
    "august aug aout agosto ago",
    "september sept sep septembre septiembre setiembre settembre set",
    "october oct oktober okt octobre octubre ottobre ott",
    "november nov novembre noviembre",
    "december dec dezember dez decembre diciembre dic dicembre",
)
MONTHS = {name: number for number, names in enumerate(_NAMES, 1) for name in names.split()}
"""Name of a month in small letters without accents -> its number."""

_GAP = r"[ ,./-]{0,3}"
_TIME = re.compile(r"[ t,]{1,2}\d{1,2}[:.]\d\d.*\Z")
_ISO = re.compile(r"(?P<y>\d{4})([-./ ])(?P<m>\d{1,2})\2(?P<d>\d{1,2})|(?P<y8>\d{4})(?P<m8>\d\d)(?P<d8>\d\d)")
_NUMBERS = re.compile(r"(\d{1,2}) ?([-./ ]) ?(\d{1,2}) ?\2 ?(\d{4})")
_OF = r"(?:of |de |del )?"
_DAY_MONTH = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th|er|\.)?{_GAP}{_OF}([a-z]+)(?:\.?/([a-z]+))?{_GAP}{_OF}(\d{{4}})")
_MONTH_DAY = re.compile(rf"([a-z]+){_GAP}(\d{{1,2}})(?:st|nd|rd|th)?[ ,.-]{{1,3}}(\d{{4}})")


def written_date(text: str, languages: Collection[str]) -> date | None:
    """The day that `text`, all of it but a time of day, says; None where it says none or may say two.

    `languages` are those that the page may be in.
    """
    plain = _TIME.sub("", _plain(text))
    if found := _ISO.fullmatch(plain):
        return _day(found["y"] or found["y8"], found["m"] or found["m8"], found["d"] or found["d8"])
    if found := _NUMBERS.fullmatch(plain):
        return _in_order(found[1], found[3], found[4], languages)
    if found := _DAY_MONTH.fullmatch(plain):
        months = {MONTHS.get(name) for name in (found[2], found[3]) if name}
        return _day(found[4], months.pop(), found[1]) if len(months) == 1 else None
    if found := _MONTH_DAY.fullmatch(plain):
        return _day(found[3], MONTHS.get(found[1]), found[2])
    return None


def _plain(text: str) -> str:
    """Small letters without accents, one space between words."""
    decomposed = unicodedata.normalize("NFKD", text.replace("º", "").casefold())
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split()).strip(" ,.")


def _in_order(first: str, second: str, year: str, languages: Collection[str]) -> date | None:
    """Two numbers as day and month: by their size, or by the order of every language of the page."""
    if int(first) > 12 or (first == second) or (languages and int(second) <= 12 and set(languages) <= DAY_FIRST):
        return _day(year, second, first)
    return _day(year, first, second) if int(second) > 12 else None


def _day(year: str, month: str | int | None, day: str) -> date | None:
    try:
        return date(int(year), int(month or 0), int(day))
    except ValueError:
        return None
