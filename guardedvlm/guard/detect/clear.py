"""Redact unless cleared: which words of a page stay visible, and what the guard hides on its own account.

Every text region that the detector found ends as one of three things: hidden because somebody found personal data in
it, hidden because it could not be read (UNREADABLE) or is not named by a strict policy (UNCLEARED), or visible because
every word of it was read with confidence and cleared. There is no fourth.

A word is visible or hidden as a whole: where inside a word a character stands is an estimate.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from guardedvlm.core.finding import Action, Finding, Kind
from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.personal.dates import is_part_of_a_date
from guardedvlm.guard.detect.personal.lexicon import is_common_word, is_label
from guardedvlm.guard.detect.quads import covers, shape, text_height, text_length, touches
from guardedvlm.policy.model import Clear, Mode, Policy

DETECTOR = "clear"
"""`Finding.detector` of everything that is found here."""
ADVANCE = 0.9
"""Most text heights that one character accounts for. Measured on 330 confident lines of eight receipts: median 0.45,
99 % below 0.98 without the slack; below 0.86 with it."""
ADVANCE_SLACK = 1.0
"""Text heights that a region may have beyond its characters: a lone "1" has a region 1.45 heights long."""
MARK_WEIGHT = 0.5
"""A mark or a space accounts for half a character: a Latin recogniser reads a Cyrillic name as two marks,
confidently."""
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


@dataclass(frozen=True, slots=True)
class ClearedText:
    """What `clear_text` decided: what it hides on its own account, and the words that stay visible."""

    findings: tuple[Finding, ...]
    visible: tuple[Word, ...] = field(repr=False)


def clear_text(lines: Sequence[TextLine], found: Sequence[Finding], policy: Policy, size: Size) -> ClearedText:
    """Decide for every word of a page of `size` whether it stays visible.

    `found` are all findings of the page: personal data, faces, codes. Guarantees: no visible word is touched by a
    finding that the policy hides or that is returned here; every line is either covered by findings or has its visible
    words listed. A line without a visible word is one finding. Raises Refused(DETECTOR_FAILED) for a line outside the
    page: a reader that says where there is nothing cannot be trusted about the rest.
    """
    if any(line.box.clipped(size) is None for line in lines):
        raise Refused(Reason.DETECTOR_FAILED, stage="reader")
    kept = [finding for finding in found if policy.action(finding.kind) is Action.KEEP]
    hidden = [finding for finding in found if policy.action(finding.kind) is not Action.KEEP]
    unreadable = [line for line in lines if not is_readable(line, policy)]
    readable = [line for line in lines if is_readable(line, policy)]
    own = [_whole(line, Kind.UNREADABLE) for line in unreadable]
    neighbours = [word for line in readable for word in line.words]
    regions = [shape(finding) for finding in (*hidden, *own)]
    wanted = {
        index: _wanted(line, neighbours, kept, regions, policy) - _foreign(line) for index, line in enumerate(readable)
    }
    shown = _untouched(readable, wanted, regions)
    own += [
        finding
        for index, line in enumerate(readable)
        for finding in _hide(line, shown[index], [shape(finding) for finding in hidden])
    ]
    visible = [line.words[position] for index, line in enumerate(readable) for position in sorted(shown[index])]
    return ClearedText(tuple(own), tuple(visible))


def is_readable(line: TextLine, policy: Policy) -> bool:
    """True for a line that was read with confidence, in a script of the policy's languages, with enough characters for
    its region. A confidence that is not a number is none."""
    text = unicodedata.normalize("NFKC", line.text).strip()
    if not text or not line.words or not line.confidence >= policy.text.min_confidence:
        return False
    letters = [character for character in text if character.isalnum()]
    foreign = sum(not is_examinable(character) for character in letters)
    return 2 * foreign < max(1, len(letters)) and _accounts_for(text, shape(line))


def is_examinable(text: str) -> bool:
    """True for text in the one script that our recognisers know: every language that a policy can name (en, de, fr,
    es) is written in Latin letters and ASCII digits."""
    return all(_is_examinable(character) for character in unicodedata.normalize("NFKC", text))


def _is_examinable(character: str) -> bool:
    category = unicodedata.category(character)
    if category[0] == "L":
        return "LATIN" in unicodedata.name(character, "") or character in "ªº"
    if category == "Nd":
        return character.isascii()
    # Marks that NFKC could not compose, private use, unassigned and invisible characters are nothing that was
    # understood.
    return category[0] in "PSZN"


def _accounts_for(text: str, quad: Quad) -> bool:
    """True where the characters are enough for the length of their region."""
    weight = sum(1.0 if character.isalnum() else MARK_WEIGHT for character in text)
    return text_length(quad) <= (ADVANCE * weight + ADVANCE_SLACK) * text_height(quad)


def _foreign(line: TextLine) -> set[int]:
    """Words of a readable line that hold a character of another script."""
    return {position for position, word in enumerate(line.words) if not is_examinable(word.text)}


def _wanted(
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


def _untouched(
    lines: Sequence[TextLine], wanted: Mapping[int, set[int]], regions: Sequence[Quad]
) -> dict[int, set[int]]:
    """The wanted words that nothing hidden touches, other lines' hidden words included.

    One round hides words, the next looks at what those cover in overlapping lines; the sets only shrink, so it ends.
    """
    shown = {index: _free(lines[index], positions, regions) for index, positions in wanted.items()}
    while True:
        covered = {
            index: [shape(word) for at, word in enumerate(line.words) if at not in shown[index]]
            for index, line in enumerate(lines)
        }
        after = {
            index: _free(line, shown[index], _of_others(covered, index, line, lines))
            for index, line in enumerate(lines)
        }
        if after == shown:
            return shown
        shown = after


def _of_others(covered: Mapping[int, list[Quad]], index: int, line: TextLine, lines: Sequence[TextLine]) -> list[Quad]:
    """Hidden words of the lines whose boxes overlap `line`. Not of the line itself: its words lie edge to edge."""
    return [
        quad
        for other, quads in covered.items()
        if other != index and lines[other].box.overlap(line.box)
        for quad in quads
    ]


def _free(line: TextLine, positions: Iterable[int], regions: Sequence[Quad]) -> set[int]:
    return {at for at in positions if not any(touches(region, shape(line.words[at])) for region in regions)}


def _hide(line: TextLine, shown: set[int], regions: Sequence[Quad]) -> Iterator[Finding]:
    """Findings for the words that are neither shown nor wholly covered by `regions`, adjacent ones together."""
    foreign = _foreign(line)
    bare = [at for at, word in enumerate(line.words) if at not in shown and not covers(regions, shape(word))]
    if not bare:
        return
    if not shown:
        yield _whole(line, Kind.UNREADABLE if len(foreign) == len(line.words) else Kind.UNCLEARED)
        return
    for run in _runs(bare):
        kind = Kind.UNREADABLE if foreign.issuperset(run) else Kind.UNCLEARED
        yield _joined([line.words[at] for at in run], kind)


def _runs(positions: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive positions together."""
    run: list[int] = []
    for position in positions:
        if run and position != run[-1] + 1:
            yield run
            run = []
        run.append(position)
    if run:
        yield run


def _whole(line: TextLine, kind: Kind) -> Finding:
    """One finding over a line and whatever of its words reaches out of it."""
    return Finding(kind, _around([line.box, *_boxes(line.words)]), 1.0, DETECTOR, quad=line.quad, secret=line.text)


def _joined(words: Sequence[Word], kind: Kind) -> Finding:
    """One finding over adjacent words: from the start of the first to the end of the last."""
    first, last = words[0].quad, words[-1].quad
    quad: Quad | None = (first[0], last[1], last[2], first[3]) if first and last else None
    secret = " ".join(word.text for word in words)
    return Finding(kind, _around(_boxes(words)), 1.0, DETECTOR, quad=quad, secret=secret)


def _boxes(words: Iterable[Word]) -> list[Box]:
    return [word.box for word in words]


def _around(boxes: Sequence[Box]) -> Box:
    return functools.reduce(Box.union, boxes)
