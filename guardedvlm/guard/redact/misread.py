"""Two readings of one printed text: they differ in one place, by characters that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

_ALIKE = "l/i l/t i/t i/j c/e c/o u/v n/h h/b f/t g/q rn/m vv/w cl/d ii/u"
ALIKE = frozenset(frozenset(pair.split("/")) for pair in _ALIKE.split())
"""Folded letters that readers take for each other. Digits are not among them: 3 and 8 look alike, and 13 and 18 are two
accounts."""
MOST_READINGS = 500
"""Readings of a kind that are compared with one another; a request with more has its misreadings apart."""


def looks_alike(one: str, other: str) -> bool:
    """Whether two different folded words differ in one place, by letters that look alike."""
    start = _common(one, other)
    one, other = one[start:], other[start:]
    end = _common(one[::-1], other[::-1])
    return frozenset({one[: len(one) - end], other[: len(other) - end]}) in ALIKE


def _common(one: str, other: str) -> int:
    """Characters that two words begin with alike."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)


def differing(one: Sequence[str], other: Sequence[str]) -> tuple[str, str] | None:
    """The only words, in whatever order, in which two texts differ; None where they differ in more."""
    left, right = Counter(one), Counter(other)
    ours, theirs = list((left - right).elements()), list((right - left).elements())
    return (ours[0], theirs[0]) if len(ours) == 1 == len(theirs) else None


def misreadings(keys: Sequence[str], differ: Callable[[str, str], tuple[str, str] | None]) -> dict[str, str]:
    """Key -> the key that it is taken for, for pairs that look alike.

    `differ` gives the words in which two keys differ, None where they cannot be the same. Pairs only: what looks like
    two others is left alone, so that nothing far apart is joined by what lies between.
    """
    near: dict[str, list[str]] = {}
    if len(keys) <= MOST_READINGS:
        for one, other in combinations(sorted(keys), 2):
            words = differ(one, other)
            if words is not None and looks_alike(*words):
                near.setdefault(one, []).append(other)
                near.setdefault(other, []).append(one)
    return {key: min(key, *found) for key, found in near.items() if len(found) == 1 == len(near[found[0]])}
