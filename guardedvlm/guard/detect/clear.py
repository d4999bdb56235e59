"""Redact unless cleared: which words of a page stay visible, and what the guard hides on its own account.

Every text region that the detector found ends as one of three things: hidden because somebody found personal data in
it, hidden because it could not be read (UNREADABLE) or is not named by a strict policy (UNCLEARED), or visible because
every word of it was read with confidence and cleared. There is no fourth.

A word is visible or hidden as a whole: where inside a word a character stands is an estimate.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from guardedvlm.core.finding import Action, Finding, Kind
from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import UNREAD, TextLine, Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.digits import Digits
from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.detect.quads import covers, shape, text_height, text_length, touches
from guardedvlm.guard.detect.wanted import wanted_words
from guardedvlm.policy.model import Policy

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
MOST_UNREAD = 0.1
"""Unread pieces for each letter that was read up to which a line counts as read: one mark beside a line is none of it,
and of a name in another script a third is skipped."""
LATIN_ALONE = frozenset("DFGJLQRSUVWdfgjlqsvwz")
"""Letters like which neither the Cyrillic nor the Greek alphabet has one."""
_DIGIT_FOR_LETTER = re.compile(r"[A-Za-z][346][a-z]")


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
    hidden = [finding for finding in found if policy.hides(finding.kind)]
    unreadable = [line for line in lines if not is_readable(line, policy)]
    readable = [line for line in lines if is_readable(line, policy)]
    own = [_whole(line, Kind.UNREADABLE) for line in unreadable]
    digits = Digits(readable)
    regions = [shape(finding) for finding in (*hidden, *own)]
    wanted = {
        index: wanted_words(line, digits, kept, regions, policy) - _foreign(line) for index, line in enumerate(readable)
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
    if text.count(UNREAD) > MOST_UNREAD * len(letters):
        return False
    return 2 * foreign < max(1, len(letters)) and _accounts_for(text, shape(line))


def is_examinable(text: str) -> bool:
    """True for text in the one script that our recognisers know: every language that a policy can name (en, de, fr,
    es) is written in Latin letters and ASCII digits."""
    return all(_is_examinable(character) for character in unicodedata.normalize("NFKC", text))


def _is_examinable(character: str) -> bool:
    if character == UNREAD:
        return False
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
    """Words of a readable line in another script: with a character of one, or a digit for a letter ("Po3a" for
    "Роза"); and beside these, words that may be, though every letter of them looks like a Latin one ("MAPIA")."""
    foreign = {
        position
        for position, word in enumerate(line.words)
        if not is_examinable(word.text) or _DIGIT_FOR_LETTER.search(word.text)
    }
    if not foreign:
        return foreign
    return foreign | {position for position, word in enumerate(line.words) if _may_be_foreign(word.text)}


def _may_be_foreign(text: str) -> bool:
    """True for letters that other scripts have as well, and that are no word that we know."""
    letters = "".join(character for character in text if character.isalpha())
    return bool(letters) and LATIN_ALONE.isdisjoint(letters) and not is_common_word(letters)


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
