"""Which names of a request are one person's.

"Doe, Jane", "JANE DOE" and "Dr. Jane Doe" are. A wrong union tells the model that two people are one, a missing one
only less; so in doubt two names are two people: "J. Doe" and "Jane Doe", "Jane A. Doe" and "Jane Doe", "James Thomas"
and "Thomas James", "John Doe" and "John Doe Jr", "Mr. Doe" and "Mrs. Doe".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from guardedvlm.guard.detect.personal.lexicon import is_given_name, is_surname
from guardedvlm.guard.redact.misread import differing, misreadings

LEAST_LETTERS = 10
"""Letters of a whole name from which on one that differs by a misread letter may be the same."""

_MALE = frozenset({"mr", "herr", "monsieur", "señor", "senor", "sr", "sir", "lord", "encik", "dato", "datuk"})
_FEMALE = frozenset(
    {"mrs", "ms", "miss", "frau", "mme", "mlle", "madame", "señora", "senora", "sra", "srta", "dame", "lady", "puan"}
)
_NEUTRAL = frozenset({"mx", "dr", "prof", "professor", "doctor", "rev", "capt", "sgt", "nurse"})
# Not "don" and "hon": they are given names as well.
_TITLES = _MALE | _FEMALE | _NEUTRAL
_CREDENTIALS = frozenset({"md", "rn", "phd", "dds", "esq", "cpa", "mbbs", "facr"})
_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv"})
"""They tell a father from his son, and stay a part of the name."""
_MISREAD_DIGITS = str.maketrans("0158", "olsb")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it was read: its words in natural order, its surname where one can be told, and who is so addressed."""

    words: tuple[str, ...] = field(repr=False)
    surname: str = field(repr=False)
    certain: bool  # whether a comma, a caret or a title says which word is the surname
    address: str  # "m", "f" or ""

    @classmethod
    def of(cls, text: str) -> Name:
        """Read `text`."""
        parts = [part for part in (_words(part) for part in re.split(r"[,^]", text)) if part] or [()]
        parts = [part for at, part in enumerate(parts) if at == 0 or not set(part) <= _dropped(at)]
        # The family name first, as a form, a library or a DICOM header writes it.
        turned = len(parts) > 1 and not set(parts[1]) <= _SUFFIXES
        words = (*(word for part in parts[1:] for word in part), *parts[0]) if turned else sum(parts, ())
        titles = _leading_titles(words)
        words = tuple(word for word in words[len(titles) :] if word not in _CREDENTIALS) or words
        solid = [word for word in words if word not in _SUFFIXES] or [""]
        marks = {mark for mark in titles if mark}
        return cls(words, solid[-1], turned or bool(titles), marks.pop() if len(marks) == 1 else "")

    @property
    def form(self) -> tuple[str, ...]:
        """What equal names share: the words in any order, unless all are given names ("James Thomas")."""
        return self.words if all(map(is_given_name, self.words)) else tuple(sorted(self.words))


class People:
    """The people of one request, by the names that were read. Holds names; no repr shows them."""

    def __init__(self, texts: Iterable[str]) -> None:
        names = [Name.of(text) for text in dict.fromkeys(texts)]
        self._addresses: dict[tuple[str, ...], set[str]] = {}
        for name in names:
            self._addresses.setdefault(name.form, set()).add(name.address)
        self._read: dict[str, list[Name]] = {}
        for name in names:
            self._read.setdefault(self._key(name), []).append(name)
        full = [key for key, read in self._read.items() if len(read[0].words) > 1]
        self._same = misreadings(full, self._differ)
        # Each rule looks at what was read, never at what another rule made of it: the order says nothing.
        owners = {key: self._owner(key, full) for key, read in self._read.items() if len(read[0].words) == 1}
        self._same |= {key: owner for key, owner in owners.items() if owner is not None}

    def __repr__(self) -> str:
        return f"People({len(self._read)})"

    def key(self, text: str) -> str:
        """Equal for two names exactly where they are one person's."""
        return self._person(self._key(Name.of(text)))

    def _key(self, name: Name) -> str:
        # Where a name is borne by a "Mr" and by a "Mrs", one who is not so addressed may be either.
        both = {"m", "f"} <= self._addresses.get(name.form, set())
        return " ".join(name.form) + (f" ({name.address})" if both else "")

    def _person(self, key: str) -> str:
        return self._same.get(key, key)

    def _owner(self, single: str, full: Collection[str]) -> str | None:
        """The person whom a single word names: the only one who has it, as a surname or as a name without its space."""
        word = self._read[single][0].words[0]
        bearers = {self._person(key) for key in full if word in self._read[key][0].words}
        if not bearers:
            glued = {self._person(key) for key in full if any(word == "".join(name.words) for name in self._read[key])}
            return glued.pop() if len(glued) == 1 else None
        named = [key for key in full if self._is_surname(word, single, key)]
        if len(bearers) != 1 or bearers != {self._person(key) for key in named}:
            return None
        # "Mr. Doe" beside a Jane Doe may be another one, unless Mr. Doe is what that person is called.
        addressed = {name.address for key in named for name in self._read[key]}
        return bearers.pop() if {name.address for name in self._read[single]} - {""} <= addressed else None

    def _is_surname(self, word: str, single: str, key: str) -> bool:
        """Whether `word` is the surname in the names of `key`; of a word that is a given name too, something must say
        so."""
        told = not is_given_name(word) or any(name.certain for name in self._read[single])
        return any(name.surname == word and (told or name.certain) for name in self._read[key])

    def _differ(self, one: str, other: str) -> tuple[str, str] | None:
        """The two words in which names differ, where they may be one name and one of the words nobody is known to
        bear."""
        left, right = self._read[one][0], self._read[other][0]
        if min(sum(map(len, name.words)) for name in (left, right)) < LEAST_LETTERS:
            return None
        if {"m", "f"} <= self._addresses[left.form] | self._addresses[right.form]:
            return None
        words = differing(left.words, right.words)
        # "Christina" and "Christine" are two names; "Johnscn" is none.
        return None if words is None or all(map(_is_known, words)) else words


def _dropped(at: int) -> frozenset[str]:
    """Words that are no name where they are all of its part number `at`: "Doe, Jane, MD", "DOE^JANE^^DR"."""
    return _CREDENTIALS if at < 2 else _CREDENTIALS | _TITLES - _SUFFIXES


def _words(text: str) -> tuple[str, ...]:
    """Folded words; apostrophes join ("O'Brien"), and digits among letters are the letters that they were read for."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c) and c not in "'’`´")
    words = _WORD.findall(plain)
    return tuple(word if word.isdigit() else word.translate(_MISREAD_DIGITS) for word in words)


def _leading_titles(words: tuple[str, ...]) -> list[str]:
    """For each title that a name begins with "m", "f" or ""; never for all of its words."""
    found = []
    for word in words[:-1]:
        if word not in _TITLES:
            break
        found.append("m" if word in _MALE else "f" if word in _FEMALE else "")
    return found


def _is_known(word: str) -> bool:
    return is_given_name(word) or is_surname(word)
