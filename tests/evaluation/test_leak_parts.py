"""The parts of the canary harness: what is drawn is there, what is there can be read, and what leaks is found."""

import logging
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("faker", reason="the extra `eval`")

from guardedvlm.core.finding import TEXT_KINDS, Kind
from guardedvlm.core.region import Fit, Geometry, Size
from guardedvlm.evaluation.leak import sinks
from guardedvlm.evaluation.leak.adversary import Readers, straightened
from guardedvlm.evaluation.leak.canaries import DATE_FORMATS, MAKERS, canaries
from guardedvlm.evaluation.leak.fonts import by_hand, font, typefaces, x_height
from guardedvlm.evaluation.leak.grounds import GROUNDS
from guardedvlm.evaluation.leak.measure import COVERED, _fate, _resized
from guardedvlm.evaluation.leak.scene import coloured, luminance, ratio, scene
from guardedvlm.evaluation.leak.search import Haystack, folded, is_read


def luhn(number):
    digits = [int(digit) for digit in re.sub(r"\D", "", number)]
    return sum(d if at % 2 == 0 else sum(divmod(2 * d, 10)) for at, d in enumerate(reversed(digits))) % 10 == 0


@pytest.fixture(scope="module")
def drawn():
    return [scene(seed, 12) for seed in range(len(GROUNDS))]


@pytest.fixture(scope="module")
def readers():
    return Readers()


# ---------------------------------------------------------------- canaries


def test_every_kind_of_text_that_is_an_identifier_has_canaries():
    none_by_itself = {Kind.ORGANIZATION, Kind.AMOUNT, Kind.ATTRIBUTE, Kind.MRZ, Kind.SIGNATURE}
    assert set(MAKERS) == TEXT_KINDS - none_by_itself
    assert len(set(DATE_FORMATS)) == 30


def test_the_same_seed_makes_the_same_canaries_and_no_two_are_alike():
    made = canaries(5, 60)
    assert made == canaries(5, 60)
    assert made != canaries(6, 60)
    assert len({canary.text for canary in made}) == 60
    assert {canary.kind for canary in made} == set(MAKERS)


def test_card_numbers_have_valid_check_digits():
    cards = [c.text for c in canaries(1, 400) if c.kind is Kind.PAYMENT_CARD]
    assert len(cards) >= 15
    assert all(luhn(card) and len(re.sub(r"\D", "", card)) == 16 for card in cards)
    assert luhn("4111 1111 1111 1111")


def test_routing_numbers_have_valid_check_digits():
    numbers = [c.text for c in canaries(1, 400) if c.kind is Kind.ROUTING]
    weights = (3, 7, 1) * 3
    assert numbers
    assert all(sum(w * int(d) for w, d in zip(weights, number, strict=True)) % 10 == 0 for number in numbers)


# ---------------------------------------------------------------- pictures


def test_the_same_seed_draws_the_same_picture(drawn):
    again = scene(3, 12)
    assert np.array_equal(again.raster, drawn[3].raster)
    assert np.array_equal(again.owner, drawn[3].owner)


def test_most_canaries_find_a_place(drawn):
    placed = [line for one in drawn for line in one.lines if line.canary]
    assert len(placed) >= 0.95 * 12 * len(drawn)


def test_ink_lies_within_the_corners_of_its_line(drawn):
    for one in drawn:
        for number, line in enumerate(one.lines):
            ys, xs = np.nonzero((one.owner == number + 1) & (one.alpha >= 64))
            if not len(xs):
                continue
            origin, across, down = line.corners[0], line.corners[1], line.corners[3]
            basis = np.column_stack([across - origin, down - origin])
            u, v = np.linalg.solve(basis, np.column_stack([xs + 0.5, ys + 0.5]).T - origin[:, None])
            slack = 2.5 / np.linalg.norm(basis, axis=0)
            assert u.min() > -slack[0] - 0.1
            assert u.max() < 1 + slack[0] + 0.1
            assert v.min() > -slack[1] - 0.12
            assert v.max() < 1 + slack[1] + 0.12


@given(st.tuples(*[st.floats(0, 255)] * 3), st.floats(1.2, 21), st.integers(0, 99))
def test_a_colour_has_the_contrast_that_was_asked_for_or_the_most_there_is(ground, contrast, seed):
    ground = np.array(ground)
    colour, reached = coloured(ground, contrast, np.random.default_rng(seed))
    assert ratio(luminance(np.clip(colour, 0, 255)), luminance(ground)) == pytest.approx(reached, rel=1e-6)
    most = max(ratio(luminance(ground), end) for end in (0.0, 1.0))
    assert reached == pytest.approx(min(contrast, reached), rel=1e-3)
    if contrast <= most:
        assert reached == pytest.approx(contrast, rel=1e-3)


def test_luminance_is_that_of_wcag():
    assert luminance(np.array([255, 255, 255])) == pytest.approx(1)
    assert ratio(luminance(np.array([255, 0, 0])), 1.0) == pytest.approx(3.998, abs=1e-3)
    assert ratio(0.0, 1.0) == pytest.approx(21)


def test_typefaces_have_a_size_in_pixels_and_some_are_by_hand():
    assert any(map(by_hand, typefaces()))
    assert not all(map(by_hand, typefaces()))
    for name in typefaces():
        assert 2 <= x_height(name, 12) <= 12
        assert font(name, 40).getlength("mmmm") > font(name, 12).getlength("mmmm")


# ---------------------------------------------------------------- reading


@pytest.mark.service
def test_readers_read_what_nobody_hid(drawn, readers):
    """The adversary is one: of large, dark print that is not covered it reads nearly all."""
    read = []
    for one in drawn[:4]:
        nothing = np.zeros(one.owner.shape, np.bool_)
        clear = {
            number: line
            for number, line in enumerate(one.lines)
            if line.canary and "occluded" not in line.conditions and line.conditions["typeface"] == "printed"
            and line.x_height >= 12 and _fate(one, number, line, nothing).contrast >= 4.5
            and len(folded(line.text)) >= 6
        }  # fmt: skip
        heard = readers.look(one.raster, [(number, line.corners) for number, line in clear.items()])
        read += [is_read(line.text, heard.at_place["PP-OCR"][number]) for number, line in clear.items()]
    assert len(read) >= 6
    assert sum(read) >= 0.9 * len(read) - 1


def test_a_crop_is_level_whatever_the_angle(drawn):
    for one in drawn:
        for line in one.lines:
            crop = straightened(one.raster, line.corners)
            width = np.linalg.norm(line.corners[1] - line.corners[0])
            height = np.linalg.norm(line.corners[3] - line.corners[0])
            assert (crop.shape[1] > crop.shape[0]) == (width > height)


def test_what_is_not_covered_is_a_leak_and_what_is_covered_is_none(drawn):
    one = drawn[0]
    nothing, everything = np.zeros(one.owner.shape, np.bool_), np.ones(one.owner.shape, np.bool_)
    fates = [_fate(one, n, line, nothing) for n, line in enumerate(one.lines)]
    assert any(fate.legible for fate in fates)
    assert all(fate.leaked for fate in fates if fate.legible)
    assert not any(_fate(one, n, line, everything).leaked for n, line in enumerate(one.lines))
    largest = int(np.argmax(np.bincount(one.owner[one.alpha >= 64])[1:]))
    own = (one.owner == largest + 1) & (one.alpha >= 64)
    some = everything.copy()
    ys, xs = np.nonzero(own)
    uncovered = round((1 - COVERED) * len(xs)) + 2
    some[ys[:uncovered], xs[:uncovered]] = False
    assert _fate(one, largest, one.lines[largest], some).leaked


def test_a_resized_scene_keeps_whose_ink_is_where(drawn):
    one = drawn[1]
    squashed = _resized(one, Geometry(Fit.SQUASH, 1344, 1344).target(Size.of(one.raster)))
    assert squashed.raster.shape == (1344, 1344, 3)
    before, after = np.bincount(one.owner.ravel()), np.bincount(squashed.owner.ravel())
    scale = 1344 * 1344 / one.owner.size
    assert after[1:] == pytest.approx(before[1:] * scale, rel=0.2)


# ---------------------------------------------------------------- searching


@pytest.mark.parametrize(
    ("canary", "text", "expected"),
    [
        ("4111 1111 1111 1111", "card 4111-1111-1111-1111 ok", True),
        ("Müller, Jürgen", "MULLER JURGEN", True),
        ("Johanna Roe", "Johonna Roe", True),
        ("SN-10I5", "sn 1O15", True),
        ("Johanna Roe", "Johann Sebastian", False),
        ("219-09-9999", "PERSON-A  ", False),
        ("12", "12", False),
    ],
)
def test_a_canary_is_found_as_a_reader_would_write_it(canary, text, expected):
    assert is_read(canary, text) is expected


@settings(max_examples=200)
@given(st.text("ABCDEFGHJKLMNPQRSTUVWXYZ346789", min_size=10, max_size=24), st.text(max_size=80), st.text(max_size=80))
def test_a_canary_is_found_wherever_it_stands(canary, before, after):
    assume(len(folded(canary)) >= 10)
    assert Haystack(f"{before} {canary.lower()} {after}").holds(canary)


@given(st.text("abcdefgh", min_size=10, max_size=16), st.text("stuvwxyz ", max_size=200))
def test_a_canary_is_not_found_where_nothing_of_it_is(canary, text):
    assert not Haystack(text).holds(canary)
    assert not is_read(canary, text)


# ---------------------------------------------------------------- sinks


def test_everything_that_is_printed_or_logged_is_captured(tmp_path):
    log = tmp_path / "log"
    with sinks.captured(log):
        subprocess.run(
            [sys.executable, "-c", "import os; os.write(1, b'child out'); os.write(2, b'child err')"], check=True
        )
        logging.getLogger("any.where").debug("a record %s", 7)
        print("for the terminal")
    content = log.read_text()
    assert all(part in content for part in ("child out", "child err", "a record 7"))
    assert "for the terminal" not in content


def test_temporary_files_and_others_are_searched(tmp_path):
    import tempfile

    before = tempfile.gettempdir()
    with sinks.scratch(tmp_path), tempfile.NamedTemporaryFile() as file:
        file.write("Zoë".encode() + b"\xff")
        file.flush()
        assert "Zoë" in sinks.files_under(tmp_path)
    assert tempfile.gettempdir() == before


def test_the_receiver_keeps_what_it_is_sent():
    import grpc
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

    with sinks.receiving() as kept, grpc.insecure_channel(kept.endpoint.removeprefix("http://")) as channel:
        spans = trace_service_pb2.ExportTraceServiceRequest(resource_spans=[ResourceSpans(schema_url="canary 4711")])
        trace_service_pb2_grpc.TraceServiceStub(channel).Export(spans)
        logs = logs_service_pb2.ExportLogsServiceRequest(resource_logs=[ResourceLogs(schema_url="canary 4712")])
        logs_service_pb2_grpc.LogsServiceStub(channel).Export(logs)
        assert any("canary 4711" in sinks.text_of(message) for message in kept.traces)
        assert any("canary 4712" in sinks.text_of(message) for message in kept.logs)
