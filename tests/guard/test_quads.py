"""Turned rectangles: containment, growth and touching, against a slow oracle of sampled points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Quad
from guardedvlm.core.word import Word
from guardedvlm.guard.detect import quads


def turned(cx: float, cy: float, width: float, height: float, degrees: float) -> Quad:
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    corners = [(-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2)]
    tl, tr, br, bl = [(round(cx + x * c - y * s), round(cy + x * s + y * c)) for x, y in corners]
    return tl, tr, br, bl


ANGLES = st.floats(-180, 180)
SIDES = st.integers(12, 200)


def inside(point: tuple[float, float], quad: Quad) -> bool:
    crosses = [
        (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)
        for (ax, ay), (bx, by) in zip(quad, quad[1:] + quad[:1], strict=True)
    ]
    return all(cross >= -1e-6 for cross in crosses) or all(cross <= 1e-6 for cross in crosses)


@given(SIDES, SIDES, ANGLES, SIDES, SIDES, ANGLES, st.integers(-150, 150), st.integers(-150, 150))
def test_covered_part_is_what_sampled_points_say(
    w1: int, h1: int, a1: float, w2: int, h2: int, a2: float, dx: int, dy: int
) -> None:
    region, text = turned(300, 300, w1, h1, a1), turned(300 + dx, 300 + dy, w2, h2, a2)
    (px, py), (qx, qy) = line = quads.midline(text)
    part = quads.covered_part(line, region)
    steps = 400
    hits = [inside((px + (qx - px) * t / steps, py + (qy - py) * t / steps), region) for t in range(steps + 1)]
    length = (part[1] - part[0]) if part else 0.0
    assert abs(length - max(0, sum(hits) - 1) / steps) <= 2 / steps


@given(SIDES, SIDES, ANGLES, st.integers(2, 20), st.integers(2, 20))
def test_growth_contains_the_quad_and_covers_its_text(w: int, h: int, a: float, along: int, across: int) -> None:
    quad = turned(300, 300, w, h, a)
    bigger = quads.grown(quad, along, across)
    assert all(inside(corner, bigger) for corner in quad)
    assert quads.covers([bigger], quad)
    assert quads.area(bigger) >= quads.area(quad)


@pytest.mark.parametrize(
    ("quad", "forward", "expected"),
    [
        (((0, 0), (40, 0), (40, 10), (0, 10)), 5, ((-1, -2), (46, -2), (46, 12), (-1, 12))),
        # text that runs downwards (quad in reading order): forward is down
        (((10, 0), (10, 40), (0, 40), (0, 0)), 5, ((12, -1), (12, 46), (-2, 46), (-2, -1))),
        # an upright box of a vertical line (quad from a box): the longer side is where text runs
        (((0, 0), (10, 0), (10, 40), (0, 40)), 5, ((-2, -1), (12, -1), (12, 46), (-2, 46))),
    ],
)
def test_growth_is_along_the_text(quad: Quad, forward: int, expected: Quad) -> None:
    assert quads.grown(quad, 1, 2, forward=forward) == expected


def test_neighbours_with_loose_boxes_do_not_touch() -> None:
    above, below = quads.box_quad(Box(0, 0, 100, 24)), quads.box_quad(Box(0, 16, 100, 40))
    left, right = quads.box_quad(Box(0, 0, 52, 20)), quads.box_quad(Box(48, 0, 100, 20))
    assert not quads.touches(above, below)
    assert not quads.touches(left, right)
    assert quads.touches(quads.box_quad(Box(0, 0, 58, 20)), right)


def test_two_findings_cover_a_word_together_and_not_twice() -> None:
    word = quads.box_quad(Box(0, 0, 100, 20))
    left, right = quads.box_quad(Box(0, 0, 50, 20)), quads.box_quad(Box(50, 0, 100, 20))
    assert quads.covers([right, left], word)
    assert not quads.covers([left, left], word)
    assert not quads.covers([], word)


@pytest.mark.parametrize(
    ("quad", "expected"),
    [
        (((0, 0), (100, 100), (100, 0), (0, 100)), Box(0, 0, 100, 100)),  # a bow tie
        (((10, 10), (10, 10), (10, 10), (10, 10)), Box(0, 0, 100, 100)),  # a point
        (((0, 0), (50, 0), (50, 50), (0, 50)), Box(0, 0, 100, 100)),  # half of its box
        (((-40, 0), (100, 0), (100, 100), (-40, 100)), Box(-40, 0, 100, 100)),  # beyond its box
    ],
)
def test_a_quad_that_cannot_be_trusted_hides_all_that_it_may_mean(quad: Quad, expected: Box) -> None:
    finding = Finding(Kind.PERSON, Box(0, 0, 100, 100), 1.0, "test", quad=quad)
    assert quads.shape(finding) == quads.box_quad(expected)


def test_a_turned_quad_is_kept() -> None:
    quad = turned(100, 100, 120, 20, 30)
    assert quads.shape(Word("x", Box.around(quad), quad)) == quad


def test_a_bridge_joins_what_faces_each_other() -> None:
    left, right = quads.box_quad(Box(0, 0, 40, 20)), quads.box_quad(Box(50, 2, 90, 22))
    assert quads.bridge(left, right) == ((40, 0), (50, 2), (50, 22), (40, 20))
    assert quads.bridge(left, quads.box_quad(Box(40, 20, 60, 30))) is None
