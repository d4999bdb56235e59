"""Numbers as people write them -> what they say: values, units, currencies.

"1,234.50", "1.234,50" and "1 234.5" say one number; "1.234" may say two, and both are kept. A unit is a dimension and a
scale: 0.5 g is 500 mg. Signs are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_METRIC = {
    "g": ({"g": 0, "mg": -3, "µg": -6, "μg": -6, "ug": -6, "mcg": -6, "kg": 3}, "gram gramme gramm gramo"),
    "l": ({"l": 0, "ml": -3, "dl": -1, "cl": -2}, "liter litre litro"),
    "m": ({"m": 0, "mm": -3, "cm": -2, "km": 3}, "meter metre metro"),
}
_PREFIX = {"milli": -3, "micro": -6, "mikro": -6, "kilo": 3, "centi": -2, "zenti": -2, "deci": -1, "": 0}
_NAMED: Mapping[str, str] = {
    "%": "% percent prozent pourcent",
    "$": "$ us$ usd dollar dollars",
    "€": "€ eur euro euros",
    "£": "£ gbp pound pounds",
    "rm": "rm myr ringgit",
    "¥": "¥ jpy cny yen yuan",
    "₹": "₹ inr rs rupee rupees",
    "chf": "chf franken",
    "s$": "s$ sgd",
    "a$": "a$ aud",
    "c$": "c$ cad",
    "mxn": "mxn peso pesos",
    "mg/dl": "mg/dl",
    "mmol/l": "mmol/l",
    "mmol": "mmol",
    "mmhg": "mmhg",
    "bpm": "bpm",
    "iu": "iu",
    "kcal": "kcal",
    "meq": "meq",
    "°c": "°c ℃",
    "°f": "°f ℉",
    "lb": "lb lbs",
    "oz": "oz ounce ounces",
    "ft": "ft feet foot",
    "kwh": "kwh",
}
CURRENCIES = frozenset({"$", "€", "£", "rm", "¥", "₹", "chf", "s$", "a$", "c$", "mxn"})
MAGNITUDES: Mapping[str, int] = {"thousand": 3, "million": 6, "mio": 6, "millionen": 6, "billion": 9, "bn": 9}


@dataclass(frozen=True, slots=True)
class Unit:
    """`name` says of what; the value is to be multiplied by ten to the power of `power`."""

    name: str
    power: int = 0


NO_UNIT = Unit("")


def _units() -> dict[str, Unit]:
    units = {spelling: Unit(name) for name, spellings in _NAMED.items() for spelling in spellings.split()}
    for name, (symbols, words) in _METRIC.items():
        units |= {symbol: Unit(name, power) for symbol, power in symbols.items()}
        for prefix, power in _PREFIX.items():
            units |= {f"{prefix}{word}{end}": Unit(name, power) for word in words.split() for end in ("", "s", "n")}
    return units


UNITS: Mapping[str, Unit] = _units()
"""Spelling in lower case -> unit."""
_LETTERS = sorted((unit for unit in UNITS if unit[-1].isalpha()), key=len, reverse=True)
_SIGNS = sorted((unit for unit in UNITS if not unit[-1].isalpha()), key=len, reverse=True)
_BEFORE = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True) if UNITS[unit].name in CURRENCIES)
_AFTER = rf"(?:{'|'.join(map(re.escape, _LETTERS))})(?![^\W\d_])|(?:{'|'.join(map(re.escape, _SIGNS))})"
_CENTS = re.compile(r"[.,]\d\d\Z")
NUMBER = r"\d{1,3}(?:[,.'’]\d{3})+(?:[.,]\d{1,6})?(?!\d)|\d+(?:[.,]\d+)?|[.,]\d+"
QUANTITY = re.compile(
    rf"(?:(?<![^\W\d_])(?P<before>{_BEFORE})[ :]?[-−–+]?)?(?P<number>{NUMBER})"
    rf"(?: ?(?P<magnitude>{'|'.join(MAGNITUDES)})(?![^\W\d_]))?(?: ?(?P<after>{_AFTER}))?",
    re.IGNORECASE,
)
"""A number with what belongs to it; what stands around it is for the caller to look at."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a written number may say: `values` in `unit`, whose power is already in them."""

    values: frozenset[Decimal] = field(repr=False)
    unit: str = ""
    has_cents: bool = False  # two decimals: an amount of money more often than a count

    @classmethod
    def of(cls, found: re.Match[str]) -> Quantity:
        """Of a match of QUANTITY."""
        spelled = (found["after"] or found["before"] or "").casefold()
        unit = UNITS.get(spelled, NO_UNIT)
        power = unit.power + MAGNITUDES.get((found["magnitude"] or "").casefold(), 0)
        values = frozenset(value.scaleb(power) for value in decimals(found["number"]))
        return cls(values, unit.name, bool(_CENTS.search(found["number"])))


def decimals(number: str) -> frozenset[Decimal]:
    """The values that a written number may have; none where its marks make no number ("1.2.3")."""
    compact = re.sub(r"[\s'’]", "", number)
    marks = [mark for mark in compact if mark in ",."]
    if not marks:
        return frozenset({Decimal(compact)})
    last = marks[-1]
    head, _, tail = compact.rpartition(last)
    readings: set[Decimal] = set()
    groups = re.split(r"[,.]", compact)
    if marks.count(last) == 1 and tail and _grouped(re.split(r"[,.]", head)):
        readings.add(Decimal(f"{re.sub('[,.]', '', head) or '0'}.{tail}"))
    if len(set(marks)) == 1 and len(groups) > 1 and _grouped(groups) and groups[0].lstrip("0"):
        readings.add(Decimal("".join(groups)))
    return frozenset(readings)


def _grouped(groups: list[str]) -> bool:
    """Whether digits between marks are thousands: "1", "234", "567"; one group alone always is."""
    return len(groups) == 1 or (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:]))
