from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.region import Box
from guardedvlm.core.word import TextLine
from guardedvlm.inference.reader.fields import COLON, fields
from guardedvlm.inference.reader.page import Page, excerpt, reading_angle

FORM = """
Name: PERSON-A      Date: 04/05/2024
Diagnosis           Acute bronchitis
Total (RM)   RM     9.00
Blood pressure
128/82
Visited 12 May 2024
"""


def turned(line: TextLine, degrees: float) -> TextLine:
    """The line on a page that was turned clockwise about (1000, 1000)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    quad = tuple(
        (round(1000 + (x - 1000) * cosine - (y - 1000) * sine), round(1000 + (x - 1000) * sine + (y - 1000) * cosine))
        for x, y in line.quad
    )
    return TextLine(Box.around(quad), quad, line.text, line.confidence, line.words)


def rows(page: Page) -> list[str]:
    return [row.text for row in page.rows]


@pytest.mark.parametrize("degrees", [0, 3, -4, 90, 180, 270])
def test_rows_are_the_same_however_the_page_lies(print_page, degrees) -> None:
    lines = print_page(FORM)
    assert rows(Page.of([turned(line, degrees) for line in lines])) == rows(Page.of(lines))


def test_the_order_of_the_lines_does_not_matter(print_page) -> None:
    lines = print_page(FORM)

    @given(st.permutations(lines))
    def check(order: list[TextLine]) -> None:
        assert rows(Page.of(order)) == rows(Page.of(lines))

    check()


def test_what_was_not_read_with_confidence_is_left_out(print_page) -> None:
    sure, unsure = print_page("Total   9.00")
    low = TextLine(unsure.box, unsure.quad, unsure.text, 0.4, unsure.words)
    assert rows(Page.of([sure, low])) == ["Total"]
    assert Page.of([low]).rows == ()


def test_the_angle_of_no_lines_is_upright() -> None:
    assert reading_angle([]) == 0.0


def test_pairs_beside_inside_and_below(print_page) -> None:
    pairs = {(item.label, item.value.text) for item in fields(Page.of(print_page(FORM)))}
    assert {
        ("Name", "PERSON-A"),
        ("Date", "04/05/2024"),
        ("Diagnosis", "Acute bronchitis"),
        ("Total (RM)", "9.00"),
        ("Blood pressure", "128/82"),
        ("Visited", "12 May 2024"),
    } <= pairs


def test_a_label_is_nobodys_value(print_page) -> None:
    found = fields(Page.of(print_page("Name:   Date of birth:   MRN: 7")))
    assert {(item.label, item.value.text) for item in found if item.strength == COLON} == {("MRN", "7")}


def test_an_excerpt_has_the_box_of_its_words_alone(print_page) -> None:
    (cell,) = Page.of(print_page("Total 9.00")).cells
    found = excerpt(cell, 6, 10)
    assert found.text == "9.00"
    assert found.box == cell.line.words[1].box
