"""A ruled line is not writing; everything that could be read is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.region import Box, Raster
from guardedvlm.guard.detect.quads import box_quad
from guardedvlm.guard.verify.ink import shows_writing

WINDOW = Box(0, 0, 120, 20)
EVERYTHING = np.ones((20, 120), np.bool_)


def blank(level: int = 255, box: Box = WINDOW) -> Raster:
    return np.full((box.height, box.width, 3), level, np.uint8)


def judged(raster: Raster, rest: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = EVERYTHING) -> bool:
    return not shows_writing(raster, WINDOW, rest, box_quad(WINDOW))


@pytest.mark.parametrize(
    ("dash", "thickness"), [(120, 1), (120, 5), (8, 1), (8, 3), (8, 5), (5, 5), (3, 3), (2, 2), (1, 1), (1, 2)]
)
def test_lines_dashes_and_dots_are_rules(dash: int, thickness: int) -> None:
    raster = blank()
    for x in range(0, 121 - dash, dash + 4):
        raster[8 : 8 + thickness, x : x + dash] = 40
    assert judged(raster)


def test_dots_and_dashes_with_rounded_ends_are_rules() -> None:
    raster = blank()
    for x in range(0, 115, 9):
        raster[8:12, x + 1 : x + 4] = 40
        raster[9:11, x : x + 5] = 40
    assert judged(raster)


@pytest.mark.parametrize(("level", "expected"), [(247, True), (240, True), (210, True)])
def test_faint_strokes_between_black_words_are_writing(level: int, expected: bool) -> None:
    raster, words = blank(), ~EVERYTHING
    raster[3:17, 5:40:3] = 20
    raster[3:17, 80:115:3] = 20
    words[:, :45] = words[:, 75:] = True
    raster[5:15, 55:66:4] = level
    assert shows_writing(raster, WINDOW, ~words, box_quad(WINDOW)) is expected


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 2.0))
@settings(max_examples=40)
def test_noise_of_paper_is_no_writing(seed: int, deviation: float) -> None:
    noise = np.random.default_rng(seed).normal(0, deviation, (20, 120, 1))
    assert judged(np.clip(230 + noise, 0, 255).round().astype(np.uint8).repeat(3, axis=2))


@pytest.mark.parametrize(
    ("ink", "paper"), [((255, 0, 0), (0, 130, 0)), ((255, 0, 0), (76,) * 3), ((0, 0, 255), (29,) * 3)]
)
def test_colours_of_equal_lightness_are_writing(ink: tuple[int, ...], paper: tuple[int, ...]) -> None:
    image = Image.new("RGB", (120, 20), paper)
    ImageDraw.Draw(image).text((3, 1), "Ann Lee", fill=ink, font=ImageFont.load_default(14))
    assert not judged(np.array(image))


def test_a_dark_page_has_light_rules() -> None:
    raster = blank(20)
    raster[8:11] = 240
    assert judged(raster)


def written(text: str, size: int, level: int, height: int = 20) -> Raster:
    image = Image.new("RGB", (120, height), "white")
    ImageDraw.Draw(image).text((3, 1), text, fill=(level,) * 3, font=ImageFont.load_default(size))
    return np.array(image)


@pytest.mark.parametrize("size", [7, 8, 9, 10, 14])
@pytest.mark.parametrize("level", [0, 200, 235])
@pytest.mark.parametrize("text", ["Ann Lee", "4111 1111", "JANE ROE", "Kowalczyk", "x", "1"])
def test_text_is_no_rule_however_faint_and_small(text: str, level: int, size: int) -> None:
    assert not judged(written(text, size, level))


@example("0AAM", 8)
@example("MMsM", 8)
@settings(max_examples=60)
@given(st.text("ABCDEFGHKLMNPRSTabcdefghijklmnopqrstuvy0123456789", min_size=4, max_size=14), st.integers(8, 10))
def test_words_in_a_region_that_is_far_too_high_are_no_rule(text: str, size: int) -> None:
    box = Box(0, 0, 120, 40)
    assert shows_writing(written(text, size, 0, 40), box, np.ones((40, 120), np.bool_), box_quad(box))


@pytest.mark.parametrize("level", [90, 130, 180, 220, 235])
@pytest.mark.parametrize("thickness", [1, 2])
def test_text_beside_a_line_is_no_rule(level: int, thickness: int) -> None:
    image = Image.new("RGB", (120, 20), "white")
    pen = ImageDraw.Draw(image)
    pen.line((0, 17, 119, 17), fill="black", width=thickness)
    pen.text((3, 1), "Ann", fill=(level,) * 3, font=ImageFont.load_default(12))
    assert not judged(np.array(image))


def test_a_lone_digit_in_a_narrow_region_is_no_speck() -> None:
    raster = np.full((60, 40, 3), 255, np.uint8)
    raster[15:45, 17:21] = 0
    box = Box(16, 12, 23, 48)
    assert shows_writing(raster, box, np.ones((36, 7), np.bool_), box_quad(box))


def test_a_lone_stroke_is_no_rule() -> None:
    raster = blank()
    raster[3:17, 50:53] = 0
    assert not judged(raster)


def test_a_line_in_a_region_as_thin_as_itself_is_no_rule() -> None:
    """Five-pixel letters in a region that fits them: the share decides, not the pixels."""
    box = Box(0, 0, 60, 8)
    raster = blank(box=box)
    raster[2:7, 5:50:2] = 0
    assert shows_writing(raster, box, np.ones((8, 60), np.bool_), box_quad(box))


def test_a_line_that_runs_down_is_judged_along_its_region() -> None:
    box = Box(0, 0, 20, 120)
    raster = blank(box=box)
    raster[:, 9:12] = 0
    assert not shows_writing(raster, box, np.ones((120, 20), np.bool_), box_quad(box))


@pytest.mark.parametrize(("level", "expected"), [(248, True), (247, False)])
def test_contrast_that_no_detector_sees_is_no_ink(level: int, expected: bool) -> None:
    raster = blank()
    raster[3:17, 5:50:3] = level
    assert judged(raster) is expected


@pytest.mark.parametrize(("height", "y", "expected"), [(7, 5, True), (8, 5, False), (7, 0, False), (7, 13, False)])
def test_a_region_too_low_for_letters_is_a_speck_unless_the_border_cuts_it(height: int, y: int, expected: bool) -> None:
    box = Box(10, y, 60, y + height)
    assert shows_writing(blank(), box, np.ones((height, 50), np.bool_), box_quad(box)) is False
    raster = blank()
    raster[:, 12:60:3] = 0
    assert shows_writing(raster, box, np.ones((height, 50), np.bool_), box_quad(box)) is not expected


def test_nothing_but_paper_is_nothing_to_read() -> None:
    assert judged(blank(180))
    assert judged(blank(), np.zeros((20, 120), np.bool_))


def test_only_what_is_not_explained_counts() -> None:
    raster = blank()
    raster[3:17, 5:50:3] = 0
    rest = EVERYTHING.copy()
    rest[:, :60] = False
    assert judged(raster, rest)
    assert not judged(raster)


@settings(max_examples=60)
@given(st.integers(9, 20), st.integers(0, 110), st.integers(1, 10), st.integers(0, 230))
def test_whatever_takes_half_of_the_region_is_no_rule(height: int, x: int, width: int, level: int) -> None:
    raster = blank()
    raster[20 - height :, x : x + width] = level
    assert not judged(raster)
