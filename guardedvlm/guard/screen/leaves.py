"""The values of an extracted object one by one: what pages tell together, what is screened, and what goes back.

A value that the screen changed is the text that it left, where the schema lets that stand there; else null; else, of a
property that need not be there, nothing; else the whole object is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guardedvlm.core.field_schema import ListOf, Record, Scalar, ScalarType, pointer
from guardedvlm.core.ports import Reading
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.screen.edits import LABEL
from guardedvlm.guard.screen.normal import visible

Path = tuple[str | int, ...]
"""Names and indexes from the object down to a value."""
_BORDER = re.compile("\x1e(\\d+)\x1f")
"""The guard's own mark before each value. The screen lets no control character of a draft through."""
ABSENT = object()
"""A property that is left out."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value that a page tells. `reading` is what the engine says of it."""

    place: Path = field(repr=False)
    value: str | int | float | bool = field(repr=False)
    pages: Sequence[int]
    reading: Reading | None = None

    @property
    def text(self) -> str:
        """What is screened; nothing of a boolean, which says what the question said."""
        if isinstance(self.value, bool):
            return ""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @property
    def named(self) -> str:
        """The words that stand before a value with digits when it is examined, because only they tell whose number it
        is: the property's name without its own digits, which would part a number that is told in several values. None
        before other values: "customer: PERSON-A" says who somebody is, and nobody said it."""
        if not any(map(str.isdigit, LABEL.sub("", self.text))):
            return ""
        name = next(part for part in reversed(self.place) if isinstance(part, str))
        words = " ".join(re.sub(r"[\W\d_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).split())
        return f"{words}: " if words else ""


@dataclass(frozen=True, slots=True)
class PageObject:
    """What an engine says of one picture, and the pages that show it."""

    value: Mapping[str, Any] = field(repr=False)
    pages: Sequence[int]
    readings: Mapping[str, Reading] = field(default_factory=dict, repr=False)


def border(index: int) -> str:
    """The mark before the value with this index."""
    return f"\x1e{index}\x1f"


def parted(released: str, count: int) -> list[str]:
    """The texts of `count` values between their marks; "" where a value left nothing."""
    pieces = _BORDER.split(released)
    texts = dict(zip(map(int, pieces[1::2]), pieces[2::2], strict=True))
    return [texts.get(index, "").removesuffix("\n") for index in range(count)]


def combined(fields: Record, found: Sequence[PageObject]) -> list[Leaf]:
    """The values of all pages as those of one object: a value is the first page's that tells it, a list has the entries
    of all pages in their order, as many as the schema takes."""
    leaves: list[Leaf] = []
    for name, shape in fields.properties.items():
        if isinstance(shape, Scalar):
            told = (leaf for page in found for leaf in _leaf((name,), (name,), page.value.get(name), page))
            leaves += [leaf for leaf, _ in zip(told, range(1), strict=False)]
            continue
        entries = [(page, at) for page in found for at, entry in enumerate(page.value[name]) if _tells(entry)]
        for index, (page, at) in enumerate(entries[: shape.max_items]):
            leaves += _entry(shape, (name, at), (name, index), page.value[name][at], page)
    return leaves


def _entry(shape: ListOf, source: Path, place: Path, entry: Any, page: PageObject) -> Iterator[Leaf]:
    """The leaves of a list's entry, in the order in which the object is written again: it is screened as it leaves."""
    if not isinstance(shape.item, Record):
        yield from _leaf(source, place, entry, page)
        return
    for name in shape.item.properties:
        yield from _leaf((*source, name), (*place, name), entry.get(name), page)


def _leaf(source: Path, place: Path, value: Any, page: PageObject) -> Iterator[Leaf]:
    """The leaf, if the value tells anything."""
    if isinstance(value, str):
        value = visible(value).strip()
    elif isinstance(value, float) and value.is_integer():
        value = int(value)  # "57.0" is the age 57
    if _tells(value):
        yield Leaf(place, value, page.pages, page.readings.get(pointer(source)))


def _tells(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_tells, value.values()))
    return value is not None and bool(str(value).strip())


def rebuilt(fields: Record, values: Mapping[Path, Any]) -> dict[str, Any]:
    """The object with these values: of a scalar its own type or the text that the screen left of it, ABSENT where there
    is none. Raises Refused(EXTRACTION_INVALID) with the place of a property that must be there and cannot."""
    return _record(fields, (), values, "schema")


def _record(fields: Record, place: Path, values: Mapping[Path, Any], named: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for at, (name, shape) in enumerate(fields.properties.items()):
        where = f"{named}.properties.{at}"
        if isinstance(shape, ListOf):
            out[name] = _list(shape, (*place, name), values, where)
        elif (value := fitting(shape, values.get((*place, name), ABSENT))) is not ABSENT:
            out[name] = value
        elif name in fields.required:
            raise Refused(Reason.EXTRACTION_INVALID, field=where)
    return out


def _list(shape: ListOf, place: Path, values: Mapping[Path, Any], named: str) -> list[Any]:
    depth = len(place)
    count = 1 + max((int(key[depth]) for key in values if key[:depth] == place), default=-1)
    if isinstance(shape.item, Record):
        return [_record(shape.item, (*place, index), values, f"{named}.items") for index in range(count)]
    found = [fitting(shape.item, values.get((*place, index), ABSENT)) for index in range(count)]
    if ABSENT in found:
        raise Refused(Reason.EXTRACTION_INVALID, field=f"{named}.items")
    return found


def fitting(shape: Scalar, value: Any) -> Any:
    """`value` where the shape lets it stand there, else null where it may be, else ABSENT."""
    return value if _fits(shape, value) else None if shape.nullable else ABSENT


def _fits(shape: Scalar, value: Any) -> bool:
    if shape.type is ScalarType.BOOLEAN or isinstance(value, bool):
        return shape.type is ScalarType.BOOLEAN and isinstance(value, bool)
    if shape.type is ScalarType.STRING:
        return isinstance(value, str) and (value in shape.choices if shape.choices else len(value) <= shape.max_length)
    return isinstance(value, int) or (isinstance(value, float) and (shape.type is ScalarType.NUMBER or value % 1 == 0))
