"""Redaction: what is hidden is gone before anything else is computed, and nothing tells how long it was."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box, Fit, Geometry, Quad, Raster, Size
from guardedvlm.core.word import Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.quads import box_quad, shape, touches
from guardedvlm.guard.redact import LABEL_SIZES, Labels, RedactedImage, redact, widen
from guardedvlm.guard.redact.fills import fill_of, shrink_mask
from guardedvlm.policy.model import Policy

SQUASH = Geometry(Fit.SQUASH, 1344, 1344)
WITHIN = Geometry(Fit.WITHIN, 120, 120)
GEOMETRIES = [None, WITHIN, Geometry(Fit.SQUASH, 96, 64), Geometry(Fit.SQUASH, 400, 500), Geometry(Fit.SQUASH, 7, 5)]


@cache
def policy(action: Literal[Action.FILL, Action.LABEL] = Action.FILL, keep: frozenset[Kind] = frozenset()) -> Policy:
    kinds = set(Kind) - RESERVED_KINDS - keep
    return Policy(
        name="test", version="2025-01-01", description="for tests", hide=dict.fromkeys(kinds, action), keep=keep
    )


FILLING, LABELLING = policy(), policy(Action.LABEL)


def noise(width: int, height: int, seed: int = 0) -> Raster:
    raster = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    raster.setflags(write=False)
    return raster


def white(width: int, height: int) -> Raster:
    return np.full((height, width, 3), 255, np.uint8)


def found(box: Box, kind: Kind = Kind.PERSON, secret: str = "", quad: Quad | None = None) -> Finding:
    return Finding(kind, box, 0.9, "test", quad=quad, secret=secret)


def done(
    page: Raster,
    findings: Sequence[Finding],
    rules: Policy = FILLING,
    geometry: Geometry | None = None,
    visible: Sequence[Word] = (),
) -> RedactedImage:
    return redact(page, findings, visible, rules, geometry, Labels(findings, rules))


def turned(cx: float, cy: float, width: float, height: float, degrees: float) -> Quad:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2)]
    tl, tr, br, bl = [(round(cx + x * c - y * s), round(cy + x * s + y * c)) for x, y in corners]
    return tl, tr, br, bl


BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    *(st.integers(0, 150) for _ in "xy"),
    *(st.integers(1, 90) for _ in "wh"),
)
QUADS = st.builds(
    turned, st.integers(0, 160), st.integers(0, 160), st.integers(8, 120), st.integers(8, 40), st.floats(0, 360)
)
FINDINGS = st.lists(
    st.builds(found, BOXES, st.sampled_from(list(Kind)), st.sampled_from(["", "Ann", "Bob Lee", "x" * 30]))
    | st.builds(lambda quad: found(Box.around(quad), quad=quad), QUADS),
    min_size=1,
    max_size=5,
)


# ---------------------------------------------------------------- the central invariant


@settings(max_examples=80)
@given(FINDINGS, st.sampled_from(GEOMETRIES), st.sampled_from([FILLING, LABELLING]), st.integers(0, 99), st.booleans())
def test_hidden_pixels_have_no_influence_on_a_single_bit(
    findings: list[Finding], geometry: Geometry | None, rules: Policy, seed: int, wider: bool
) -> None:
    """Two pages that differ only where something is hidden become the same raster, whatever the geometry."""
    findings = [item for item in findings if item.box.clipped(Size(160, 150))]
    page = noise(160, 150)
    labels = Labels(findings, rules)
    first = redact(page, findings, (), rules, geometry, labels)
    other = np.where(first.covered[..., None], noise(160, 150, seed + 1), page)
    second = redact(other, findings, (), rules, geometry, labels)
    assert np.array_equal(first.raster, second.raster)
    assert np.array_equal(first.page, second.page)
    if wider:
        residual = [found(Box(0, 0, max(1, first.size.width // 3), max(1, first.size.height // 3)))]
        assert np.array_equal(widen(first, residual).raster, widen(second, residual).raster)


def inner_pixels(quad: Quad, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Mask of a convex quad by the slow way: pixel centres on the inner side of every edge."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    sides = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(quad, quad[1:] + quad[:1], strict=True)
    ]
    inside: npt.NDArray[np.bool_] = np.all(np.array(sides) > 0, axis=0) | np.all(np.array(sides) < 0, axis=0)
    return inside


@settings(max_examples=60)
@given(FINDINGS)
def test_every_pixel_of_a_finding_is_filled(findings: list[Finding]) -> None:
    findings = [item for item in findings if item.box.clipped(Size(160, 150))]
    redacted = done(noise(160, 150), findings)
    for item in findings:
        assert not redacted.raster[inner_pixels(shape(item), 160, 150)].any()


@settings(max_examples=40)
@given(st.sampled_from(GEOMETRIES), FINDINGS)
def test_pixels_marked_as_hidden_lie_under_fills_only(geometry: Geometry | None, findings: list[Finding]) -> None:
    findings = [item for item in findings if item.box.clipped(Size(160, 150))]
    redacted = done(noise(160, 150), findings, geometry=geometry)
    width, height = redacted.size.width, redacted.size.height
    for y, x in np.ndindex(height, width):
        if (y * width + x) % 37 == 0:
            rows = slice(y * 150 // height, -(-(y + 1) * 150 // height))
            columns = slice(x * 160 // width, -(-(x + 1) * 160 // width))
            assert redacted.hidden[y, x] == redacted.covered[rows, columns].all()


# ---------------------------------------------------------------- fills


@pytest.mark.parametrize(
    "box",
    [Box(0, 0, 30, 12), Box(130, 0, 160, 12), Box(0, 138, 30, 150), Box(130, 138, 160, 150), Box(-9, -9, 999, 999)],
)
def test_the_first_and_last_rows_and_columns_are_filled(box: Box) -> None:
    raster = done(noise(160, 150), [found(box)]).raster
    inside = box.clipped(Size(160, 150))
    assert inside is not None
    assert not raster[inside.y0 : inside.y1, inside.x0 : inside.x1].any()


def test_a_margin_reaches_the_border_that_is_near() -> None:
    raster = done(noise(160, 150), [found(Box(100, 128, 158, 148))]).raster
    assert not raster[149, 100:160].any()
    assert not raster[128:150, 159].any()


@pytest.mark.parametrize("box", [Box(160, 0, 170, 10), Box(0, 150, 9, 160), Box(-20, 0, 0, 10)])
def test_a_finding_outside_the_page_is_a_failure_to_look(box: Box) -> None:
    with pytest.raises(Refused) as refused:
        done(noise(160, 150), [found(box)])
    assert refused.value.reason is Reason.DETECTOR_FAILED


def test_a_kind_that_is_kept_is_not_touched() -> None:
    page = noise(160, 150)
    redacted = done(page, [found(Box(10, 10, 50, 30), Kind.DATE)], policy(keep=frozenset({Kind.DATE})))
    assert np.array_equal(redacted.raster, page)
    assert redacted.regions == ()


def test_a_page_without_findings_is_the_page_itself() -> None:
    page = noise(160, 150)
    redacted = done(page, [])
    assert np.array_equal(redacted.raster, page)
    assert not redacted.hidden.any()


@pytest.mark.parametrize("degrees", [5, 30, 90, 135, 270])
def test_a_turned_region_is_filled_along_its_angle(degrees: float) -> None:
    quad = turned(200, 200, 160, 24, degrees)
    redacted = done(white(400, 400), [found(Box.around(quad), quad=quad)])
    filled = int((redacted.raster == 0).all(axis=2).sum())
    assert filled < 1.9 * 160 * 24  # the box around it has up to 4 times the area
    assert not redacted.raster[inner_pixels(quad, 400, 400)].any()


def test_the_length_of_a_fill_tells_a_multiple_of_six_characters_only() -> None:
    """One step for a name of two letters and of five, upright, downwards and turned."""
    widths = {done(white(600, 100), [found(Box(50, 40, 50 + 10 * n, 60))]).regions[0].box.width for n in range(1, 6)}
    assert widths == {60}
    heights = {done(white(100, 600), [found(Box(40, 50, 60, 50 + n))]).regions[0].box.height for n in (42, 47, 52)}
    assert heights == {60}
    lengths = []
    for n in (4, 5):
        quad = turned(200, 200, 10 * n, 20, 30)
        fill = fill_of(found(Box.around(quad), quad=quad), (), Size(400, 400))
        lengths.append(math.dist(fill.quad[0], fill.quad[1]))
    assert abs(lengths[0] - lengths[1]) <= 3  # corners are whole pixels


def test_the_length_is_rounded_up_without_covering_visible_words() -> None:
    visible = (Word("cash", Box(115, 40, 155, 60)),)
    redacted = done(white(600, 100), [found(Box(100, 40, 110, 60))], visible=visible)
    assert redacted.visible == visible
    assert not any(touches(box_quad(region.box), shape(visible[0])) for region in redacted.regions)
    assert redacted.regions[0].box.x0 < 70  # what found no room at the end went to the start


def test_the_length_is_rounded_up_inside_the_page() -> None:
    redacted = done(white(120, 100), [found(Box(90, 40, 118, 60))])
    assert redacted.regions[0].box == Box(61, 37, 120, 63)


def test_fills_of_one_line_are_joined_unless_a_word_stands_between() -> None:
    names = [found(Box(50, 40, 104, 60)), found(Box(120, 40, 174, 60))]
    assert not done(white(600, 100), names).raster[45:55, 104:120].any()
    word = Word("&", Box(108, 40, 116, 60))
    redacted = done(white(600, 100), names, visible=(word,))
    assert redacted.raster[45:55, 110:114].all()


def test_a_face_is_not_lengthened() -> None:
    assert done(white(300, 300), [found(Box(50, 50, 110, 120), Kind.FACE)]).regions[0].box == Box(48, 48, 112, 122)


def test_a_visible_word_that_a_fill_reaches_goes_as_a_whole() -> None:
    word = Word("paid", Box(102, 40, 142, 60))
    touching = Word("due", Box(95, 40, 125, 60))
    redacted = done(white(600, 100), [found(Box(40, 40, 100, 60))], visible=(word, touching))
    assert touching not in redacted.visible
    assert not redacted.raster[42:58, 95:125].any()
    assert Kind.UNCLEARED in {region.kind for region in redacted.regions}


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("geometry", "source", "target"),
    [
        (None, (300, 200), (300, 200)),
        (SQUASH, (300, 200), (1344, 1344)),
        (SQUASH, (2000, 3000), (1344, 1344)),
        (WITHIN, (300, 200), (120, 80)),
        (WITHIN, (100, 90), (100, 90)),
        (WITHIN, (3000, 1), (120, 1)),
    ],
)
def test_the_raster_has_the_geometry_of_the_engine(
    geometry: Geometry | None, source: tuple[int, int], target: tuple[int, int]
) -> None:
    redacted = done(white(*source), [found(Box(0, 0, 1, 1))], geometry=geometry)
    assert redacted.size == Size(*target)
    assert redacted.source == Size(*source)
    assert redacted.hidden.shape == (target[1], target[0])
    assert not redacted.raster.flags.writeable
    assert redacted.raster.flags.c_contiguous


def test_visible_words_are_scaled_to_the_geometry() -> None:
    quad: Quad = ((20, 40), (60, 48), (58, 60), (18, 52))
    redacted = done(
        white(200, 100), [], geometry=Geometry(Fit.SQUASH, 400, 100), visible=(Word("a", Box(18, 40, 60, 60), quad),)
    )
    assert redacted.visible[0].box == Box(36, 40, 120, 60)
    assert redacted.visible[0].quad == ((40, 40), (120, 48), (116, 60), (36, 52))


def test_a_pixel_is_hidden_only_where_all_that_it_was_made_from_is() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[:, :5] = True
    assert shrink_mask(mask, Size(3, 3)).tolist() == [[True, False, False]] * 3


def test_what_an_image_scaling_trick_hides_is_gone_before_the_resize() -> None:
    """Bright pixels on the sampling grid, planted under a fill, never reach the small picture."""
    page = np.zeros((400, 400, 3), np.uint8)
    page[::10, ::10] = 255
    assert not done(page, [found(Box(0, 0, 400, 400))], geometry=Geometry(Fit.SQUASH, 40, 40)).raster.any()


# ---------------------------------------------------------------- labels


def test_equal_secrets_have_equal_labels_and_others_do_not() -> None:
    findings = [
        found(Box(0, 0, 9, 9), secret="John Doe"),
        found(Box(0, 20, 9, 29), secret="JOHN  DOE."),
        found(Box(0, 40, 9, 49), secret="Jane"),
        found(Box(0, 60, 9, 69), Kind.EMAIL, secret="Jane"),
        found(Box(0, 80, 9, 89), Kind.FACE),
        found(Box(0, 100, 9, 109), Kind.FACE),
    ]
    labels = Labels(findings, LABELLING)
    texts = [labels.of(item) for item in findings]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 5
    assert sorted(text[-1] for text in set(texts)) == list("ABCDE")
    assert {text.rsplit("-", 1)[0] for text in texts} == {"PERSON", "EMAIL", "FACE"}
    assert texts[0] in set(labels.by_secret().values())
    assert "oe" not in repr(labels)


def test_the_order_of_letters_is_random() -> None:
    """45 CFR 164.514(c): not derived from the data, so not from its order on the page either."""
    findings = [found(Box(0, at, 9, at + 9), secret=f"name {at}") for at in range(6)]
    orders = {tuple(Labels(findings, LABELLING).of(item) for item in findings) for _ in range(20)}
    assert len(orders) > 10  # 720 orders: 20 draws that fall on ten or fewer do not happen


def test_letters_go_on_after_z() -> None:
    findings = [found(Box(0, at, 9, at + 9), secret=f"name {at}") for at in range(30)]
    letters = {Labels(findings, LABELLING).of(item).removeprefix("PERSON-") for item in findings}
    labels = Labels(findings, LABELLING)
    assert {labels.of(item).removeprefix("PERSON-") for item in findings} == {
        *string.ascii_uppercase,
        "AA",
        "AB",
        "AC",
        "AD",
    }
    assert all(letters)


def test_a_kind_that_is_filled_has_no_label() -> None:
    assert Labels([], FILLING).of(found(Box(0, 0, 9, 9), secret="x")) == ""
    assert Labels([], LABELLING).of(found(Box(0, 0, 9, 9), Kind.UNREADABLE, secret="x")) == ""


@pytest.mark.parametrize(("height", "drawn"), [(40, True), (22, True), (8, False)])
def test_a_label_is_drawn_where_it_can_be_read(height: int, drawn: bool) -> None:
    redacted = done(white(600, 200), [found(Box(100, 100, 400, 100 + height), secret="Ann")], LABELLING)
    assert bool(redacted.labels) is drawn
    assert redacted.regions[0].label == "PERSON-A"
    for label in redacted.labels:
        assert label.text == "PERSON-A"
        assert redacted.hidden[label.box.y0 : label.box.y1, label.box.x0 : label.box.x1].all()
        plate = redacted.raster[label.box.y0 : label.box.y1, label.box.x0 : label.box.x1]
        assert (plate[[0, -1]] == 255).all()
        assert (plate == 0).any()


@settings(max_examples=60)
@given(st.integers(4, 60), st.integers(20, 400), st.sampled_from([None, Geometry(Fit.SQUASH, 300, 100)]))
def test_no_label_is_smaller_than_a_reader_needs(height: int, width: int, geometry: Geometry | None) -> None:
    """14 pixels of the raster that is sent, or none at all: a label that is misread names another person."""
    findings = [found(Box(50, 80, 50 + width, 80 + height), secret="Ann")]
    redacted = done(white(600, 200), findings, LABELLING, geometry)
    assert min(LABEL_SIZES) == 14
    for label in redacted.labels:
        assert label.box.height >= 14
        inside = redacted.hidden[label.box.y0 : label.box.y1, label.box.x0 : label.box.x1]
        assert inside.shape == (label.box.height, label.box.width)
        assert inside.all()
    if not redacted.labels:
        plain = done(white(600, 200), findings, FILLING, geometry)
        assert np.array_equal(redacted.raster, plain.raster)


@pytest.mark.parametrize("rules", [FILLING, LABELLING], ids=["fill", "label"])
@pytest.mark.parametrize(("short", "long"), [("Jo", "Joann"), ("Rosamund", "Rosamunde-M")])
def test_secrets_of_one_step_of_length_become_the_same_picture(short: str, long: str, rules: Policy) -> None:
    """Bit for bit: neither fill nor label tells which of two names it was (at 10 pixels a letter, 20 a line)."""
    rasters = []
    for name in (short, long):
        page = white(600, 100)
        page[40:60, 50 : 50 + 10 * len(name)] = 7
        item = found(Box(50, 40, 50 + 10 * len(name), 60), secret=name)
        rasters.append(done(page, [item], rules).raster)
    assert np.array_equal(*rasters)


def test_a_label_stays_inside_its_fill_when_the_page_is_turned() -> None:
    for degrees in (8, 45, 90, 200):
        quad = turned(300, 300, 400, 60, degrees)
        redacted = done(white(600, 600), [found(Box.around(quad), quad=quad, secret="Ann")], LABELLING)
        outside = redacted.raster[~redacted.covered]
        assert (outside == 255).all()


def test_labels_do_not_cover_each_other() -> None:
    findings = [found(Box(100, 100, 400, 140), secret="Ann Lee"), found(Box(100, 100, 300, 140), secret="Ann")]
    assert len(done(white(600, 200), findings, LABELLING).labels) == 1


def test_labels_are_drawn_after_the_resize() -> None:
    findings = [found(Box(1000, 1000, 3000, 1200), secret="Ann")]
    redacted = done(white(4000, 4000), findings, LABELLING, Geometry(Fit.SQUASH, 400, 400))
    (label,) = redacted.labels
    assert label.box.height >= 14
    plate = redacted.raster[label.box.y0 : label.box.y1, label.box.x0 : label.box.x1]
    assert (plate == 0).any()
    assert (plate == 255).any()


# ---------------------------------------------------------------- the wider pass


def test_the_wider_pass_fills_the_source_page() -> None:
    page = noise(400, 300)
    first = done(page, [found(Box(20, 20, 80, 40))], geometry=Geometry(Fit.SQUASH, 200, 150))
    second = widen(first, [found(Box(100, 100, 140, 110))])
    assert not second.page[200:220, 200:280].any()
    assert not second.raster[100:110, 100:140].any()
    assert not second.page[20:40, 20:80].any()
    assert second.regions[:-1] == first.regions
    assert Box(200, 200, 280, 220).intersection(second.regions[-1].box) == Box(200, 200, 280, 220)
    shown = ~second.covered
    assert np.array_equal(second.page[shown], page[shown])


def test_the_wider_pass_takes_touched_words_as_a_whole() -> None:
    words = (Word("total", Box(100, 100, 180, 120)), Word("paid", Box(300, 100, 360, 120)))
    first = done(white(400, 300), [], visible=words)
    second = widen(first, [found(Box(60, 100, 120, 120))])
    assert second.visible == words[1:]
    assert not second.raster[100:120, 60:180].any()


def test_the_wider_pass_keeps_labels() -> None:
    first = done(white(600, 200), [found(Box(100, 100, 400, 140), secret="Ann")], LABELLING)
    second = widen(first, [found(Box(450, 20, 500, 40))])
    assert second.labels == first.labels


def test_no_repr_shows_text_or_pixels() -> None:
    redacted = done(
        white(600, 200), [found(Box(100, 100, 400, 140), secret="Ann")], visible=(Word("total", Box(9, 9, 50, 20)),)
    )
    shown = repr(redacted)
    assert "Ann" not in shown
    assert "total" not in shown
    assert "array" not in shown
