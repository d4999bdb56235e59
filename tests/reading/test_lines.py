"""Words of a line: they cover its text in order and its rectangle without a gap, whichever way it runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.region import Size
from guardedvlm.reading.lines import along, straightened, text_line, turned, unread
from guardedvlm.reading.recognition import NOTHING, Reading

SIZE = Size(200, 100)
QUAD = np.array([[20.0, 30.0], [120.0, 30.0], [120.0, 50.0], [20.0, 50.0]])


def reading(text: str) -> Reading:
    return Reading(text, 0.9, tuple((i + 0.5) / len(text) for i in range(len(text))))


texts = st.text(st.sampled_from("ab 0-é漢"), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))


@given(texts)
def test_words_cover_text_and_rectangle_in_order(text: str) -> None:
    line = text_line(QUAD, reading(text), SIZE)
    assert [word.text for word in line.words] == text.split()
    assert line.text == " ".join(text.split())
    assert line.words[0].box.x0 == line.box.x0
    assert line.words[-1].box.x1 == line.box.x1
    for before, after in zip(line.words[:-1], line.words[1:], strict=True):
        assert before.box.x0 <= after.box.x0 <= before.box.x1  # no gap: a boundary falls on shared pixels
        assert before.box.x1 <= after.box.x1


def test_the_border_of_words_lies_in_the_space() -> None:
    line = text_line(QUAD, reading("aaaa bbbbb"), SIZE)
    assert line.words[0].box.x1 == line.words[1].box.x0 == 65  # characters of 10 px, the space from 60 to 70


def test_words_of_a_line_that_runs_upwards_follow_it() -> None:
    upwards = np.array([[30.0, 90.0], [30.0, 10.0], [50.0, 10.0], [50.0, 90.0]])
    first, second = text_line(upwards, reading("ab cd"), SIZE).words
    assert first.box.y0 > second.box.y0
    assert first.box.y1 == 90
    assert second.box.y0 == 10


@pytest.mark.parametrize("quad", [QUAD, QUAD + 150, QUAD - 60])
def test_boxes_lie_inside_the_picture(quad: np.ndarray) -> None:
    line = text_line(np.clip(quad, 0, [200, 100]), reading("ab cd"), SIZE)
    for box in (line.box, *(word.box for word in line.words)):
        assert box.clipped(SIZE) == box


def test_what_was_not_read_has_no_words() -> None:
    for line in (
        unread(QUAD, SIZE),
        text_line(QUAD, NOTHING, SIZE),
        text_line(QUAD, Reading("  ", 0.7, (0.2, 0.5)), SIZE),
    ):
        assert (line.text, line.words, line.confidence) == ("", (), 0.0)


def test_the_parts_of_a_quad_join() -> None:
    left, right = along(QUAD, 0.0, 0.3), along(QUAD, 0.3, 1.0)
    assert np.allclose(left[1], right[0])
    assert np.allclose(left[2], right[3])
    assert np.allclose(right[1], QUAD[1])


def test_a_straightened_crop_shows_the_pixels_of_its_quad() -> None:
    raster = np.random.default_rng(0).integers(0, 256, (100, 200, 3)).astype(np.uint8)
    crop = straightened(raster, QUAD)
    assert crop.shape == (20, 100, 3)
    assert np.array_equal(crop[1:-1, 1:-1], raster[31:49, 21:119])
    assert np.array_equal(turned(turned(crop, 1), 3), crop)


def test_a_quad_without_area_is_a_crop_of_one_pixel() -> None:
    point = np.full((4, 2), 10.0)
    assert straightened(np.zeros((20, 20, 3), np.uint8), point).shape == (1, 1, 3)
