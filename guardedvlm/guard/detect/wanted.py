"""What a policy lets stay visible, were nothing personal there: in balanced mode everything that was read, in strict
mode what the policy names, and of that nothing that could be part of a number, a name or a date beside it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Quad
from guardedvlm.core.word import TextLine, Word
from guardedvlm.guard.detect.digits import Digits, has_digit
from guardedvlm.guard.detect.personal.dates import is_part_of_a_date
from guardedvlm.guard.detect.personal.lexicon import is_common_word, is_label
from guardedvlm.guard.detect.quads import covers, shape, touches
from guardedvlm.policy.model import Clear, Mode, Policy

LONGEST_LABEL = 6
"""Words of the longest form label that is tried ("Name and address of the physician")."""
SURE = 0.9
"""Confidence from which a number is what it says: right lines of receipts have 0.99 (median), and one wrong character
makes a number of "090Y"."""

_SHORT_NUMBER = re.compile(r"[(]?[0-9]{1,4}[)%.,:;]?")
_EDGE_MARKS = " \t.,:;!?'\"()[]{}<>*#/|-–—_«»“”‘’…"


def wanted_words(
    line: TextLine, page: Digits, kept: Sequence[Finding], hidden: Sequence[Quad], policy: Policy
) -> set[int]:
    """Positions of the words that the mode lets stay visible, were nothing personal there.

    Numbers are compared over the whole `page`: "4111 1111 1111 1111" is one number, however the reader cut it up.
    """
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
                words -= {at for at in words if _is_letter(line.words[at]) and page.near(line.words[at], line)}
            case Clear.NUMBERS if line.confidence >= SURE:
                words |= {
                    at
                    for at, word in enumerate(line.words)
                    if _is_short_number(line.words[at]) and not page.near(line.words[at], line)
                }
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
    if has_digit(word):
        return any(map(str.isalnum, hidden.text))
    if has_digit(hidden):
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


def _is_short_number(word: Word) -> bool:
    """True for a number of up to four digits."""
    return _SHORT_NUMBER.fullmatch(word.text) is not None


def _is_letter(word: Word) -> bool:
    """True for one letter: a word ("a"), or the end of a code."""
    return sum(map(str.isalpha, word.text)) == 1


def _covered_by(words: Sequence[Word], found: Iterable[Finding], kind: Kind) -> set[int]:
    regions = [shape(finding) for finding in found if finding.kind is kind]
    return {at for at, word in enumerate(words) if covers(regions, shape(word))}
