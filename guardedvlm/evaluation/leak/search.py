"""Is a canary in there? Exactly, and as a reader with a few mistakes would write it."""

from __future__ import annotations

import unicodedata

from rapidfuzz import fuzz

LEAST_EXACT = 4
"""Letters and digits that a canary needs to be looked for where it stood: "96 years" has six."""
LEAST_ANYWHERE = 8
"""The same in everything that a page says or a service writes: shorter ones turn up by chance."""
NEARLY = 85.0
"""rapidfuzz's partial ratio from which a text holds a canary, where it stood: one wrong character of seven."""
NEARLY_ANYWHERE = 92.0
_LOOK_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "8": "b", "2": "z"})


def folded(text: str) -> str:
    """Letters and digits alone, without case and accents, look-alikes as one."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in plain if character.isalnum()).translate(_LOOK_ALIKE)


def is_read(canary: str, text: str) -> bool:
    """Whether a reader that looked where the canary stood has read it."""
    wanted, found = folded(canary), folded(text)
    if len(wanted) < LEAST_EXACT or len(found) < LEAST_EXACT:
        return False
    return wanted in found or (len(found) >= 0.7 * len(wanted) and fuzz.partial_ratio(wanted, found) >= NEARLY)


class Haystack:
    """A long text that many canaries are looked for in."""

    def __init__(self, text: str) -> None:
        self._text = folded(text)

    def holds(self, canary: str) -> bool:
        """Whether the text holds the canary. False for one that is too short to tell."""
        wanted = folded(canary)
        if not LEAST_ANYWHERE <= len(wanted) <= len(self._text):
            return False
        return wanted in self._text or fuzz.partial_ratio(wanted, self._text) >= NEARLY_ANYWHERE
