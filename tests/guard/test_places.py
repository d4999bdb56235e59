"""Where verification looks again: nothing that changed, and nothing that was found, is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.guard.detect.quads import box_quad
from guardedvlm.guard.redact.fills import Mask
from guardedvlm.guard.verify.places import SURROUNDINGS, WORTH_IT, places_to_look_again

PAGE = Size(900, 700)


def paper() -> Raster:
    return np.full((PAGE.height, PAGE.width, 3), 200, np.uint8)


def filled(boxes: list[Box]) -> Raster:
    page = paper()
    for box in boxes:
        page[box.y0 : box.y1, box.x0 : box.x1] = 0
    return page


def mask(places: tuple[Box, ...]) -> Mask:
    seen = np.zeros((PAGE.height, PAGE.width), np.bool_)
    for place in places:
        assert place.clipped(PAGE) == place
        seen[place.y0 : place.y1, place.x0 : place.x1] = True
    return seen


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.integers(0, PAGE.width - 2)), draw(st.integers(0, PAGE.height - 2))
    width, height = draw(st.integers(1, 120)), draw(st.integers(1, 60))
    return Box(x, y, min(x + width, PAGE.width), min(y + height, PAGE.height))


@settings(max_examples=25)
@given(st.lists(boxes(), min_size=1, max_size=8), st.lists(boxes(), max_size=3))
def test_all_that_changed_or_was_found_is_seen_with_its_surroundings(changed: list[Box], found: list[Box]) -> None:
    places = places_to_look_again(paper(), filled(changed), map(box_quad, found))
    seen = mask(places)
    for box in (*changed, *found):
        around = box.grown(SURROUNDINGS).clipped(PAGE)
        assert around is not None
        assert seen[around.y0 : around.y1, around.x0 : around.x1].all()


@settings(max_examples=25)
@given(st.lists(boxes(), min_size=1, max_size=8))
def test_no_pixel_is_seen_twice(changed: list[Box]) -> None:
    places = places_to_look_again(paper(), filled(changed), ())
    assert sum(place.area for place in places) == np.count_nonzero(mask(places))


def test_a_small_change_does_not_cost_the_whole_page() -> None:
    (place,) = places_to_look_again(paper(), filled([Box(400, 300, 460, 320)]), ())
    assert place.area < WORTH_IT * PAGE.pixels
    assert place == Box(400, 300, 460, 320).grown(SURROUNDINGS).grown(16)  # and half of what joins two changes


def test_changes_all_over_the_page_are_looked_at_as_one() -> None:
    everywhere = [Box(x, y, x + 20, y + 20) for x in range(0, 900, 100) for y in range(0, 700, 100)]
    assert places_to_look_again(paper(), filled(everywhere), ()) == (PAGE.box,)


def test_what_was_found_and_did_not_change_is_looked_at_again() -> None:
    turned: Quad = ((500, 100), (560, 130), (550, 150), (490, 120))
    (place,) = places_to_look_again(paper(), paper(), [turned])
    assert place.intersection(Box(490, 100, 560, 150)) == Box(490, 100, 560, 150)
