"""Pseudonyms of one request: PERSON-A for every place where the same hidden string stands.

The letter tells nothing: it is not derived from the data, and the order in which letters are dealt is random (45 CFR
164.514(c): a re-identification code may not be derived from information about the individual).
"""

from __future__ import annotations

import secrets
import string
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import count, product

from guardedvlm.core.finding import Action, Finding, Kind
from guardedvlm.policy.model import Policy


def folded(secret: str) -> str:
    """A hidden string without case, spaces and marks: OCR and people write the same name in many ways."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", secret).casefold()))


class Labels:
    """The labels of one request. Holds hidden strings in memory; its repr shows only how many."""

    def __init__(self, findings: Sequence[Finding], policy: Policy) -> None:
        self._policy = policy
        self._letters = _letters()
        self._by_key: dict[tuple[Kind, str], str] = {}
        self._written = {_key(finding): finding.secret for finding in findings if finding.secret}
        keys = list(dict.fromkeys(map(_key, findings)))
        secrets.SystemRandom().shuffle(keys)
        for kind, key in keys:
            self._deal(kind, key)

    def __repr__(self) -> str:
        return f"Labels({len(self._by_key)})"

    def of(self, finding: Finding) -> str:
        """The finding's label; "" where the policy does not label its kind. Equal strings of a kind have equal
        labels."""
        return self._deal(*_key(finding))

    def by_secret(self) -> dict[str, str]:
        """Hidden string as it was read -> label, for strings that have one. Content: never log it."""
        return {text: self._by_key[key] for key, text in self._written.items() if key in self._by_key}

    def _deal(self, kind: Kind, key: str) -> str:
        if self._policy.action(kind) is not Action.LABEL:
            return ""
        if (kind, key) not in self._by_key:
            self._by_key[kind, key] = f"{kind}-{next(self._letters)}"
        return self._by_key[kind, key]


def _key(finding: Finding) -> tuple[Kind, str]:
    """Kind and folded string; what has no string (a face) is itself wherever it stands. "@" is in no folded string."""
    box = finding.box
    return finding.kind, folded(finding.secret) or f"@{finding.page}:{box.x0}:{box.y0}:{box.x1}:{box.y1}"


def _letters() -> Iterator[str]:
    """A ... Z, AA ... ZZ, and so on."""
    for length in count(1):
        yield from map("".join, product(string.ascii_uppercase, repeat=length))
