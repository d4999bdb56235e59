"""What is the same: readings of a request that stand for one person, account, date or other thing.

Equal things get one label. In doubt two readings are two things: a wrong union tells the model something false.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.guard.detect.personal.lexicon import is_given_name, is_surname, is_word
from guardedvlm.guard.detect.personal.written_date import written_date
from guardedvlm.guard.redact.misread import differing, misreadings
from guardedvlm.guard.redact.same_person import People

Thing: TypeAlias = tuple[Kind, str]
"""A kind, and a key that is equal for what is the same. Content: never log it."""

DATES = frozenset({Kind.DATE, Kind.DATE_OF_BIRTH})
NUMBERS = frozenset(
    {
        *(Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD, Kind.ROUTING, Kind.SSN, Kind.MEDICAL_RECORD, Kind.HEALTH_PLAN),
        *(Kind.LICENSE, Kind.DOCUMENT_NUMBER, Kind.MRZ, Kind.VEHICLE, Kind.DEVICE, Kind.OTHER_ID, Kind.PHONE),
    }
)
"""Kinds that are written with or without spaces and hyphens."""
LITERAL = frozenset({Kind.EMAIL, Kind.URL, Kind.IP_ADDRESS, Kind.AMOUNT, Kind.CODE})
"""Kinds whose punctuation tells: "1.50" and "150", "1.12.3.4" and "11.2.3.4"."""
LEAST_LETTERS = 16
"""Letters of a text of other kinds from which on one that differs by a misread letter is the same."""

LEAST_MISREAD = 4
"""Letters of a word in which one may be misread: unit c and unit e are two flats."""
_MASKS = str.maketrans(dict.fromkeys("•●·∙#×", "*"))
_DOTTED = re.compile(r"\d+(?:\.\d+){2,}")


class Sameness:
    """What is the same among the findings of one request. Holds hidden strings; no repr shows them."""

    def __init__(self, findings: Sequence[Finding], languages: Collection[str]) -> None:
        self._languages = tuple(languages)
        self._people = People(finding.secret for finding in findings if finding.kind is Kind.PERSON)
        texts: dict[Kind, dict[str, list[str]]] = {}
        for finding in findings:
            if _is_text(finding.kind):
                texts.setdefault(finding.kind, {})[text_key(finding.secret)] = _folded(finding.secret).split()
        self._misread = {kind: _misread(words) for kind, words in texts.items()}

    def __repr__(self) -> str:
        return f"Sameness({self._people!r})"

    def of(self, finding: Finding) -> Thing:
        """The thing that a finding shows. What has no string (a face) is itself wherever it stands."""
        box = finding.box
        # A line feed is in the key of no string.
        nowhere_else = f"\n{finding.page}:{box.x0}:{box.y0}:{box.x1}:{box.y1}"
        return finding.kind, self._key(finding.kind, finding.secret) or nowhere_else

    def day(self, finding: Finding) -> date | None:
        """The day that a date says, where that is certain."""
        return written_date(finding.secret, self._languages) if finding.kind in DATES else None

    def _key(self, kind: Kind, secret: str) -> str:
        if kind is Kind.PERSON:
            return self._people.key(secret)
        if kind in DATES:
            day = written_date(secret, self._languages)
            return day.isoformat() if day else literal_key(secret)
        if kind in NUMBERS:
            return number_key(secret)
        if kind in LITERAL:
            return literal_key(secret)
        key = text_key(secret)
        return self._misread.get(kind, {}).get(key, key)


def number_key(text: str) -> str:
    """Letters and digits alone; O, I and l between digits are the digits that they were read for.

    Nothing else is taken for anything else: two accounts differ in one digit. The signs and x's of a masked
    number stay, so that "****1234" is no account 1234, and so do the dots of a UID: 1.12.3 is not 11.2.3.
    """
    normal = unicodedata.normalize("NFKC", text).translate(_MASKS)
    if _DOTTED.fullmatch(normal.strip()):
        return normal.strip()
    plain = "".join(c for c in normal if c.isalnum() or c == "*")
    plain = re.sub(r"(?<=\d)[Oo]+(?=\d)", lambda found: "0" * len(found[0]), plain)
    return re.sub(r"(?<=\d)[Il]+(?=\d)", lambda found: "1" * len(found[0]), plain).casefold()


def literal_key(text: str) -> str:
    """The text itself, but for case, width and the amount of space; without the punctuation of a sentence.

    What can tell stays: "(1,500.00)" is a negative amount, "<5" is not 5, and ".50" is not 50.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip("\"' ").rstrip(" .,;:!?")


def text_key(text: str) -> str:
    """Letters and digits without case and marks; a space stays between digits: "1 12th" is not "11 2th"."""
    return re.sub(r"(?<!\d) | (?!\d)", "", _folded(text))


def _folded(text: str) -> str:
    """Words of letters and digits without case and marks, one space between them."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[\W_]+", " ", "".join(c for c in decomposed if not unicodedata.combining(c))).strip()


def _is_text(kind: Kind) -> bool:
    return kind is not Kind.PERSON and kind not in DATES | NUMBERS | LITERAL


def _misread(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Long texts that differ in one misread letter of a word that is in no list of words or names."""

    def differ(one: str, other: str) -> tuple[str, str] | None:
        found = differing(words[one], words[other]) if min(len(one), len(other)) >= LEAST_LETTERS else None
        if found is None or all(map(_is_known, found)) or min(map(len, found)) < LEAST_MISREAD:
            return None
        return found if all(map(str.isalpha, found)) else None

    return misreadings(list(words), differ)


def _is_known(word: str) -> bool:
    return is_word(word) or is_given_name(word) or is_surname(word)
