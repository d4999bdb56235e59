"""What fields may be asked for: a closed subset of JSON Schema, one flat object with lists one level deep.

    object      type, properties (1..MAX_PROPERTIES in all), required, additionalProperties: false, title, description
    string      type, enum (1..MAX_CHOICES texts), maxLength, title, description
    number      type, title, description; so integer and boolean
    list        type: array, items (a scalar or a flat object), maxItems, title, description

`type` may be a pair with "null". Every other keyword is refused: one that nobody enforces is a promise that nobody
keeps. Errors name a property by its place, counted from 0 ("schema.properties.2.items"), never by its name: a name is
something that a caller wrote.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from guardedvlm.errors import InvalidInput, Reason

MAX_CHARS = 20_000
MAX_PROPERTIES = 40
"""Of the object and of the objects in its lists together; each is a question of its own to the reader."""
MAX_CHOICES = 50
MAX_TEXT = 300
"""Characters of a title, a description or a choice."""
MAX_STRING = 200
"""Characters of an extracted text where the schema sets no limit."""
LONGEST_STRING = 1_000
MAX_ITEMS = 50
"""Entries of a list; also where the schema sets no limit."""

_NAME = re.compile(r"[^\W\d][\w .-]{0,63}\Z")
_DIALECT = "$schema"
_WORDS = frozenset({"title", "description"})
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "root": frozenset({_DIALECT, "type", "properties", "required", "additionalProperties"}) | _WORDS,
    "object": frozenset({"type", "properties", "required", "additionalProperties"}) | _WORDS,
    "array": frozenset({"type", "items", "maxItems"}) | _WORDS,
    "string": frozenset({"type", "enum", "maxLength"}) | _WORDS,
    "scalar": frozenset({"type"}) | _WORDS,
}


class ScalarType(StrEnum):
    """Types of one value."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `choices`: the only texts that it may be; () = any."""

    type: ScalarType
    nullable: bool = False
    choices: tuple[str, ...] = field(default=(), repr=False)
    max_length: int = MAX_STRING
    words: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self, *, open_ended: bool = False) -> dict[str, Any]:
        """It as JSON Schema; `open_ended` lets it be null whatever the caller wrote."""
        null = self.nullable or open_ended
        body: dict[str, Any] = {"type": [self.type.value, "null"] if null else self.type.value, **self.words}
        if self.choices:
            body["enum"] = [*self.choices, None] if null else [*self.choices]
        elif self.type is ScalarType.STRING:
            body["maxLength"] = self.max_length
        return body


@dataclass(frozen=True, slots=True)
class Record:
    """An object with named values; `required` ones are always there."""

    properties: Mapping[str, Scalar | ListOf] = field(repr=False)
    required: frozenset[str] = field(default=frozenset(), repr=False)
    words: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self, *, open_ended: bool = False) -> dict[str, Any]:
        """It as JSON Schema; `open_ended` as in `Scalar.document`, with every property there."""
        bodies = {name: body.document(open_ended=open_ended) for name, body in self.properties.items()}
        required = [name for name in self.properties if open_ended or name in self.required]
        closed = {"type": "object", "properties": bodies, "required": required, "additionalProperties": False}
        return {**closed, **self.words}

    def encoded(self) -> str:
        """What an engine is asked for, compact: all properties, each of which may be null, so that no engine has to
        make a value up."""
        return json.dumps(self.document(open_ended=True), ensure_ascii=False, separators=(",", ":"))

    def fixed(self) -> Iterator[str]:
        """What may not be rewritten: every name and choice."""
        for name, body in self.properties.items():
            yield name
            inner = body.item if isinstance(body, ListOf) else body
            yield from inner.fixed() if isinstance(inner, Record) else inner.choices


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values or of flat objects; it is empty where there is nothing, never null."""

    item: Scalar | Record
    max_items: int = MAX_ITEMS
    words: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self, *, open_ended: bool = False) -> dict[str, Any]:
        """It as JSON Schema."""
        items = self.item.document(open_ended=open_ended)
        return {"type": "array", "items": items, "maxItems": self.max_items, **self.words}


def pointer(place: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a place: names and indexes from the object down to a value."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def parse_fields(text: str) -> Record:
    """The fields that a JSON Schema asks for. Raises InvalidInput(FIELD_INVALID) with the place of what is refused."""
    if len(text) > MAX_CHARS:
        raise _invalid("schema")
    try:
        body = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise _invalid("schema") from None
    found = _record(body, "schema", "root", lists=True)
    inner = [body.item for body in found.properties.values() if isinstance(body, ListOf)]
    if len(found.properties) + sum(len(item.properties) for item in inner if isinstance(item, Record)) > MAX_PROPERTIES:
        raise _invalid("schema.properties")
    return found


def _invalid(place: str) -> InvalidInput:
    return InvalidInput(Reason.FIELD_INVALID, field=place)


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names stands twice: which one counts is nobody's guess."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError
    return found


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _record(body: Any, place: str, keywords: str, *, lists: bool) -> Record:
    words = _words(body, place, keywords)
    if body.get("type") != "object":
        raise _invalid(f"{place}.type")
    if body.get("additionalProperties", False) is not False:
        raise _invalid(f"{place}.additionalProperties")
    properties = body.get("properties")
    if not isinstance(properties, dict) or not 1 <= len(properties) <= MAX_PROPERTIES:
        raise _invalid(f"{place}.properties")
    found = {
        _name(name, f"{place}.properties.{at}"): _value(inner, f"{place}.properties.{at}", lists=lists)
        for at, (name, inner) in enumerate(properties.items())
    }
    required = body.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) and name in found for name in required):
        raise _invalid(f"{place}.required")
    return Record(found, frozenset(required), words)


def _name(name: str, place: str) -> str:
    if not _NAME.match(name) or not unicodedata.is_normalized("NFKC", name):
        raise _invalid(place)
    return name


def _value(body: Any, place: str, *, lists: bool) -> Scalar | ListOf:
    if lists and isinstance(body, dict) and body.get("type") == "array":
        words = _words(body, place, "array")
        item = body.get("items")
        flat = isinstance(item, dict) and item.get("type") == "object"
        inner = _record(item, f"{place}.items", "object", lists=False) if flat else _scalar(item, f"{place}.items")
        return ListOf(inner, _limit(body, "maxItems", MAX_ITEMS, MAX_ITEMS, place), words)
    return _scalar(body, place)


def _scalar(body: Any, place: str) -> Scalar:
    if not isinstance(body, dict):
        raise _invalid(place)
    named = body.get("type", "string" if "enum" in body else None)
    kinds = named if isinstance(named, list) else [named]
    nullable = len(kinds) == 2 and "null" in kinds
    kind = next((item for item in kinds if item != "null"), None)
    if len(kinds) != 1 + nullable or not isinstance(kind, str) or kind not in tuple(ScalarType):
        raise _invalid(f"{place}.type")
    words = _words(body, place, "string" if kind == "string" else "scalar")
    if "enum" in body and "maxLength" in body:
        raise _invalid(f"{place}.maxLength")
    length = _limit(body, "maxLength", MAX_STRING, LONGEST_STRING, place)
    return Scalar(ScalarType(kind), nullable, _choices(body, nullable, place), length, words)


def _choices(body: Mapping[str, Any], nullable: bool, place: str) -> tuple[str, ...]:
    if "enum" not in body:
        return ()
    listed = body["enum"]
    texts = [item for item in listed if item is not None] if isinstance(listed, list) else []
    if not all(_is_text(text) and text.strip() and unicodedata.is_normalized("NFKC", text) for text in texts):
        raise _invalid(f"{place}.enum")
    if not 1 <= len(set(texts)) == len(texts) <= MAX_CHOICES or (None in listed and not nullable):
        raise _invalid(f"{place}.enum")
    return tuple(texts)


def _words(body: Any, place: str, keywords: str) -> dict[str, str]:
    """Title and description of a schema that has no keyword but the known ones."""
    if not isinstance(body, dict) or body.keys() - _KEYWORDS[keywords]:
        raise _invalid(place)
    found = {key: body[key] for key in (*sorted(_WORDS), _DIALECT) if key in body}
    if not all(map(_is_text, found.values())):
        raise _invalid(place)
    return {key: text for key, text in found.items() if key in _WORDS}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT


def _limit(body: Mapping[str, Any], key: str, default: int, most: int, place: str) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _invalid(f"{place}.{key}")
    return value
