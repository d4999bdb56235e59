"""What a policy lets stay visible, were nothing personal there: in balanced mode everything that was read, in strict
mode what the policy names, and of that nothing that could be part of a number, a name or a date beside it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Quad
from guardedvlm.core.word import TextLine, Word
from guardedvlm.guard.detect.personal.dates import is_part_of_a_date
from guardedvlm.guard.detect.personal.lexicon import is_common_word, is_label
from guardedvlm.guard.detect.quads import covers, shape, text_height, text_length, touches
from guardedvlm.policy.model import Clear, Mode, Policy

LONGEST_LABEL = 6
"""Words of the longest form label that is tried ("Name and address of the physician")."""
APART = 3.0
"""Text heights between two numbers that make them different numbers (columns of a table); card numbers, telephone
numbers and dates are written with gaps of at most about two."""
SAME_LINE = 0.5
"""Part of the lower word's height that two words share when they stand on one line."""

SURE = 0.9
"""Confidence from which a number is what it says: right lines of receipts have 0.99 (median), and one wrong character
makes a number of "090Y"."""
STACKED = 0.5
"""Text heights between the lone digits of a number that runs down a page, each a line of its own to the reader; rows of
a table are further apart."""
SURE_LENGTH = 2.0
"""Lengths over heights from which a line tells in which direction its text runs."""

Axis = tuple[float, float]

_SHORT_NUMBER = re.compile(r"[(]?[0-9]{1,4}[)%.,:;]?")
_EDGE_MARKS = " \t.,:;!?'\"()[]{}<>*#/|-–—_«»“”‘’…"


def wanted_words(
    line: TextLine, page: Sequence[Word], kept: Sequence[Finding], hidden: Sequence[Quad], policy: Policy
) -> set[int]:
    """Positions of the words that the mode lets stay visible, were nothing personal there."""
    everything = set(range(len(line.words)))
    if policy.text.mode is Mode.BALANCED:
        return everything
    labels: set[int] = set()
    known: set[int] = set()
    words: set[int] = set()
    for clear in policy.text.clear:
        match clear:
            case Clear.LABELS:
                labels = {at for at in _labels(line.words) if "+" not in line.words[at].text}
            case Clear.COMMON_WORDS:
                words |= {at for at, word in enumerate(line.words) if _is_common(word.text)}
                words -= {at for at in words if _is_letter(line.words[at]) and _is_near_digits(at, line, page)}
            case Clear.NUMBERS if line.confidence >= SURE:
                words |= {at for at, word in enumerate(line.words) if _is_short_number(at, line, page)}
            case Clear.AMOUNTS:
                known |= _covered_by(line.words, kept, Kind.AMOUNT)
            case Clear.DATES:
                known |= _covered_by(line.words, kept, Kind.DATE)
    named = labels | known | _without_company(line.words, words, labels | known, hidden)
    # A mark says nothing of its own; it goes with the word before it ("Total :").
    for at, word in enumerate(line.words):
        if at - 1 in named and _is_mark(word):
            named.add(at)
    return named


def _without_company(words: Sequence[Word], cleared: set[int], sure: set[int], hidden: Sequence[Quad]) -> set[int]:
    """Words and numbers that were cleared one by one, without those beside something hidden that they may be part of:
    the number of a house in its street, a name that is a word, too ("Schönland, Wolfram")."""
    left = {at for at in cleared if not any(touches(region, shape(words[at])) for region in hidden)}
    while True:
        company = {
            at
            for at in left - sure
            for beside in (at - 1, at + 1)
            if 0 <= beside < len(words) and beside not in left | sure and _belong_together(words[at], words[beside])
        }
        if not company:
            return left
        left -= company


def _belong_together(word: Word, hidden: Word) -> bool:
    if _has_digit(word):
        return any(map(str.isalnum, hidden.text))
    if _has_digit(hidden):
        return False
    return all(text[:1].isupper() for text in (word.text.lstrip(_EDGE_MARKS), hidden.text.lstrip(_EDGE_MARKS)))


def _labels(words: Sequence[Word]) -> set[int]:
    """Positions of words that form a label, the longest run first ("Date of birth:")."""
    named: set[int] = set()
    start = 0
    while start < len(words):
        for end in range(min(len(words), start + LONGEST_LABEL), start, -1):
            if is_label(" ".join(word.text for word in words[start:end])):
                named.update(range(start, end))
                start = end
                break
        else:
            start += 1
    return named


def _is_common(text: str) -> bool:
    """True where every part of a word (split at hyphens and slashes) is a word of the language that is no name, and
    neither a month nor a day of the week."""
    if text.lstrip(_EDGE_MARKS)[:1].isupper() and is_part_of_a_date(text.strip(_EDGE_MARKS)):
        return False
    parts = [part.strip(_EDGE_MARKS) for part in re.split(r"[-/&]", text)]
    parts = [part for part in parts if part]
    return bool(parts) and all(part.isalpha() and is_common_word(part) for part in parts)


def _is_mark(word: Word) -> bool:
    """True for one or two marks in a region that holds no more than that."""
    text = unicodedata.normalize("NFKC", word.text)
    if "+" in text:  # the start of a telephone number
        return False
    return len(text) <= 2 and not any(map(str.isalnum, text)) and word.box.width <= 2 * word.box.height


def _is_short_number(at: int, line: TextLine, page: Iterable[Word]) -> bool:
    """True for a number of up to four digits without another number or code near it on its line.

    Numbers are compared over the whole page: "4111 1111 1111 1111" is one number, however the reader cut it up.
    """
    return _SHORT_NUMBER.fullmatch(line.words[at].text) is not None and not _is_near_digits(at, line, page)


def _is_letter(word: Word) -> bool:
    """True for one letter: a word ("a"), or the end of a code."""
    return sum(map(str.isalpha, word.text)) == 1


def _is_near_digits(at: int, line: TextLine, page: Iterable[Word]) -> bool:
    """True where another word with a digit stands near a word on its line."""
    word, axis = line.words[at], _axis(line)
    across = (-axis[1], axis[0])
    # One or two characters do not tell which way their text runs; a lone one is as high as its larger side.
    short = text_length(shape(line)) < SURE_LENGTH * text_height(shape(line))
    stacked = STACKED * max(text_length(shape(line)), text_height(shape(line))) if short else -math.inf
    for other in page:
        if other is not word and _has_digit(other):
            height = min(high - low for low, high in (_extent(word, across), _extent(other, across)))
            if _is_near(word, other, axis, APART * height) or _is_near(word, other, across, stacked):
                return True
    return False


def _axis(line: TextLine) -> Axis:
    """Unit vector in the direction in which the text of a line runs: a quad has its corners in reading order."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = line.quad
    px, py, qx, qy = ax + dx, ay + dy, bx + cx, by + cy
    length = max(1.0, math.hypot(qx - px, qy - py))
    return (qx - px) / length, (qy - py) / length


def _has_digit(word: Word) -> bool:
    return any(map(str.isdigit, word.text))


def _is_near(word: Word, other: Word, axis: Axis, reach: float) -> bool:
    """True where two words stand on one line that runs along `axis`, at most `reach` pixels from one another."""
    (a0, a1), (b0, b1) = _extent(word, (-axis[1], axis[0])), _extent(other, (-axis[1], axis[0]))
    if min(a1, b1) - max(a0, b0) < SAME_LINE * min(a1 - a0, b1 - b0):
        return False
    (a0, a1), (b0, b1) = _extent(word, axis), _extent(other, axis)
    return max(a0, b0) - min(a1, b1) <= reach


def _extent(word: Word, axis: Axis) -> tuple[float, float]:
    """From where to where a word reaches along an axis."""
    places = [x * axis[0] + y * axis[1] for x, y in shape(word)]
    return min(places), max(places)


def _covered_by(words: Sequence[Word], found: Iterable[Finding], kind: Kind) -> set[int]:
    regions = [shape(finding) for finding in found if finding.kind is kind]
    return {at for at, word in enumerate(words) if covers(regions, shape(word))}
