"""OpenAI's strict schemas -> the service's: what libraries generate says the same in other words.

    anyOf: [X, {type: null}]        ->  X with type [.., null]      (an optional field of a pydantic model)
    $ref into $defs                 ->  what stands there           (a model in a list)

All else goes to the service as it is, which refuses what it does not enforce.
"""

from __future__ import annotations

from typing import Any

from guardedvlm.errors import InvalidInput, Reason

DEPTH = 24
"""Deeper than any schema that the service takes; also the end of one that refers to itself."""
PARTS = 5_000
"""Of one schema, with all that it refers to; the service takes 40 properties."""
PLACE = "response_format.json_schema.schema"
_DEFINITIONS = "#/$defs/"


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references and alternatives with null. Raises InvalidInput(FIELD_INVALID) for one that refers
    to what is not there, or to itself."""
    definitions = schema.get("$defs", {})
    if not isinstance(definitions, dict):
        raise _invalid()
    whole = {name: value for name, value in schema.items() if name != "$defs"}
    found: dict[str, Any] = _Walk(definitions).plain(whole, 0)
    return found


def described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """The schema with the message's text in its description: the service examines it like a question."""
    told = schema.get("description", "")
    if not text or not isinstance(told, str):
        return schema
    return {**schema, "description": " ".join(f"{told} {text}".split())}


class _Walk:
    """One walk through a schema."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._left = PARTS

    def plain(self, value: Any, depth: int) -> Any:
        """What stands there, without references."""
        self._left -= 1
        if depth > DEPTH or self._left < 0:
            raise _invalid()
        if isinstance(value, list):
            return [self.plain(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            beside = {name: item for name, item in value.items() if name != "$ref"}
            return self.plain({**self._referred(value["$ref"]), **beside}, depth + 1)
        return _nullable({name: self.plain(item, depth + 1) for name, item in value.items()})

    def _referred(self, reference: Any) -> dict[str, Any]:
        name = reference.removeprefix(_DEFINITIONS) if isinstance(reference, str) else ""
        found = self._definitions.get(name)
        if not isinstance(found, dict):
            raise _invalid()
        return found


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """A type and null as alternatives, as one type that may be null."""
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or len(choices) != 2 or {"type": "null"} not in choices:
        return schema
    (other,) = [choice for choice in choices if choice != {"type": "null"}] or [None]
    if not isinstance(other, dict) or not isinstance(other.get("type"), str):
        return schema
    beside = {name: item for name, item in schema.items() if name not in ("anyOf", "default")}
    return {**other, "type": [other["type"], "null"], **beside}


def _invalid() -> InvalidInput:
    return InvalidInput(Reason.FIELD_INVALID, field=PLACE)
