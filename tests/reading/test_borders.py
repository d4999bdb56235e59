"""Neighbouring lines share no pixel; what was in the middle of a line stays in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.reading.borders import parted
from guardedvlm.reading.regions import FloatQuad


def quad(x: float, y: float, width: float, height: float, degrees: float = 0.0) -> FloatQuad:
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn, np.float64)


@pytest.mark.parametrize("degrees", [0.0, 3.0, -7.0, 180.0])
def test_the_border_is_the_middle_of_what_two_lines_share(degrees: float) -> None:
    upper, lower = quad(0, 0, 200, 40, degrees), quad(20, 32, 200, 40, degrees)
    first, second = parted([upper, lower])
    assert np.allclose(first, quad(0, 0, 200, 36, degrees))
    assert np.allclose(second, quad(20, 36, 200, 36, degrees))
    swapped = parted([lower, upper])
    assert np.allclose(swapped[0], second)
    assert np.allclose(swapped[1], first)


def test_lines_that_are_not_parallel_are_parted_where_they_meet() -> None:
    upper, lower = quad(0, 0, 200, 40, 1.0), quad(0, 36, 200, 40, -1.0)
    first, second = parted([upper, lower])
    assert np.ptp(first[:, 1]) < np.ptp(upper[:, 1])
    assert np.ptp(second[:, 1]) < np.ptp(lower[:, 1])


@pytest.mark.parametrize(
    "other",
    [
        quad(0, 41, 200, 40),  # apart
        quad(0, 10, 200, 40),  # most of it shared: two readings of one line
        quad(50, 12, 60, 10),  # inside
        quad(195, 30, 200, 40),  # beside
        quad(0, 30, 20, 200),  # runs down
        quad(-50, -40, 200, 40, 40.0),  # crosses
    ],
)
def test_others_stay_as_they_are(other: FloatQuad) -> None:
    line = quad(0, 0, 200, 40)
    for before, after in zip([line, other], parted([line, other]), strict=True):
        assert np.array_equal(before, after)


def test_nothing_is_nothing() -> None:
    assert parted([]) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(1, 300), st.floats(1, 60), st.floats(-20, 20)),
        max_size=8,
    )
)
def test_a_line_keeps_its_middle_and_gains_nothing(places: list[tuple[float, float, float, float, float]]) -> None:
    quads = [quad(*place) for place in places]
    for before, after in zip(quads, parted(quads), strict=True):
        assert after.shape == (4, 2)
        down = before[3] - before[0]
        height = float(np.linalg.norm(down))
        top, bottom = (after[0] - before[0]) @ down / height, (after[3] - before[0]) @ down / height
        assert -1e-6 <= top <= 0.5 * height
        assert 0.5 * height <= bottom <= height + 1e-6
