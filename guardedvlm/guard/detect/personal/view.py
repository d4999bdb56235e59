"""A text as the recognisers see it: folded characters, each of which knows the character that it came from.

Folding undoes what hides a string from a pattern and not from a reader: zero-width characters, full-width digits,
typographic dashes and quotes, no-break spaces. Confusions of OCR (O for 0, l for 1) are undone for numbers only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from guardedvlm.core.finding import Kind, Span


@dataclass(frozen=True)
class View:
    """`text[i]` came from character `origin[i]` of the source."""

    text: str = field(repr=False)
    origin: Sequence[int] = field(repr=False)

    @cached_property
    def digit_groups(self) -> list[list[Group]]:
        """`digit_groups` of the text, made once for the rules that look at numbers; not to be changed."""
        return digit_groups(self.text)

    def span(self, start: int, end: int, kind: Kind, score: float, recognizer: str) -> Span:
        """Span of the source for characters [start, end) of this view."""
        return Span(self.origin[start], self.origin[end - 1] + 1, kind, score, recognizer)


def folded(text: str) -> View:
    """`text` in compatibility form, without invisible characters, with plain dashes, quotes and spaces."""
    if text.isascii():
        return View(text, range(len(text)))
    characters: list[str] = []
    origin: list[int] = []
    for position, character in enumerate(text):
        for part in character if character.isascii() else _plain(character):
            characters.append(part)
            origin.append(position)
    return View("".join(characters), origin)


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "Pd" or character == "−":
        return "-"
    if category == "Zs":
        return " "
    if character in "’‘ʼ`´":
        return "'"
    if category == "Nd":
        return str(unicodedata.digit(character))
    return unicodedata.normalize("NFKC", character)


def without_spaces(view: View) -> View:
    """The view with its spaces left out: OCR joins and splits words."""
    kept = [i for i, c in enumerate(view.text) if not c.isspace()]
    return View("".join(view.text[i] for i in kept), [view.origin[i] for i in kept])


_CONFUSED = str.maketrans("OoQDIl|!SsBZzGg", "000011115582266")
"""What OCR reads for a digit: O o Q D for 0, I l | ! for 1, S s for 5, B for 8, Z z for 2, G g for 6."""
DIGIT = r"[0-9OoQIl|SsBZzG]"
"""A digit or a letter that OCR gives for one."""
LEAST_TRUE_DIGITS = 0.6
"""Share of real digits from which on letters within a number are taken for misread digits."""


def misread(character: str) -> str:
    """The digit that OCR may have read as `character`, or the character itself."""
    return character.translate(_CONFUSED)


def digits(text: str) -> str:
    """`text` with misread digits folded and everything else left out; "" when too few characters are real digits."""
    solid = [c for c in text if c.isalnum() or c in "|!"]
    true = sum(c.isdigit() for c in solid)
    if not solid or true < LEAST_TRUE_DIGITS * len(solid):
        return ""
    number = "".join(solid).translate(_CONFUSED)
    return number if number.isascii() and number.isdigit() else ""


@dataclass(frozen=True, slots=True)
class Group:
    """A run of digits at [start, end) of a view's text, misread ones folded."""

    start: int
    end: int
    digits: str = field(repr=False)


_GROUP = re.compile(DIGIT + "+")
_JOINT = re.compile(r"[ ]?[-. ]?[ ]?")
MAX_GROUPS = 8
"""Groups of one number; an IBAN in fours has at most nine, and it has a recogniser of its own."""


def digit_groups(text: str) -> list[list[Group]]:
    """Runs of digit groups with at most a dash, dot or space between them."""
    runs: list[list[Group]] = []
    for match in _GROUP.finditer(text):
        group = _trimmed(text, match.start(), match.end())
        if group is None:
            continue
        if runs and _JOINT.fullmatch(text[runs[-1][-1].end : group.start]):
            runs[-1].append(group)
        else:
            runs.append([group])
    return runs


def _trimmed(text: str, start: int, end: int) -> Group | None:
    """The group without letters at its ends that belong to a word ("Total4111" has an l before its digits)."""
    while start < end and not text[start].isdigit() and start > 0 and text[start - 1].isalpha():
        start += 1
    while end > start and not text[end - 1].isdigit() and end < len(text) and text[end].isalpha():
        end -= 1
    number = digits(text[start:end])
    return Group(start, end, number) if number else None


def windows(run: Sequence[Group], least: int, most: int, *, in_group: int = 1) -> Iterator[tuple[int, int, str]]:
    """(start, end, digits) of neighbouring groups of `run` that have `least` to `most` digits together.

    Every group but the last has at least `in_group` digits: numbers of a table's columns have fewer.
    """
    for first in range(len(run)):
        number = ""
        for group in run[first : first + MAX_GROUPS]:
            number += group.digits
            if len(number) > most:
                break
            if len(number) >= least:
                yield run[first].start, group.end, number
            if len(group.digits) < in_group:
                break
