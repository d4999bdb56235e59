"""Codes: every kind, at every tilt, whole and damaged, and nothing of them is left; the verifier is quiet on fills."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from zxingcpp import BarcodeFormat

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Raster, Size
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect import codes
from guardedvlm.guard.detect.codes import Codes, CodesVerifier
from guardedvlm.guard.detect.quads import shape
from guardedvlm.worker import Worker, WorkerSpec

LINEAR = {
    BarcodeFormat.Code128: "MRN12345678",
    BarcodeFormat.Code39: "A12345678",
    BarcodeFormat.Code93: "A1234567",
    BarcodeFormat.EAN13: "4006381333931",
    BarcodeFormat.ITF: "12345678901231",
    BarcodeFormat.Codabar: "A123456B",
}
MATRIX = {
    BarcodeFormat.QRCode: "https://example.org/p?id=MRN-12345678",
    BarcodeFormat.MicroQRCode: "1234",
    BarcodeFormat.DataMatrix: "MRN12345678",
    BarcodeFormat.Aztec: "AZTEC 12345",
    BarcodeFormat.PDF417: "DAQ D12345678 DCS DOE DAC JOHN",
}
EVERY = LINEAR | MATRIX


@pytest.fixture(scope="module")
def detector() -> Codes:
    return Codes()


@pytest.fixture(scope="module")
def verifier() -> CodesVerifier:
    return CodesVerifier()


def symbol(kind: BarcodeFormat, text: str, module: int) -> np.ndarray:
    """Dark modules of `module` px on white, with the quiet zone."""
    return np.array(zxingcpp.create_barcode(text, kind).to_image(scale=module))


def page_with(code: np.ndarray, tilt: float = 0.0, side: int = 560, paper: int = 255) -> Raster:
    """A square page with a code in its middle, turned by `tilt` degrees."""
    high, wide = code.shape
    page = np.full((side, side), paper, np.uint8)
    top, left = (side - high) // 2, (side - wide) // 2
    page[top : top + high, left : left + wide] = code
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), tilt, 1.0)
    page = cv2.warpAffine(page, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=paper)
    return np.ascontiguousarray(np.repeat(page[..., None], 3, axis=2))


def hidden(raster: Raster, found: tuple[Finding, ...], value: int = 0) -> tuple[Raster, np.ndarray]:
    """The raster with its findings filled as the guard fills them, and where."""
    mask = np.zeros(raster.shape[:2], np.uint8)
    for finding in found:
        cv2.fillConvexPoly(mask, np.array(shape(finding), np.int32), 1)
    filled = raster.copy()
    filled[mask > 0] = value
    return filled, mask > 0


def readable(raster: Raster) -> int:
    """Codes that ZXing reads at any of four tilts."""
    side = raster.shape[0]
    turns = (cv2.getRotationMatrix2D((side / 2, side / 2), tilt, 1.0) for tilt in (0, 22, 45, 67))
    return sum(len(zxingcpp.read_barcodes(cv2.warpAffine(raster, turn, (side, side)))) for turn in turns)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
@pytest.mark.parametrize("tilt", [0, 90, 180, 7])
def test_every_kind_is_read_and_hidden_whole(
    detector: Codes, verifier: CodesVerifier, kind: BarcodeFormat, tilt: int
) -> None:
    raster = page_with(symbol(kind, EVERY[kind], 3), tilt)
    found = detector.detect(raster)
    assert found
    assert {finding.kind for finding in found} == {Kind.CODE}
    if kind is not BarcodeFormat.PDF417 or tilt != 7:  # a stack of rows is located at a tilt and not read
        assert EVERY[kind] in {finding.secret for finding in found}
        assert max(finding.score for finding in found) == codes.CERTAIN
    for value in (0, 255):
        filled, mask = hidden(raster, found, value)
        assert not (raster[..., 0][~mask] < 128).any(), "ink of the code is left"
        assert readable(filled) == 0
        assert verifier.detect(filled) == ()
    assert mask.mean() < 0.45


@pytest.mark.parametrize("tilt", [15, 30, 45, 60, 75])
def test_bars_are_hidden_to_their_ends_at_any_tilt(detector: Codes, tilt: int) -> None:
    raster = page_with(symbol(BarcodeFormat.Code128, "MRN12345678", 3), tilt)
    found = detector.detect(raster)
    filled, mask = hidden(raster, found)
    assert "MRN12345678" in {finding.secret for finding in found}
    assert not (raster[..., 0][~mask] < 128).any()
    assert readable(filled) == 0


def test_light_bars_on_dark_paper_are_hidden(detector: Codes) -> None:
    raster = page_with(255 - symbol(BarcodeFormat.QRCode, "MRN-1", 4), paper=0)
    found = detector.detect(raster)
    assert [finding.secret for finding in found] == ["MRN-1"]
    _, mask = hidden(raster, found)
    # The quiet zone is dark as the paper is: every light pixel is a module.
    assert not (raster[..., 0][~mask] > 128).any()


def test_a_faint_code_is_hidden(detector: Codes) -> None:
    code = symbol(BarcodeFormat.Code128, "MRN12345678", 2)
    raster = page_with(np.where(code < 128, 200, 235).astype(np.uint8), paper=235)
    found = detector.detect(raster)
    assert "MRN12345678" in {finding.secret for finding in found}
    _, mask = hidden(raster, found)
    assert not (raster[..., 0][~mask] < 218).any()


def test_two_codes_are_two_findings(detector: Codes) -> None:
    left = page_with(symbol(BarcodeFormat.QRCode, "first", 4))
    raster = np.concatenate([left, page_with(symbol(BarcodeFormat.DataMatrix, "second", 4))], axis=1)
    assert sorted(finding.secret for finding in detector.detect(raster)) == ["first", "second"]


def test_a_code_whose_checksum_fails_is_a_code(detector: Codes) -> None:
    code = symbol(BarcodeFormat.QRCode, EVERY[BarcodeFormat.QRCode], 4)
    code[40:100, 40:110] = 255
    raster = page_with(code)
    assert zxingcpp.read_barcodes(raster) == []
    found = detector.detect(raster)
    assert found
    assert {(finding.score, finding.secret) for finding in found} == {(codes.DAMAGED, "")}
    _, mask = hidden(raster, found)
    assert not (raster[..., 0][~mask] < 128).any()


def test_the_text_of_a_code_is_in_no_repr(detector: Codes) -> None:
    found = detector.detect(page_with(symbol(BarcodeFormat.QRCode, "canary-4711", 4)))
    assert found[0].secret == "canary-4711"
    assert "canary" not in repr(found)


def test_a_page_that_shows_ever_more_codes_is_refused(detector: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "ROUNDS", 1)
    with pytest.raises(Refused) as refused:
        detector.detect(page_with(symbol(BarcodeFormat.QRCode, "MRN-1", 4)))
    assert refused.value.reason is Reason.DETECTOR_FAILED


def test_the_picture_is_left_as_it_was(detector: Codes) -> None:
    raster = page_with(symbol(BarcodeFormat.QRCode, "MRN-1", 4))
    before = raster.copy()
    raster.setflags(write=False)
    detector.detect(raster)
    assert (raster == before).all()


@settings(max_examples=40)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 2**32 - 1), st.booleans())
def test_any_size_is_searched_and_boxes_lie_inside(
    detector: Codes, verifier: CodesVerifier, width: int, height: int, seed: int, binary: bool
) -> None:
    raster = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if binary:
        raster = np.ascontiguousarray(np.repeat(np.where(raster[..., :1] > 127, 255, 0), 3, axis=2).astype(np.uint8))
    for finding in (*detector.detect(raster), *verifier.detect(raster)):
        assert finding.box.clipped(Size(width, height)) == finding.box


@pytest.mark.parametrize("module", [2, 3, 6])
@pytest.mark.parametrize("tilt", [0, 37, 90])
def test_the_verifier_sees_qr_codes(verifier: CodesVerifier, module: int, tilt: int) -> None:
    found = verifier.detect(
        page_with(symbol(BarcodeFormat.QRCode, "https://example.org/MRN-12345678", module), tilt, 700)
    )
    assert {finding.detector for finding in found} == {"opencv-qr"}
    assert all(finding.secret == "" for finding in found)


@pytest.mark.parametrize("kind", LINEAR, ids=lambda kind: kind.name)
@pytest.mark.parametrize("tilt", [0, 20, 90])
def test_the_verifier_sees_bars(verifier: CodesVerifier, kind: BarcodeFormat, tilt: int) -> None:
    found = verifier.detect(page_with(symbol(kind, LINEAR[kind], 3), tilt, 700))
    assert "opencv-barcode" in {finding.detector for finding in found}


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(0, 500), st.integers(4, 200), st.integers(4, 60), st.sampled_from([0, 40])
        ),
        max_size=12,
    )
)
def test_fills_are_not_codes(detector: Codes, verifier: CodesVerifier, fills: list[tuple[int, ...]]) -> None:
    raster = np.full((520, 520, 3), 255, np.uint8)
    for x, y, width, height, value in fills:
        raster[y : y + height, x : x + width] = value
    assert not [finding for finding in verifier.detect(raster) if finding.detector == "opencv-qr"]
    assert not [finding for finding in detector.detect(raster) if finding.score == codes.CERTAIN]


def test_there_is_nothing_learnt_to_pin(detector: Codes, verifier: CodesVerifier) -> None:
    assert detector.weights() == verifier.weights() == {}


@pytest.mark.parametrize(("name", "make"), [("Codes", Codes), ("CodesVerifier", CodesVerifier)])
def test_the_roles_answer_from_their_own_process(name: str, make: type[Codes | CodesVerifier]) -> None:
    raster = page_with(symbol(BarcodeFormat.QRCode, "MRN-1", 4), 12)
    worker = Worker(WorkerSpec(name, f"guardedvlm.guard.detect.codes:{name}"))
    try:
        found, _ = worker.call_sync("detect", tuple[Finding, ...], raster)
    finally:
        worker.stop()
    assert len(found) == 1
    assert found == make().detect(raster)


@pytest.mark.slow
def test_receipts_have_no_codes(detector: Codes, verifier: CodesVerifier, shared_data) -> None:
    paths = sorted((shared_data / "receipts" / "img").glob("*.jpg"))
    assert paths
    rasters = [np.array(Image.open(path).convert("RGB")) for path in paths]
    assert sum(bool(detector.detect(raster)) for raster in rasters) == 0
    assert sum(bool(verifier.detect(raster)) for raster in rasters) <= 1
