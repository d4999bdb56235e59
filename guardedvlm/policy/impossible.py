"""What no policy can say, and which rule or measurement stands against it.

The schema has no word for a blur or for a name's hash. An operator who writes one all the same is told why, and not
only that the word is unknown. A table, like `prohibited`: each entry with its reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.document import Problems, Source
from guardedvlm.policy.explain import dotted, known_keys
from guardedvlm.policy.model import Policy
from guardedvlm.policy.yaml_tree import Value, Where, quoted


@dataclass(frozen=True, slots=True)
class Impossible:
    """A word (`word`, a pattern) that somebody may write for `kinds` under `hide`, and why there is no such thing."""

    word: str
    kinds: frozenset[str]
    explanation: str


_ALL = frozenset(Kind)
_DATES = frozenset({Kind.DATE, Kind.DATE_OF_BIRTH})
_CARDS = frozenset({Kind.PAYMENT_CARD})
_INSTEAD = "write fill or label"

ACTIONS: tuple[Impossible, ...] = (
    Impossible(
        "blur.*|gauss.*|mosaic|pixel.*|swirl|scramble",
        _ALL,
        f"a blur or mosaic can be undone (blurred faces were re-identified at 95.9 %, arXiv 2506.12344); {_INSTEAD}",
    ),
    Impossible(
        "(first|bin|last|show|keep|mask|trunc)[a-z_]*[0-9_]*.*|partial|pan.*|[x*]+[0-9]+",
        _CARDS,
        "PCI DSS 4.0.1, 3.4.1: never more than the first six and last four digits, and only to those who need them; a "
        f"language model needs none; {_INSTEAD}",
    ),
    Impossible(
        "(year|month|week|day|quarter|shift|round|general).*",
        _DATES,
        "45 CFR 164.514(b)(2)(i)(C): no element of a date finer than the year may stay, and a shifted date is derived "
        f"from the data, (c)(1); a bare year is no DATE; {_INSTEAD}",
    ),
    Impossible(
        "(round|general|range|band|90|cap).*",
        frozenset({Kind.AGE}),
        f"45 CFR 164.514(b)(2)(i)(C): ages over 89 must go, and a misread 91 would show; {_INSTEAD}",
    ),
    Impossible(
        "(zip|postal|state|city|county|general|region).*",
        frozenset({Kind.ADDRESS}),
        "45 CFR 164.514(b)(2)(i)(B): a part of an address may stay only for areas of more than 20,000 people, which a "
        f"picture does not tell; {_INSTEAD}",
    ),
    Impossible(
        "hash.*|hmac.*|sha.*|md5|pseudonym.*|deriv.*|token.*|encrypt.*|fpe.*|initials?|surrogate.*",
        _ALL,
        "45 CFR 164.514(c)(1): a code may not be derived from the data (for card numbers PCI DSS 4.0.1, 3.5.1.1); "
        f"labels are drawn at random; {_INSTEAD}",
    ),
    Impossible("keep|show|allow|none|off|ignore|false", _ALL, "what stays visible is listed under 'keep'"),
)
"""Words for what is done to a kind. The first that fits explains."""

KEYS: dict[str, str] = {
    "pseudonyms?|tokenis.*|tokeniz.*": "labels are random for each request and derive from nobody's data, "
    "45 CFR 164.514(c)(1); for the days between dates see text.date_labels",
    "blur.*|mosaic|pixelat.*": "a blur or mosaic can be undone (arXiv 2506.12344, 95.9 %); hide: fill or label",
    "unguarded|bypass|disabled?|enabled?|dry_?run|skip.*|off": "no policy can switch the guard, or a part of it, off",
    "detectors?|recogni[sz]ers?|verif.*|ledger": "every request passes every detector, verification and the ledger; "
    "no policy chooses among them",
    "log.*|capture.*|store.*|save.*|cache.*": "no content is logged, captured or kept; the ledger holds counts",
}
"""Keys that somebody may write at the top, or in a section, for what does not exist."""


def impossible(source: Source) -> Problems:
    """Why each of the things cannot be had that `source` asks for and no policy can say; empty where there is none."""
    found = sorted((source.place(where), text) for where, text in _found(source.value, ()))
    return tuple(ConfigurationError(Reason.POLICY_INVALID, place=str(place), explanation=text) for place, text in found)


def _found(value: object, where: Where) -> Iterator[tuple[Where, str]]:
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = (*where, key)
        if where == ("hide",):
            yield from _action(here, key, inner)
        elif len(where) <= 1 and where not in (("gdpr",), ("expert",)):
            if key not in known_keys(Policy, where):
                yield from ((here, f"{dotted(here)}: {why}") for word, why in KEYS.items() if re.fullmatch(word, key))
            yield from _found(inner, here)


def _action(where: Where, kind: str, word: Value) -> Iterator[tuple[Where, str]]:
    written = str(word).lower() if not isinstance(word, dict) else next(iter(word), "").lower()
    for entry in ACTIONS:
        if kind in entry.kinds and re.fullmatch(entry.word, written):
            yield where, f"{dotted(where)}: {quoted(written)}: {entry.explanation}"
            return
