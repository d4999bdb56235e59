"""The face verifier: sees visible faces in every orientation, is silent about hidden ones, and stands alone."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardedvlm.cli.pictures.page import FACE, portrait
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.errors import Reason, Unavailable
from guardedvlm.guard import verify_faces
from guardedvlm.guard.detect.faces import Faces
from guardedvlm.guard.verify_faces import FaceVerifier
from guardedvlm.worker import Worker, WorkerSpec


@pytest.fixture(scope="module")
def verifier() -> FaceVerifier:
    return FaceVerifier()


def page() -> Raster:
    """The portrait on a page of 640 x 560."""
    image = Image.new("RGB", (640, 560), (230, 230, 230))
    image.paste(portrait(), (200, 80))
    return np.array(image)


MIDDLE = FACE.grown(-40, -50)


@pytest.mark.parametrize("turns", range(4))
def test_a_visible_face_is_found_in_every_orientation(verifier: FaceVerifier, turns: int) -> None:
    marked = np.zeros((560, 640), bool)
    marked[80 + MIDDLE.y0 : 80 + MIDDLE.y1, 200 + MIDDLE.x0 : 200 + MIDDLE.x1] = True
    raster, marked = np.ascontiguousarray(np.rot90(page(), turns)), np.rot90(marked, turns)
    found = verifier.detect(raster)
    assert found
    assert {finding.kind for finding in found} == {Kind.FACE}
    assert {finding.detector for finding in found} == {"mtcnn"}
    for finding in found:
        box = finding.box
        assert box.clipped(Size.of(raster)) == box
        assert 0.9 <= finding.score <= 1
        assert marked[box.y0 : box.y1, box.x0 : box.x1].sum() == MIDDLE.area


def test_a_face_that_the_detector_hid_is_not_seen(verifier: FaceVerifier) -> None:
    raster = page()
    for finding in Faces().detect(raster):
        raster[finding.box.y0 : finding.box.y1, finding.box.x0 : finding.box.x1] = 40
    assert verifier.detect(raster) == ()


def test_half_a_face_is_still_seen(verifier: FaceVerifier) -> None:
    raster = page()
    raster[80 + FACE.y0 + 130 :] = 40  # mouth and chin are hidden
    assert verifier.detect(raster)


def test_a_squashed_page_is_searched(verifier: FaceVerifier) -> None:
    assert verifier.detect(np.array(Image.fromarray(page()).resize((1344, 1344))))


@settings(max_examples=30)
@given(st.integers(1, 48), st.integers(1, 48), st.integers(0, 2**32 - 1))
def test_any_size_is_searched_and_boxes_lie_inside(verifier: FaceVerifier, width: int, height: int, seed: int) -> None:
    raster = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for finding in verifier.detect(raster):
        assert finding.box.clipped(Size(width, height)) == finding.box


@pytest.mark.parametrize("value", [0, 40, 255])
def test_fills_are_not_faces(verifier: FaceVerifier, value: int) -> None:
    raster = np.full((500, 700, 3), 250, np.uint8)
    for x in range(20, 600, 150):
        raster[100:260, x : x + 110] = value
    assert verifier.detect(raster) == ()


def test_neither_torchvision_nor_the_face_recogniser_is_loaded(verifier: FaceVerifier) -> None:
    worker = Worker(WorkerSpec("probe", "guardedvlm.guard.verify_faces:FaceVerifier"))
    try:
        found, _ = worker.call_sync("detect", tuple[Finding, ...], page())
        weights, _ = worker.call_sync("weights", dict[str, str])
    finally:
        worker.stop()
    assert found == verifier.detect(page())
    assert weights == verifier.weights()
    assert set(weights) == {f"facenet_pytorch/data/{net}.pt" for net in ("pnet", "rnet", "onet")}
    assert "facenet_pytorch.models.inception_resnet_v1" not in sys.modules
    assert "torchvision" not in sys.modules


def test_a_site_s_own_modules_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", own)
    FaceVerifier()
    assert sys.modules["torchvision"] is own


def test_changed_weights_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verify_faces.WEIGHTS, "data/onet.pt", "0" * 64)
    with pytest.raises(Unavailable) as refused:
        FaceVerifier()
    assert refused.value.reason is Reason.WEIGHTS_CHANGED


def overlap(a: Box, b: Box) -> float:
    common = a.overlap(b)
    return common / (a.area + b.area - common)


def slow_nms(boxes: list[Box], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[index], boxes[k]) <= threshold for k in kept):
            kept.append(index)
    return kept


CORNER, SIDE = st.integers(0, 40), st.integers(1, 30)


@given(
    st.lists(st.tuples(CORNER, CORNER, SIDE, SIDE), max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from([0.5, 0.7]),
)
def test_suppression_is_that_of_the_definition(rows, random, threshold: float) -> None:
    boxes = [Box(x, y, x + w, y + h) for x, y, w, h in rows]
    scores = [(i + 1) / 64 for i in range(len(boxes))]
    random.shuffle(scores)
    corners = torch.tensor([[b.x0, b.y0, b.x1, b.y1] for b in boxes], dtype=torch.float64).reshape(-1, 4)
    kept = verify_faces._batched_nms(corners, torch.tensor(scores), torch.zeros(len(boxes)), threshold)
    assert kept.tolist() == slow_nms(boxes, scores, threshold)


@pytest.mark.slow
def test_receipts_have_no_faces(verifier: FaceVerifier, shared_data) -> None:
    paths = sorted((shared_data / "receipts" / "img").glob("*.jpg"))[:12]
    assert paths
    assert sum(bool(verifier.detect(np.array(Image.open(path).convert("RGB")))) for path in paths) == 0
