"""Every value that is in force, and the line that it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from guardedvlm.policy.document import Document, Place
from guardedvlm.policy.model import Policy
from guardedvlm.policy.yaml_tree import Where


@dataclass(frozen=True, slots=True)
class Effective:
    """One value. `place` is None where no file says anything and the schema's default holds."""

    where: Where
    text: str
    place: Place | None


def effective_values(document: Document[Policy]) -> list[Effective]:
    """All values of the policy in the order of its schema; sets as a whole, in the order of the canonical form."""
    return list(_values(document, json.loads(document.value.canonical()), ()))


def _values(document: Document[Policy], value: object, where: Where) -> Iterator[Effective]:
    if isinstance(value, dict) and value:
        keys = sorted(value, key=list(Policy.model_fields).index) if not where else sorted(value)
        for key in keys:
            yield from _values(document, value[key], (*where, key))
        return
    text = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
    yield Effective(where, text.strip('"') or "(none)", document.source.places.get(where))
