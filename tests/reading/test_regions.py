"""Geometry of the looks: sizes, tiles, the reference line, fills."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.region import Size
from guardedvlm.reading import regions
from guardedvlm.reading.regions import (
    Sensitivity,
    corners_on_picture,
    is_shrunk,
    overview_size,
    tiles,
    toned,
    with_reference_line,
)

sides = st.integers(1, 9000)


@given(sides, sides)
def test_the_overview_has_whole_strides_and_bounded_pixels(width: int, height: int) -> None:
    look, side = overview_size(Size(width, height), Sensitivity()), Sensitivity().overview_side
    for length in (look.width, look.height):
        assert length % regions.STRIDE == 0
        assert regions.STRIDE <= length <= regions.LONGEST * side
    assert look.width * look.height <= 1.1 * side * side


@given(sides, sides)
def test_what_the_overview_shrinks_is_looked_at_in_tiles(width: int, height: int) -> None:
    look = overview_size(Size(width, height), Sensitivity())
    rounding = regions.STRIDE / 2
    if look.width < width - rounding or look.height < height - rounding:
        assert is_shrunk(Size(width, height), Sensitivity())


def test_a_page_just_over_a_tile_is_cut_into_halves_and_not_into_two_wholes() -> None:
    assert sum(rows.stop - rows.start for rows, _ in tiles(Size(900, 2100), 2048)) == 2100 + regions.TILE_OVERLAP


@settings(max_examples=30)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_tiles_cover_every_pixel_even_without_their_rims(width: int, height: int) -> None:
    covered = np.zeros((height, width), np.uint8)
    for rows, columns in tiles(Size(width, height), 2048):
        seen = np.ones((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        assert max(seen.shape) <= 2048
        regions._blank_inner_edges(seen, rows, columns, covered.shape)
        covered[rows, columns] |= seen
    assert covered.all()


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=4, max_size=4))
def test_corners_keep_every_point_and_start_at_the_left(points: list[tuple[float, float]]) -> None:
    corners = corners_on_picture(np.array(points))
    assert sorted(map(tuple, corners)) == sorted(points)
    assert max(corners[[0, 3], 0]) <= min(corners[[1, 2], 0])
    assert corners[0, 1] <= corners[3, 1]
    assert corners[1, 1] <= corners[2, 1]


@given(st.integers(1, 70), st.integers(1, 400))
def test_the_reference_line_stands_below_the_picture_and_changes_nothing_in_it(height: int, width: int) -> None:
    page = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width)).astype(np.uint8)
    canvas = with_reference_line(page)
    assert np.array_equal(canvas[:height, :width], page)
    assert canvas.shape[0] % regions.STRIDE == 0
    assert canvas.shape[1] % regions.STRIDE == 0
    assert canvas[-regions.REFERENCE_HEIGHT :].min() == 0  # there is ink


def test_flat_paper_stays_flat() -> None:
    for tone in (0, 128, 255):
        assert np.ptp(toned(np.full((60, 80, 3), tone, np.uint8)).astype(int)) <= 1


def test_faint_print_becomes_strong() -> None:
    page = np.full((200, 200, 3), 200, np.uint8)
    page[90:110:4, 50:150] = 190
    before, after = np.ptp(page), np.ptp(toned(page))
    assert after > 4 * before


def test_what_a_fill_hides_changes_nothing_around_it() -> None:
    rng = np.random.default_rng(7)
    page = rng.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    hidden = np.zeros((120, 160), np.uint8)
    hidden[40:80, 30:100] = 1
    black, white = page.copy(), page.copy()
    black[hidden > 0], white[hidden > 0] = 0, 255
    assert np.array_equal(toned(black, hidden), toned(white, hidden))
    assert (toned(black, hidden)[hidden > 0] == 128).all()


def test_a_page_that_is_all_fill_is_flat() -> None:
    assert (toned(np.zeros((50, 70, 3), np.uint8), np.ones((50, 70), np.uint8)) == 128).all()
