"""Values of fields are found in rows of a page's words, with few look-ups whatever page and value say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.grounding import Place
from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.guard.screen import Grounding
from guardedvlm.guard.screen.runs import Run
from guardedvlm.guard.screen.shown import MOST_ROW, MOST_WORDS, ShownPage

ADDRESS = ("Gable & Sons Hardware", "12 Gable Lane,", "Springfieldton 62704", "Phone 03-1234 5678")


def words(*lines: str) -> tuple[Word, ...]:
    """Words ten pixels a character, a line every forty pixels."""
    found: list[Word] = []
    for row, line in enumerate(lines):
        left = 10
        for text in line.split():
            found.append(Word(text, Box(left, 40 * row + 5, left + 10 * len(text), 40 * row + 25)))
            left += 10 * len(text) + 8
    return tuple(found)


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the texts of which a run was made: one for each look-up."""
    lengths: list[int] = []
    original = Run.of

    def of(text: str) -> Run:
        lengths.append(len(text))
        return original(text)

    monkeypatch.setattr(Run, "of", of)
    return lengths


def letters(size: int, order: int) -> list[str]:
    return [chr(ord("a") + (at * order) % 26) for at in range(size)]


@pytest.mark.parametrize("size", [MOST_WORDS, 500])
def test_a_value_in_another_order_takes_few_look_ups(looked_up: list[int], size: int) -> None:
    page = ShownPage(words(*(" ".join(letters(1_000, 7)[at : at + 20]) for at in range(0, 1_000, 20))))
    looked_up.clear()
    found = page.rows_of(" ".join(letters(size, 11)))
    assert (found is None) == (size > MOST_WORDS)
    assert len(looked_up) <= (MOST_WORDS * MOST_ROW if size <= MOST_WORDS else 0)
    assert sum(looked_up) <= len(looked_up) * 2 * MOST_ROW


def test_a_word_more_is_looked_for_only_where_the_ones_before_it_stand(looked_up: list[int]) -> None:
    page = ShownPage(words("one two three", "four five six"))
    looked_up.clear()
    assert page.rows_of("one two five six four three") is not None
    # "one", "one two", "one two five"; "five", "five six", "five six four"; "four", "four three"; "three"
    assert len(looked_up) == 9


def test_a_value_of_many_short_lines_is_not_looked_up(looked_up: list[int]) -> None:
    grounding = Grounding({0: words(*ADDRESS)})
    assert grounding.shows("Gable\n" * (MOST_WORDS + 1), [0]) == ()
    assert looked_up == []


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ("12 Gable Lane, Springfieldton 62704", 2),
        ("12 Gable Lane,\nSpringfieldton 62704", 2),
        ("Gable & Sons Hardware, 12 Gable Lane, Springfieldton 62704", 3),
        ("Springfieldton, Gable Lane", 2),
        ("GABLELANE", 1),
    ],
)
def test_an_address_of_several_lines_is_grounded(value: str, rows: int) -> None:
    shown = Grounding({0: words(*ADDRESS)}).shows(value, [0])
    assert len({place.box.y0 for place in shown}) == rows
    assert all(isinstance(place, Place) for place in shown)


@pytest.mark.parametrize("value", ["12 Gable Street, Springfieldton", "Springfield", "Able Lane", "Gable La"])
def test_an_address_with_a_word_of_its_own_is_not(value: str) -> None:
    assert Grounding({0: words(*ADDRESS)}).shows(value, [0]) == ()


def test_a_row_longer_than_the_most_is_found_in_parts() -> None:
    line = " ".join(f"w{chr(97 + at)}x" for at in range(MOST_ROW + 3))
    assert [box.y0 for box in ShownPage(words(line)).rows_of(line) or ()] == [5, 5]


WORDS = st.sampled_from(["hardware", "hard", "ware", "warehouse", "house", "a", "O", "12", "1,234.50", "34", "b12"])


def rows(page: ShownPage, value: list[str]) -> int | None:
    """How many rows `value` has, every length of a row looked up in every line; None where a word stands nowhere."""
    count = 0
    while value:
        if not (size := next((at for at in range(len(value), 0, -1) if page._code(" ".join(value[:at]))), 0)):
            return None
        count, value = count + 1, value[size:]
    return count


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=4),
    st.lists(WORDS, max_size=8),
)
def test_rows_are_the_longest_ones(lines: list[str], value: list[str]) -> None:
    page = ShownPage(words(*lines))
    found = page.rows_of(" ".join(value))
    assert (None if found is None else len(found)) == rows(page, value)
