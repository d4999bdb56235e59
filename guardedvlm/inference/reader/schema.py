"""Fill a JSON Schema of a flat object from a page: each property is a question of its own, answered or null.

Of JSON Schema the reader uses `properties` with their `type`, `title` and `description`; other keywords do not change
what it reads. What it cannot tell is null, whatever the schema requires: it never invents a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guardedvlm.core.ports import Evidence, FinishReason
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.inference.reader.answer import Answer
from guardedvlm.inference.reader.values import amounts, dates, whole_numbers

MAX_PROPERTIES = 40
"""Questions in one request; each costs up to a second of embeddings on a page that names it nowhere."""


@dataclass(frozen=True, slots=True)
class Property:
    """One wanted value: its name, JSON type and the question that asks for it."""

    name: str
    type: str
    question: str


def wanted(schema: str) -> tuple[Property, ...]:
    """Properties of an object schema. Raises InvalidInput(FIELD_INVALID) for anything else."""
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError):
        raise InvalidInput(Reason.FIELD_INVALID, field="schema") from None
    properties = parsed.get("properties") if isinstance(parsed, dict) else None
    if not isinstance(properties, dict) or not 1 <= len(properties) <= MAX_PROPERTIES:
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    return tuple(_property(name, body) for name, body in properties.items())


def _property(name: str, body: Any) -> Property:
    if not isinstance(body, dict):
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    kinds = body.get("type", "string")
    kind = next((item for item in kinds if item != "null"), "string") if isinstance(kinds, list) else kinds
    if kind not in ("string", "number", "integer", "boolean"):
        raise InvalidInput(Reason.FIELD_INVALID, field="schema")
    title = next((body[key] for key in ("title", "description") if isinstance(body.get(key), str) and body[key]), "")
    spoken = title or re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-]+", " ", name)
    return Property(name, kind, f"What is the {spoken.strip(' .?').lower()}?")


def filled(properties: tuple[Property, ...], ask: Callable[[str], Answer]) -> Answer:
    """The JSON object with a value or null for each property; CANNOT_TELL when all are null."""
    values: dict[str, object] = {}
    evidence: list[Evidence] = []
    for item in properties:
        answer = ask(item.question)
        values[item.name] = _typed(item.type, answer)
        if values[item.name] is not None:
            evidence += answer.evidence
    known = any(value is not None for value in values.values())
    finish = FinishReason.STOP if known else FinishReason.CANNOT_TELL
    return Answer(json.dumps(values, ensure_ascii=False), tuple(evidence), finish)


def _typed(kind: str, answer: Answer) -> object:
    """The answer's value as the property's JSON type, or None. No boolean: the reader quotes, it does not judge."""
    if answer.finish is FinishReason.CANNOT_TELL or not answer.value:
        return None
    if kind == "string":
        return answer.value
    if kind == "number":
        printed = amounts(answer.value)
        if len(printed) == 1:
            return float(printed[0].value)
    if kind in ("number", "integer") and not dates(answer.value):
        numbers = whole_numbers(answer.value)
        return numbers[0] if len(numbers) == 1 else None
    return None
