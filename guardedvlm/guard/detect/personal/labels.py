"""Labels of forms, cards and statements (labels.txt) and what they name, in English, German, French and Spanish.

A label is looked up without spaces, accents, case and punctuation, because OCR joins words: "DATEOFBIRTH", "Date de
naissance", "4a. Date of issue" and "Nachname / Surname / Nom" are all labels. A label that names nothing personal
("Total", "Findings") has kind None: it is known so that it is never taken for the value of another label.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from guardedvlm.core.finding import Kind

_NUMBER = ("", " no", " n", " number", " num", " nr", " nummer", " id", " code", " #")
"""What may follow a noun that names a number: "policy", "policy no", "policy number"."""
_BEFORE_NUMBER = ("no de ", "numero de ", "n de ", "num de ", "n ", "no ", "numero ", "nr ")
"""The Romance order: "numéro de compte"."""

_FILLER = frozenset({"and", "or", "of", "the", "und", "oder", "et", "ou", "y", "o", "e", "&", "de", "du", "la", "des"})
"""Words that may stand between two labels of one compound label."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label at [start, end) of a text; `kind` is what its value is, None when that is nothing personal.

    `numbered` labels ("policy", "card") name a number: their value must look like one.
    """

    start: int
    end: int
    kind: Kind | None
    numbered: bool


def squeeze(text: str) -> str:
    """`text` without case, accents and everything that is no letter or digit."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if c.isalnum())


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Heading and squeezed phrases of every section of labels.txt."""
    text = (Path(__file__).parent / "labels.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for section in "\n".join(lines).split("[")[1:]:
        heading, _, listing = section.partition("]")
        yield heading, [squeeze(phrase) for phrase in listing.split(";") if phrase.strip()]


@cache
def _table() -> dict[str, tuple[Kind | None, bool]]:
    """Squeezed label -> (kind, numbered). The first entry of a phrase stands."""
    table: dict[str, tuple[Kind | None, bool]] = {}
    for heading, phrases in _sections():
        name, _, numbered = heading.partition(" ")
        kind = None if name == "PLAIN" else Kind(name)
        for phrase in phrases:
            forms = [phrase] if not numbered else [phrase + squeeze(n) for n in _NUMBER]
            forms += [squeeze(n) + phrase for n in _BEFORE_NUMBER] if numbered else []
            for form in forms:
                table.setdefault(form, (kind, bool(numbered)))
    return table


@cache
def _lengths() -> Mapping[str, tuple[int, ...]]:
    """The first two letters of labels -> the lengths that such labels have, the longest first; a label has two letters
    at least."""
    lengths: dict[str, set[int]] = {}
    for label in _table():
        lengths.setdefault(label[:2], set()).add(len(label))
    return {start: tuple(sorted(sizes, reverse=True)) for start, sizes in lengths.items()}


def _squeezed_with_origin(text: str) -> tuple[str, list[int]]:
    """`squeeze(text)` and the position in `text` of each of its characters."""
    if text.isascii():
        kept = [position for position, character in enumerate(text) if character.isalnum()]
        return "".join([text[position] for position in kept]).lower(), kept
    characters: list[str] = []
    origin: list[int] = []
    for position, character in enumerate(text):
        for part in squeeze(character):
            characters.append(part)
            origin.append(position)
    return "".join(characters), origin


def _starts_word(text: str, position: int) -> bool:
    """Whether a word begins here: after a non-letter, or a capital after a small letter ("NameJohn")."""
    if position == 0:
        return True
    before, here = text[position - 1], text[position]
    return not before.isalnum() or (here.isupper() and before.islower()) or (before.isdigit() != here.isdigit())


def _ends_word(text: str, end: int) -> bool:
    return end >= len(text) or not text[end].isalnum() or _starts_word(text, end)


def find_labels(text: str) -> list[Label]:
    """Every label in `text` from left to right, the longest first, not overlapping; neighbours are not yet joined."""
    squeezed, origin = _squeezed_with_origin(text)
    table, found, position = _table(), [], 0
    while position < len(squeezed):
        label = _label_at(text, squeezed, origin, position, table)
        if label is None:
            position += 1
        else:
            found.append(label[0])
            position = label[1]
    return found


def _label_at(
    text: str, squeezed: str, origin: list[int], position: int, table: dict[str, tuple[Kind | None, bool]]
) -> tuple[Label, int] | None:
    start = origin[position]
    if not _starts_word(text, start):
        return None
    for length in _lengths().get(squeezed[position : position + 2], ()):
        end = position + length
        entry = table.get(squeezed[position:end]) if end <= len(squeezed) else None
        if entry is not None and _ends_word(text, origin[end - 1] + 1):
            return Label(start, origin[end - 1] + 1, *entry), end
    return None


_NUMBERING = re.compile(r"[\W_]*(?:\d{1,2}[a-z]?(?=[\W_]|$|[^\W\d]{2})[\W_]*)?", re.IGNORECASE)
"""What may stand before a label: punctuation and a field number of cards ("1.", "4a.", "(12)")."""
_TAIL = re.compile(r"(?:\(\d{1,2}[a-z]?\)|[^\w(]|[()_])*", re.IGNORECASE)
"""What may follow the last label: punctuation and a field number in parentheses. A bare number would be a value."""


def _is_joint(between: str) -> bool:
    """Whether the text between two labels is punctuation, field numbers and filler words only."""
    words = [w.casefold() for w in re.split(r"[\W_]+", between) if w]
    return all(w in _FILLER or re.fullmatch(r"\d{1,2}[a-z]?", w) for w in words)


@cache
def _whole(text: str) -> Label | None:
    labels = find_labels(text)
    if not labels:
        return None
    if not _NUMBERING.fullmatch(text[: labels[0].start]) or not _TAIL.fullmatch(text[labels[-1].end :]):
        return None
    if not all(_is_joint(text[a.end : b.start]) for a, b in pairwise(labels)):
        return None
    named = next((label for label in labels if label.kind is not None), labels[0])
    return Label(labels[0].start, labels[-1].end, named.kind, named.numbered)


def whole_label(text: str) -> Label | None:
    """The label that all of `text` is ("Nachname / Surname / Nom:"), or None. Its kind is the first personal one."""
    return _whole(text) if len(text) <= MAX_LABEL_CHARS else None


MAX_LABEL_CHARS = 120
"""A longer text is no label; the longest trilingual ones of identity cards have about 70 characters."""


def leading_label(text: str) -> Label | None:
    """The (compound) label at the start of `text`, after numbering, or None: "1. Surname / Nom: DOE"."""
    labels = find_labels(text[: 2 * MAX_LABEL_CHARS])
    if not labels or not _NUMBERING.fullmatch(text[: labels[0].start]):
        return None
    return join(text, labels)[0]


def join(text: str, labels: list[Label]) -> list[Label]:
    """Neighbouring labels with nothing but a slash or filler between them, made one; a colon ends a label."""
    joined: list[Label] = []
    for label in labels:
        last = joined[-1] if joined else None
        if last is not None and _joins(text[last.end : label.start]):
            named = last if last.kind is not None else label
            joined[-1] = Label(last.start, label.end, named.kind, named.numbered)
        else:
            joined.append(label)
    return joined


def _joins(between: str) -> bool:
    return len(between) <= 8 and ":" not in between and "\n" not in between and _is_joint(between)
