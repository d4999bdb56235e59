"""Boxes round outwards: a hidden area never shrinks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.region import Box, Fit, Geometry, Size, scale_quad

coordinates = st.integers(0, 500)
sizes = st.builds(Size, st.integers(1, 3000), st.integers(1, 3000))


@st.composite
def boxes(draw, limit=500):
    x0, y0 = draw(st.integers(0, limit - 1)), draw(st.integers(0, limit - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, limit)), draw(st.integers(y0 + 1, limit)))


def test_an_empty_box_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        Box(3, 0, 3, 1)
    with pytest.raises(ValueError, match="empty"):
        Size(0, 1)


@given(boxes(), boxes())
def test_overlap_is_what_counting_pixels_gives(a, b):
    grid = np.zeros((500, 500), np.uint8)
    grid[a.y0 : a.y1, a.x0 : a.x1] += 1
    grid[b.y0 : b.y1, b.x0 : b.x1] += 1
    assert a.overlap(b) == int((grid == 2).sum())
    assert a.union(b).overlap(a) == a.area


@given(boxes(), sizes)
def test_a_scaled_box_covers_every_pixel_that_the_source_touches(box, target):
    source = Size(500, 500)
    scaled = box.scaled(source, target)
    assert scaled.x0 * source.width <= box.x0 * target.width
    assert scaled.x1 * source.width >= box.x1 * target.width
    assert scaled.y0 * source.height <= box.y0 * target.height
    assert scaled.y1 * source.height >= box.y1 * target.height
    assert scaled.clipped(target) == scaled


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1))
def test_the_box_around_points_contains_them(points):
    box = Box.around(points)
    assert all(box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1 for x, y in points)


@given(sizes)
def test_geometries(source):
    assert Geometry(Fit.SQUASH, 1344, 1344).target(source) == Size(1344, 1344)
    within = Geometry(Fit.WITHIN, 1000, 800).target(source)
    assert within.width <= 1000
    assert within.height <= 800
    if source.width <= 1000 and source.height <= 800:
        assert within == source


def test_grown_clipped_and_quads():
    assert Box(1, 1, 2, 2).grown(3, 1).clipped(Size(4, 2)) == Box(0, 0, 4, 2)
    assert Box(5, 5, 6, 6).clipped(Size(4, 4)) is None
    assert scale_quad(((0, 0), (10, 0), (10, 4), (0, 4)), Size(10, 4), Size(20, 2)) == (
        (0, 0),
        (20, 0),
        (20, 2),
        (0, 2),
    )
    assert Size.of(np.zeros((2, 3, 3), np.uint8)) == Size(3, 2)
