"""`extends: NAME`: what a policy takes from a base, a file `base/NAME.yaml` beside the policies' folders.

    policies/base/NAME.yaml       any part of a policy but its name, version and description; may itself extend another
    policies/<name>/policy.yaml   extends: NAME

Mappings are merged key by key; a list or a plain value of the nearer file replaces the inherited one. A kind has one
word: named under `keep` by the nearer file it leaves the inherited `hide`, and the other way round. What comes out is
checked as one policy, and that effective policy is what the digest and the signature cover.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.document import Problems, Source, read_source, read_text
from guardedvlm.policy.yaml_tree import Value, Where, quoted

BASES = "base"
"""The folder of the bases, and so no policy's name."""
KEY = "extends"
OWN = ("name", "version", "description")
"""What says which policy it is: never inherited."""
MAX_BASES = 4
"""Files that one policy is made of, beside its own. A reader has to hold them together in his head."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")


def extended(source: Source, bases: Path | None) -> Source | Problems:
    """`source` with everything that it inherits from files in `bases`, or why that cannot be read. Raises nothing."""
    chain = [source]
    seen: list[str] = []
    while (name := chain[-1].value.get(KEY)) is not None:
        found = _base(chain[-1], name, bases, seen)
        if isinstance(found, tuple):
            return found
        seen.append(str(name))
        chain.append(found)
    whole = chain.pop()
    while chain:
        whole = merged(chain.pop(), whole)
    return whole


def merged(own: Source, base: Source) -> Source:
    """What `own` says, and `base` where it says nothing."""
    base = _yielding(base, own)
    replaced = {where for where in own.places if where and not isinstance(_at(own.value, where), Mapping)}
    left = {
        where: place
        for where, place in base.places.items()
        if not any(where[:end] in replaced for end in range(1, len(where) + 1))
    }
    return Source(_both(own.value, base.value), {**left, **own.places})


def _both(own: Mapping[str, Value], base: Mapping[str, Value]) -> dict[str, Value]:
    whole = {**base, **own}
    for key, value in whole.items():
        inherited = base.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict):
            whole[key] = _both(value, inherited)
    return whole


def _yielding(base: Source, own: Source) -> Source:
    """`base` without what it says of kinds that `own` puts on the other side."""
    value, places = dict(base.value), dict(base.places)
    hide, keep = value.get("hide"), value.get("keep")
    if isinstance(hide, dict):
        value["hide"] = {kind: action for kind, action in hide.items() if kind not in _kinds(own.value.get("keep"))}
    if isinstance(keep, list):
        stays = [(at, kind) for at, kind in enumerate(keep) if str(kind) not in _kinds(own.value.get("hide"))]
        value["keep"] = [kind for _, kind in stays]
        for new, (old, _) in enumerate(stays):
            places["keep", new] = base.places["keep", old]
    return Source(value, places)


def _kinds(value: Value) -> set[str]:
    return {str(kind) for kind in value} if isinstance(value, list | dict) else set()


def _at(value: Value | Mapping[str, Value], where: Where) -> Value | Mapping[str, Value]:
    for part in where:
        if isinstance(value, Mapping):
            value = value[str(part)]
        elif isinstance(value, list):
            value = value[int(part)]
    return value


def _base(source: Source, name: Value, bases: Path | None, seen: list[str]) -> Source | Problems:
    """The file that `source` names. `seen` are the bases so far."""

    def refused(explanation: str, reason: Reason = Reason.POLICY_INVALID) -> Problems:
        return (ConfigurationError(reason, place=str(source.place((KEY,))), explanation=explanation),)

    if not isinstance(name, str) or not _NAME.match(name):
        return refused("extends must be the name of a base: lower-case letters, digits and hyphens")
    if bases is None:
        return refused("extends needs a policy that lies in a file")
    if name in seen:
        return refused(f"extends leads in a circle: {' -> '.join([*seen[seen.index(name) :], name])}")
    if len(seen) == MAX_BASES:
        return refused(f"more than {MAX_BASES} bases stand behind one another")
    path = bases / f"{name}.yaml"
    if not path.is_file():
        return refused(f"there is no base {quoted(name)} ({BASES}/{path.name})", Reason.POLICY_MISSING)
    return _readable(path, len(seen) + 1)


def _readable(path: Path, depth: int) -> Source | Problems:
    file = f"{BASES}/{path.name}"
    try:
        text = read_text(path, file, Reason.POLICY_INVALID)
    except ConfigurationError as error:
        return (error,)
    found = read_source(text, file, Reason.POLICY_INVALID, depth)
    if isinstance(found, tuple):
        return found
    own = tuple(
        ConfigurationError(
            Reason.POLICY_INVALID,
            place=str(found.place((key,))),
            explanation=f"a base has no {key}: it belongs to the policy that extends it",
        )
        for key in OWN
        if key in found.value
    )
    return own or found
