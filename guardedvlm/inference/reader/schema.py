"""Fill a JSON Schema from a page: each property is a question of its own, each list one of the page's lists.

Of JSON Schema the reader uses `properties` with their `type`, `enum`, `items`, lengths, `title` and `description`;
other keywords do not change what it reads. What it cannot tell is null, and a list that the page does not have is
empty, whatever the schema requires: it never invents a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guardedvlm.core.field_schema import pointer
from guardedvlm.core.ports import Evidence, FinishReason, Reading
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.inference.reader.answer import Answer
from guardedvlm.inference.reader.page import Excerpt
from guardedvlm.inference.reader.table import TableLine
from guardedvlm.inference.reader.values import amounts, dates, letters, whole_numbers
from guardedvlm.inference.reader.vocabulary import COLUMN_AMOUNTS, COLUMN_NAMES, ITEM_WORDS
from guardedvlm.inference.reader.wording import spelled_out

MAX_PROPERTIES = 40
"""Questions in one request; each costs up to a second of embeddings on a page that names it nowhere."""
LISTED = 0.8
"""How sure a line of a table is, as a share of the recogniser's confidence: `Answering` says the same of its lists."""
_SCALARS = ("string", "number", "integer", "boolean")

Ask = Callable[[str], Answer]
Lines = Callable[[str], tuple[TableLine, ...]]


@dataclass(frozen=True, slots=True)
class Property:
    """One wanted value: its name, JSON type and the question that asks for it. `columns` are those of a list of
    objects, `choices` the only texts that a string may be."""

    name: str
    type: str
    question: str
    choices: tuple[str, ...] = ()
    columns: tuple[Property, ...] = ()
    most: int | None = None  # entries of a list, characters of a string


def wanted(schema: str) -> tuple[Property, ...]:
    """Properties of an object schema. Raises InvalidInput(FIELD_INVALID) for anything else."""
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError):
        raise InvalidInput(Reason.FIELD_INVALID, field="schema") from None
    return _properties(parsed, lists=True)


def _properties(body: Any, *, lists: bool) -> tuple[Property, ...]:
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict) or not 1 <= len(properties) <= MAX_PROPERTIES:
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    return tuple(_property(name, inner, lists=lists) for name, inner in properties.items())


def _property(name: str, body: Any, *, lists: bool) -> Property:
    if not isinstance(body, dict):
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    kinds = body.get("type", "string")
    kind = next((item for item in kinds if item != "null"), "string") if isinstance(kinds, list) else kinds
    title = next((body[key] for key in ("title", "description") if isinstance(body.get(key), str) and body[key]), "")
    spoken = (title or re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-]+", " ", name)).strip(" .?").lower()
    if kind == "array" and lists:
        return _list(name, body, spoken)
    if kind not in _SCALARS:
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    listed = body.get("enum")
    choices = tuple(item for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()
    return Property(name, kind, f"What is the {spoken}?", choices, (), _limit(body, "maxLength"))


def _list(name: str, body: dict[str, Any], spoken: str) -> Property:
    item, most = body.get("items"), _limit(body, "maxItems")
    if isinstance(item, dict) and "properties" in item:
        return Property(name, "array", spoken, (), _properties(item, lists=False), most)
    # A list of plain values is a list of objects with one column, which has the list's own name.
    return Property(name, "list", spoken, (), (_property(name, item, lists=False),), most)


def _limit(body: dict[str, Any], keyword: str) -> int | None:
    value = body.get(keyword)
    return value if isinstance(value, int) else None


def filled(properties: tuple[Property, ...], ask: Ask, lines: Lines) -> Answer:
    """The JSON object with a value, null or a list for each property; CANNOT_TELL when nothing is told."""
    values: dict[str, object] = {}
    readings: list[Reading] = []
    for item in properties:
        at = pointer((item.name,))
        if item.columns:
            values[item.name] = _entries(item, lines(item.question), at, readings)
        else:
            answer = ask(item.question)
            values[item.name] = _typed(item, answer)
            if values[item.name] is not None:
                readings.append(_reading(at, answer.evidence))
    known = any(value not in (None, []) for value in values.values())
    return Answer(
        json.dumps(values, ensure_ascii=False),
        tuple(Evidence(box, reading.confidence or 0.0) for reading in readings for box in reading.boxes),
        FinishReason.STOP if known else FinishReason.CANNOT_TELL,
        readings=tuple(readings),
    )


def _reading(at: str, evidence: tuple[Evidence, ...]) -> Reading:
    """As sure as the least sure of the places that it was read from."""
    return Reading(at, min((item.score for item in evidence), default=None), tuple(item.box for item in evidence))


def _entries(item: Property, lines: tuple[TableLine, ...], at: str, readings: list[Reading]) -> list[object]:
    """The list's entries, each line that fills a column; what is read is added to `readings`."""
    found: list[object] = []
    for line in lines:
        if item.most is not None and len(found) >= item.most:
            break
        place = f"{at}/{len(found)}"
        cells = {column.name: _column(column, line, item) for column in item.columns}
        known = {name: cell for name, cell in cells.items() if cell is not None}
        if not known:
            continue
        plain = item.type == "list"
        readings += (_reading(place if plain else place + pointer((name,)), told[1]) for name, told in known.items())
        values = {name: cell[0] if cell is not None else None for name, cell in cells.items()}
        found.append(next(iter(values.values())) if plain else values)
    return found


def _column(column: Property, line: TableLine, item: Property) -> tuple[object, tuple[Evidence, ...]] | None:
    """The value of a column in a line of a table, and where it was read: its name or its last amount."""
    words = set(spelled_out(column.question))
    own = item.type == "list" and bool(ITEM_WORDS & words)
    *named_by, last = line.sources
    if column.type == "string" and line.name and (own or words & COLUMN_NAMES or not line.amount):
        return _told(column, line.name, named_by or [last])
    if line.amount and (own or words & COLUMN_AMOUNTS) and not words & {"unit", "tax"}:
        return _told(column, line.amount, [last])
    return None


def _told(column: Property, text: str, sources: list[Excerpt]) -> tuple[object, tuple[Evidence, ...]] | None:
    places = tuple(Evidence(item.box, round(item.confidence * LISTED, 3)) for item in sources)
    value = _typed(column, Answer(text, places, value=text))
    return None if value is None else (value, places)


def _typed(item: Property, answer: Answer) -> object:
    """The answer's value as the property's JSON type, or None. No boolean: the reader quotes, it does not judge."""
    if answer.finish is FinishReason.CANNOT_TELL or not answer.value:
        return None
    if item.type == "string":
        return _chosen(item, answer.value)
    if item.type == "number":
        printed = amounts(answer.value)
        if len(printed) == 1:
            return float(printed[0].value)
    if item.type in ("number", "integer") and not dates(answer.value):
        numbers = whole_numbers(answer.value)
        return numbers[0] if len(numbers) == 1 else None
    return None


def _chosen(item: Property, value: str) -> str | None:
    """The value unless it is too long, or the one choice that it is but for case and marks."""
    if not item.choices:
        return value if item.most is None or len(value) <= item.most else None
    return next((choice for choice in item.choices if letters(choice) == letters(value)), None)
