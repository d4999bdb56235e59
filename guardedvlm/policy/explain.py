"""Why a file does not fit its model, in words for the person who wrote it.

Keys and words of closed vocabularies are repeated; other values are not, because a tenants file holds credentials.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from guardedvlm.policy.yaml_tree import Where, quoted

LISTED_CHOICES = 9
"""A vocabulary of up to this many words is listed in full; of a longer one only the nearest word is named."""

_SENTENCES: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "date_from_datetime_parsing": "must be a date, YYYY-MM-DD",
    "date_parsing": "must be a date, YYYY-MM-DD",
    "date_type": "must be a date, YYYY-MM-DD",
    "dict_type": "must be a mapping (key: value)",
    "float_type": "must be a number",
    "frozen_set_type": "must be a list",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "model_type": "must be a mapping (key: value)",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text; put it in quotes",
    "too_short": "must have at least {min_length} entries",
    "tuple_type": "must be a list",
}
"""What pydantic's error types mean, with the names of their context."""


def place_of(error: ErrorDetails) -> Where:
    """Where the error is; pydantic marks a mapping's own key with a last element "[key]"."""
    return error["loc"][:-1] if _is_key(error) else error["loc"]


def explain(error: ErrorDetails, model: type[BaseModel]) -> str:
    """One sentence about one error of validating `model`."""
    where, kind = place_of(error), error["type"]
    if kind == "missing":
        return f"{dotted(where)} is missing"
    if kind == "extra_forbidden":
        return _unknown_key(where, known_keys(model, where[:-1]))
    if kind in {"enum", "literal_error"}:
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return _unknown_key(where, choices) if _is_key(error) else _unknown_word(where, error["input"], choices)
    sentence = _SENTENCES.get(kind, f"is invalid ({kind})")
    return f"{dotted(where)} {sentence.format(**error.get('ctx', {}))}"


def dotted(where: Where) -> str:
    """`("callers", 0, "san")` as `callers[0].san`; the whole file as `the file`."""
    shown = ""
    for part in where:
        name = part if isinstance(part, int) or part.isidentifier() else quoted(part)
        shown += f"[{name}]" if isinstance(name, int) else f".{name}" if shown else name
    return shown or "the file"


def known_keys(model: type[BaseModel], where: Where) -> tuple[str, ...]:
    """The keys that `model` knows at `where`; none where it takes any key."""
    found: Any = model
    for part in where:
        found = _step(found, part)
    found = _bare(found)
    return tuple(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else ()


def _step(annotation: Any, part: str | int) -> Any:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if arguments else None


def _bare(annotation: Any) -> Any:
    """The type without what is annotated, and without the None of an optional one."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation


def _is_key(error: ErrorDetails) -> bool:
    return bool(error["loc"]) and error["loc"][-1] == "[key]"


def _unknown_key(where: Where, choices: Collection[str]) -> str:
    around = f" in {dotted(where[:-1])}" if where[:-1] else ""
    return f"unknown key {quoted(str(where[-1]))}{around}{_suggestion(str(where[-1]), choices)}"


def _unknown_word(where: Where, word: object, choices: Collection[str]) -> str:
    if not isinstance(word, str):
        return f"{dotted(where)} must be one of: {', '.join(choices)}"
    return f"{dotted(where)}: {quoted(word)} is not known{_suggestion(word, choices)}"


def _suggestion(word: str, choices: Collection[str]) -> str:
    by_form = {_folded(choice): choice for choice in choices}
    near = difflib.get_close_matches(_folded(word[:80]), by_form, n=1)
    if near:
        return f"; did you mean {by_form[near[0]]!r}?"
    return f"; known: {', '.join(choices)}" if 0 < len(choices) <= LISTED_CHOICES else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
