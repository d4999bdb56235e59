"""An answer schema as JSON: its strings are screened one by one, so that it stays JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator

from guardedvlm.errors import InvalidInput, Reason, Refused
from guardedvlm.guard.screen.normal import normalise

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

MAX_DEPTH = 32
"""Nesting of an answer schema; real ones have fewer than ten levels."""

SIZES = frozenset(("maxItems", "maxLength", "minItems", "minLength"))
"""Keywords whose number is a size. Any other's ("const", "maximum") is a value that may be somebody's."""
MOST_LIMIT = 1_000
"""A limit of a schema above which it is looked at as any number."""
KEYWORDS = frozenset((
    "$schema", "additionalProperties", "array", "boolean", "const", "default", "description", "enum", "examples",
    "format", "integer", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "null",
    "number", "object", "pattern", "properties", "required", "string", "title", "type",
))  # fmt: skip
"""Words of JSON Schema itself: nobody's data, although a recogniser takes "maxLength" for a Max."""


def parse(schema: str) -> Json:
    """The object or array that `schema` writes, its strings normalised; otherwise the text itself.

    Normalises after decoding: "\\u200b" in JSON is a zero-width space only then. Raises InvalidInput(FIELD_INVALID)
    when it is nested deeper than MAX_DEPTH.
    """
    try:
        value = json.loads(schema)
        if isinstance(value, dict | list):
            return _normalised(value, MAX_DEPTH)
    except ValueError:
        pass
    except RecursionError:
        raise InvalidInput(Reason.FIELD_INVALID, field="schema") from None
    return schema


def strings(value: Json) -> Iterator[str]:
    """Every key, string and number of `value` as text."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


async def rewritten(value: Json, rewrite: Callable[[str], Awaitable[str]]) -> Json:
    """`value` with `rewrite` applied to each of its texts but KEYWORDS; a number that changes becomes a string.

    Raises Refused(QUESTION_PERSONAL) when two keys become one: the schema would lose a field unseen.
    """
    if isinstance(value, dict):
        fields = {
            (key if key in KEYWORDS else await rewrite(key)): (
                item if _is_limit(key, item) else await rewritten(item, rewrite)
            )
            for key, item in value.items()
        }
        if len(fields) < len(value):
            raise Refused(Reason.QUESTION_PERSONAL)
        return fields
    if isinstance(value, list):
        return [await rewritten(item, rewrite) for item in value]
    if value is None or isinstance(value, bool) or value in KEYWORDS:
        return value
    text = await rewrite(str(value))
    return value if text == str(value) else text


def _is_limit(key: str, value: Json) -> bool:
    """Whether it is a size's number, too small to be anybody's."""
    return key in SIZES and isinstance(value, int) and 0 <= value <= MOST_LIMIT


def encode(value: Json) -> str:
    """Compact JSON, or the text itself."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _normalised(value: Json, depth: int) -> Json:
    if not depth:
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    if isinstance(value, dict):
        return {normalise(key): _normalised(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalised(item, depth - 1) for item in value]
    return normalise(value) if isinstance(value, str) else value
