"""The JSON Schema of a policy file, made from the model; docs/policy.schema.json is a copy that a test compares."""

from __future__ import annotations

import json

from guardedvlm.core.finding import RESERVED_KINDS
from guardedvlm.policy.extend import KEY, OWN
from guardedvlm.policy.model import Policy


def policy_schema() -> str:
    """The schema as JSON text, the same for the same code."""
    schema = Policy.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A policy of GuardedVLM"
    # What a base gives need not be written again.
    schema["required"] = list(OWN)
    schema["anyOf"] = [{"required": ["hide"]}, {"required": [KEY]}]
    schema["properties"][KEY] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$", "title": "Extends"}
    kinds = schema["$defs"]["Kind"]["enum"]
    schema["$defs"]["Kind"]["enum"] = [kind for kind in kinds if kind not in RESERVED_KINDS]
    return json.dumps(_ordered(schema), indent=2, sort_keys=True)


def _ordered(value: object) -> object:
    """`value` with every list of words in order: sets have none (defaults come in hash order)."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        return sorted(items, key=str) if all(isinstance(item, str) for item in items) else items
    return value
