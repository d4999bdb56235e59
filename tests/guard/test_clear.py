"""Redact unless cleared: no word stays visible that was not read, examined and named by the policy."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import TextLine, Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.clear import ClearedText, clear_text, is_examinable, is_readable
from guardedvlm.guard.detect.quads import box_quad, covers, shape, touches
from guardedvlm.policy.model import Clear, Mode, Policy, TextRules

PAGE = Size(1000, 800)
HEIGHT = 20
ADVANCE = 10
"""Pixels a character, half the text height: the median of real receipts."""


@cache
def policy(mode: Mode = Mode.STRICT, *clear: Clear, keep: frozenset[Kind] = frozenset()) -> Policy:
    kinds = set(Kind) - RESERVED_KINDS - keep
    return Policy(
        name="test",
        version="2025-01-01",
        description="for tests",
        hide=dict.fromkeys(kinds, Action.LABEL),
        keep=keep,
        text=TextRules(mode=mode, clear=frozenset(clear)),
    )


STRICT = policy(Mode.STRICT, Clear.LABELS, Clear.COMMON_WORDS, Clear.NUMBERS)
BALANCED = policy(Mode.BALANCED)


def line(text: str, x: int = 100, y: int = 100, confidence: float = 0.95, width: int | None = None) -> TextLine:
    """A line of monospaced text with its words."""
    words, position = [], 0
    for part in text.split():
        position = text.index(part, position)
        left = x + position * ADVANCE
        words.append(Word(part, Box(left, y, left + len(part) * ADVANCE, y + HEIGHT)))
        position += len(part)
    box = Box(x, y, x + (width or max(1, len(text)) * ADVANCE), y + HEIGHT)
    return TextLine(box, box_quad(box), text, confidence, tuple(words))


def found(kind: Kind, word: Word, *, parts: tuple[float, float] = (0.0, 1.0)) -> Finding:
    width = word.box.width
    box = Box(word.box.x0 + round(parts[0] * width), word.box.y0, word.box.x0 + round(parts[1] * width), word.box.y1)
    return Finding(kind, box, 0.9, "test", secret=word.text)


def visible(cleared: ClearedText) -> list[str]:
    return [word.text for word in cleared.visible]


def kinds(cleared: ClearedText) -> list[Kind]:
    return [finding.kind for finding in cleared.findings]


# ---------------------------------------------------------------- what could not be read


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "unread",
    [
        line("", width=200),
        line("Total", confidence=0.74),
        line("Total", confidence=float("nan")),
        line("Итого"),
        line("合计"),
        line("٣٤٥"),
        line(".-", width=200),  # a name in another script, read as two marks
        line("A", width=200),
        line("To", width=400),
        TextLine(Box(0, 0, 50, 20), box_quad(Box(0, 0, 50, 20)), "Total", 0.99, ()),  # text without words
    ],
)
def test_what_could_not_be_read_is_hidden_in_every_mode(mode: Mode, unread: TextLine) -> None:
    everything = policy(mode, *Clear, keep=frozenset({Kind.DATE, Kind.AMOUNT}))
    cleared = clear_text([unread], [], everything, PAGE)
    assert kinds(cleared) == [Kind.UNREADABLE]
    assert cleared.findings[0].box == unread.box
    assert cleared.visible == ()


@pytest.mark.parametrize(
    "text", ["Total", "1.50", "CASH:", "R E C E I P T", "Müßig François", "ﬁndings", "Total：9", "- - - - -"]
)
def test_what_was_read_counts_as_read(text: str) -> None:
    assert is_readable(line(text), BALANCED)


@pytest.mark.parametrize(("text", "width"), [("7", 14), ("I", 14), ("1", 14), ("%", 16), ("RM", 31), ("GB1", 52)])
def test_lone_characters_in_the_regions_of_real_receipts_count_as_read(text: str, width: int) -> None:
    assert is_readable(line(text, width=width), BALANCED)


@pytest.mark.parametrize("text", ["\u200bTotal", "\u202eTotal", "To\ue000tal", "Tоtal"])
def test_invisible_private_and_look_alike_characters_are_not_examinable(text: str) -> None:
    assert not is_examinable(text)


def test_a_foreign_word_is_hidden_and_its_readable_neighbours_stay() -> None:
    cleared = clear_text([line("TOTAL 合计 9.00 PAID")], [], BALANCED, PAGE)
    assert visible(cleared) == ["TOTAL", "9.00", "PAID"]
    assert kinds(cleared) == [Kind.UNREADABLE]


# ---------------------------------------------------------------- balanced


def test_balanced_shows_what_was_read_and_is_not_personal() -> None:
    text = line("Paid by John in cash")
    cleared = clear_text([text], [found(Kind.PERSON, text.words[2])], BALANCED, PAGE)
    assert visible(cleared) == ["Paid", "by", "in", "cash"]
    assert cleared.findings == ()  # the finding hides the word; nothing more to say


def test_a_kind_that_the_policy_keeps_does_not_hide() -> None:
    text = line("Acme Ltd")
    kept = policy(Mode.BALANCED, keep=frozenset({Kind.ORGANIZATION}))
    cleared = clear_text([text], [found(Kind.ORGANIZATION, word) for word in text.words], kept, PAGE)
    assert visible(cleared) == ["Acme", "Ltd"]


def test_a_word_that_is_partly_personal_is_hidden_as_a_whole() -> None:
    text = line("Seen Name:JohnSmith today")
    personal = found(Kind.PERSON, text.words[1], parts=(0.4, 1.0))
    cleared = clear_text([text], [personal], BALANCED, PAGE)
    assert visible(cleared) == ["Seen", "today"]
    assert kinds(cleared) == [Kind.UNCLEARED]
    assert cleared.findings[0].box == text.words[1].box


def test_a_line_without_a_visible_word_is_one_region() -> None:
    text = line("John Q Doe x9x")
    cleared = clear_text([text], [found(Kind.PERSON, text.words[0])], STRICT, PAGE)
    assert cleared.visible == ()
    assert [(finding.kind, finding.box) for finding in cleared.findings] == [(Kind.UNCLEARED, text.box)]


def test_a_line_that_is_personal_as_a_whole_needs_no_second_finding() -> None:
    text = line("John Doe")
    whole = Finding(Kind.PERSON, text.box, 1.0, "test")
    assert clear_text([text], [whole], STRICT, PAGE) == ClearedText((), ())


def test_a_face_over_text_hides_the_words_under_it() -> None:
    text = line("Staff canteen menu")
    face = Finding(Kind.FACE, text.words[0].box.grown(15, 60), 1.0, "test")
    cleared = clear_text([text], [face], BALANCED, PAGE)
    assert visible(cleared) == ["canteen", "menu"]


def test_an_unreadable_region_takes_the_words_that_it_covers() -> None:
    text = line("Total 9.00 paid")
    stamp = line("", x=150, y=95, width=60)
    cleared = clear_text([text, stamp], [], BALANCED, PAGE)
    assert visible(cleared) == ["Total", "paid"]


def test_a_word_that_another_reading_hides_is_hidden_too() -> None:
    """Two overlapping regions read the same place, and a strict policy clears one reading only."""
    right, wrong = line("Total"), line("Tota1")
    cleared = clear_text([right, wrong], [], STRICT, PAGE)
    assert cleared.visible == ()


# ---------------------------------------------------------------- strict


@pytest.mark.parametrize(
    ("clear", "text", "expected"),
    [
        ({Clear.LABELS}, "Date of birth: Kowalczyk", ["Date", "of", "birth:"]),
        ({Clear.LABELS}, "Total : Kowalczyk", ["Total", ":"]),
        ({Clear.COMMON_WORDS}, "the patient has Kowalczyk fever", ["the", "patient", "has", "fever"]),
        ({Clear.COMMON_WORDS}, "and/or, (follow-up) X7Q", ["and/or,", "(follow-up)"]),
        ({Clear.NUMBERS}, "12 Kowalczyk - 3456", ["3456"]),
        ({Clear.NUMBERS}, "12345 12a -12 1,234", []),
        ({Clear.COMMON_WORDS, Clear.NUMBERS}, "Gomila 26, Kowalczyk", []),
        ({Clear.COMMON_WORDS}, "KOWALCZYK, WOLFRAM", []),
        ({Clear.COMMON_WORDS}, "kowalczyk and Wolfram is here", ["and", "Wolfram", "is", "here"]),
        ({Clear.COMMON_WORDS}, "May o6, 1965", []),
        ({Clear.COMMON_WORDS}, "Wednesday, or in January", ["or", "in"]),
        ({Clear.COMMON_WORDS}, "this may march", ["this", "may", "march"]),
        ({Clear.COMMON_WORDS}, "919656 A", []),
        ({Clear.COMMON_WORDS}, "vitamin A", ["vitamin", "A"]),
        ({Clear.LABELS}, "Phone: +", ["Phone:"]),
        ({Clear.COMMON_WORDS}, "12 fever", ["fever"]),
        (set(), "the patient 12 Total", []),
        ({Clear.COMMON_WORDS}, "- the -", ["the", "-"]),
    ],
)
def test_strict_shows_what_the_policy_names(clear: set[Clear], text: str, expected: list[str]) -> None:
    assert visible(clear_text([line(text)], [], policy(Mode.STRICT, *clear), PAGE)) == expected


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", "555 0142", "12 34", "12 B7", "7 of 9"])
def test_numbers_that_may_be_one_number_are_not_cleared(text: str) -> None:
    shown = visible(clear_text([line(text)], [], policy(Mode.STRICT, Clear.NUMBERS), PAGE))
    assert shown == []


def test_a_number_cut_into_regions_is_still_one_number() -> None:
    parts = [line("4111", x=100 + at * 80, y=100 + at % 2) for at in range(4)]
    assert visible(clear_text(parts, [], policy(Mode.STRICT, Clear.NUMBERS), PAGE)) == []
    columns = [line("41", x=100 + at * 200) for at in range(4)]
    assert visible(clear_text(columns, [], policy(Mode.STRICT, Clear.NUMBERS), PAGE)) == ["41"] * 4


@pytest.mark.parametrize(("kind", "clear"), [(Kind.AMOUNT, Clear.AMOUNTS), (Kind.DATE, Clear.DATES)])
def test_amounts_and_dates_are_cleared_by_their_findings(kind: Kind, clear: Clear) -> None:
    text = line("98765.43 98765.43")
    finding = found(kind, text.words[0])
    keep = frozenset({kind})
    assert visible(clear_text([text], [finding], policy(Mode.STRICT, clear, keep=keep), PAGE)) == ["98765.43"]
    # kept, but strict and not named: stays hidden
    assert visible(clear_text([text], [finding], policy(Mode.STRICT, keep=keep), PAGE)) == []


def test_adjacent_hidden_words_are_one_finding() -> None:
    cleared = clear_text([line("the Kow Alc Zyk fever Qrx")], [], STRICT, PAGE)
    assert [finding.secret for finding in cleared.findings] == ["Kow Alc Zyk", "Qrx"]
    assert cleared.findings[0].box == Box(140, 100, 250, 120)


def test_an_empty_page_is_clear() -> None:
    assert clear_text([], [], STRICT, PAGE) == ClearedText((), ())


def test_a_line_outside_the_page_is_a_failure_to_look() -> None:
    with pytest.raises(Refused) as refused:
        clear_text([line("Total", x=2000)], [], BALANCED, PAGE)
    assert refused.value.reason is Reason.DETECTOR_FAILED


def test_no_repr_shows_text() -> None:
    shown = repr(clear_text([line("the Kowalczyk")], [], STRICT, PAGE))
    assert "Kowalczyk" not in shown
    assert "the" not in shown.replace("detector='clear'", "")


# ---------------------------------------------------------------- the invariant

TEXTS = st.lists(
    st.sampled_from(
        ["the", "total", "Kowalczyk", "12", "3456", "9.00", ":", "Иван", "合计", "Date", "of", "birth", "X7"]
    ),
    min_size=0,
    max_size=6,
).map(" ".join)
LINES = st.lists(
    st.builds(
        line,
        TEXTS,
        x=st.integers(0, 400),
        y=st.integers(0, 200),
        confidence=st.sampled_from([0.2, 0.74, 0.75, 0.99]),
        width=st.none() | st.integers(10, 500),
    ),
    max_size=6,
)
BOXES = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), *(st.integers(1, 300) for _ in range(4)))
FINDINGS = st.lists(st.builds(Finding, st.sampled_from(list(Kind)), BOXES, st.just(1.0), st.just("test")), max_size=6)
POLICIES = st.builds(
    lambda mode, clear: policy(mode, *clear, keep=frozenset({Kind.DATE, Kind.AMOUNT, Kind.ORGANIZATION})),
    st.sampled_from(list(Mode)),
    st.sets(st.sampled_from(list(Clear))).map(sorted),
)


@settings(max_examples=60)
@given(LINES, FINDINGS, POLICIES)
def test_every_word_is_hidden_or_cleared(lines: list[TextLine], findings: list[Finding], rules: Policy) -> None:
    cleared = clear_text(lines, findings, rules, PAGE)
    hidden = [shape(item) for item in findings if rules.action(item.kind) is not Action.KEEP]
    hidden += [shape(item) for item in cleared.findings]
    for word in cleared.visible:
        assert is_examinable(word.text)
    foreign = [shape(item) for item in findings if rules.action(item.kind) is not Action.KEEP]
    for word, region in itertools.product(cleared.visible, foreign):
        assert not touches(region, shape(word))
    shown = {id(word) for word in cleared.visible}
    for item in lines:
        if not is_readable(item, rules):
            assert covers(hidden, shape(item))
        for word in item.words:
            assert id(word) in shown or covers(hidden, shape(word))


@settings(max_examples=60)
@given(LINES, FINDINGS, POLICIES)
def test_more_findings_never_show_more(lines: list[TextLine], findings: list[Finding], rules: Policy) -> None:
    hiding = [item for item in findings if rules.action(item.kind) is not Action.KEEP]
    few = {id(word) for word in clear_text(lines, hiding[: len(hiding) // 2], rules, PAGE).visible}
    many = {id(word) for word in clear_text(lines, hiding, rules, PAGE).visible}
    assert many <= few


def turned(straight: TextLine, degrees: float) -> TextLine:
    """The line turned about (400, 400), as a reader gives turned lines."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def moved(box: Box) -> Quad:
        corners = [(x - 400, y - 400) for x, y in box_quad(box)]
        places = [(round(400 + x * cosine - y * sine), round(400 + x * sine + y * cosine)) for x, y in corners]
        return (places[0], places[1], places[2], places[3])

    words = tuple(Word(word.text, Box.around(moved(word.box)), moved(word.box)) for word in straight.words)
    quad = moved(straight.box)
    return TextLine(Box.around(quad), quad, straight.text, straight.confidence, words)


@pytest.mark.parametrize("degrees", [0, 37, 90, 143, 180, -90])
def test_groups_of_one_number_are_told_at_every_angle(degrees: float) -> None:
    """Whether the reader took them for one line or for two."""
    strict = policy(Mode.STRICT, Clear.NUMBERS)
    whole = turned(line("51 617 832 18", x=380, y=390), degrees)
    assert visible(clear_text([whole], [], strict, PAGE)) == []
    parts = [turned(line("51", x=380, y=390), degrees), turned(line("617", x=420, y=390), degrees)]
    assert visible(clear_text(parts, [], strict, PAGE)) == []
    apart = [turned(line("51", x=300, y=390), degrees), turned(line("617", x=440, y=390), degrees)]
    assert visible(clear_text(apart, [], strict, PAGE)) == ["51", "617"]
    if degrees in (90, -90):  # what lies beside a lone number along the picture's rows may be the rest of it
        return
    columns = [turned(line("51", x=380, y=360), degrees), turned(line("617", x=380, y=400), degrees)]
    assert visible(clear_text(columns, [], strict, PAGE)) == ["51", "617"]


@pytest.mark.parametrize("tilt", [25, 90, -90, 180])
def test_a_lone_digit_does_not_tell_which_way_its_line_runs(tilt: float) -> None:
    """Boxes of a form, a digit each: the rectangle of one is tilted, or turned by a quarter, as its glyph happens to
    be."""
    strict = policy(Mode.STRICT, Clear.NUMBERS)
    boxes = [line(digit, x=300 + 45 * at, y=390) for at, digit in enumerate("408160329")]
    around = boxes[4].box
    corners = np.array(box_quad(around), float) - (around.x0 + 5, around.y0 + 10)
    angle = math.radians(tilt)
    matrix = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    quad = tuple((round(x), round(y)) for x, y in corners @ matrix + (around.x0 + 5, around.y0 + 10))
    word = Word("6", Box.around(quad), quad)
    boxes[4] = TextLine(Box.around(quad), quad, "6", 0.95, (word,))
    assert visible(clear_text(boxes, [], strict, PAGE)) == []


def test_digits_one_below_the_other_are_one_number_and_rows_of_a_table_are_not() -> None:
    strict = policy(Mode.STRICT, Clear.NUMBERS)
    down = [line(digit, y=100 + 26 * row) for row, digit in enumerate("52298")]
    assert visible(clear_text(down, [], strict, PAGE)) == []
    years = [line(year, y=100 + 21 * row) for row, year in enumerate(("2019", "2021"))]
    assert visible(clear_text(years, [], strict, PAGE)) == ["2019", "2021"]
    rows = [line(digit, y=100 + 34 * row) for row, digit in enumerate("52298")]
    assert visible(clear_text(rows, [], strict, PAGE)) == list("52298")


def test_a_number_that_was_read_with_doubt_is_hidden() -> None:
    strict = policy(Mode.STRICT, Clear.NUMBERS)
    assert visible(clear_text([line("060", confidence=0.79)], [], strict, PAGE)) == []
    assert visible(clear_text([line("060", confidence=0.95)], [], strict, PAGE)) == ["060"]
