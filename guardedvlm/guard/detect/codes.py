"""QR codes, barcodes, PDF417, Data Matrix, Aztec: what a machine can read is personal data until cleared.

`Codes` (ZXing) finds them for redaction, `CodesVerifier` (OpenCV) looks at the result; they share no code.

- A code whose checksum fails is a code: another reader, or a sharper copy, may read it.
- A linear code can be read from any row of its bars, so a finding covers the whole bars and not the row that was read;
  then it is painted over and the page is searched again, until nothing is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.quads import grown, shape

Gray = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float64]
"""Shape (4, 2): x, y in pixels, in turn around the code."""

TILTS = (0.0, 22.5, 45.0, 67.5)
"""Degrees by which the page is turned for a look. ZXing reads along rows and columns: bars a fifth as high as their
code is long are crossed up to 11 degrees off."""
MATRIX = frozenset(zxingcpp.barcode_formats_list(zxingcpp.BarcodeFormat.AllMatrix)) - frozenset(
    (zxingcpp.BarcodeFormat.PDF417, zxingcpp.BarcodeFormat.CompactPDF417, zxingcpp.BarcodeFormat.MicroPDF417)
)
"""Codes that are found by their own patterns at any angle, and not along rows."""
ROUNDS = 6
"""Searches of one page. Two suffice for a code that was covered whole; a page that never ends is refused."""
EDGE_SHARE = 0.3
"""Part of a code's own contrast from which a brightness step is an edge of it."""
REACH = 0.75
"""How far edges are followed, as part of the longer side of what was read: bars are seldom higher than that."""
BRIDGE = 0.03
"""Gaps between edges that are followed across, as part of that side, twice: the widest space in a linear code is four
modules, and half a code (a reader may take it for a short one) is about fifty modules long."""
PADDING = 0.1
"""Growth a side, as part of the shorter side: a module of the smallest matrix codes."""
LEAST_PADDING = 3.0
"""Growth a side in pixels, at least: the blur of a scan."""
CERTAIN, DAMAGED = 1.0, 0.5
"""Scores: located by its own patterns or decoded with a valid checksum; located but not decoded."""
LEAST_SIDE = 64
"""Slimmer pictures are laid on white up to this side: OpenCV's detectors raise on pictures of a few pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What ZXing read in one look; `corners` in the page's pixels."""

    corners: Corners
    valid: bool
    text: str = field(repr=False)


class Codes:
    """The guard's code detector."""

    def weights(self) -> dict[str, str]:
        """None: there is nothing learnt in it."""
        return {}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """Codes of an (H, W, 3) uint8 RGB raster; `secret` is the decoded text, "" where it could not be decoded.

        Raises Refused(DETECTOR_FAILED) where a page shows ever more codes.
        """
        page = np.array(cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY), np.uint8)
        found: list[Finding] = []
        for _ in range(ROUNDS):
            more = [finding for tilt in TILTS for finding in _taken(page, tilt)]
            if not more:
                return tuple(found)
            found += more
        raise Refused(Reason.DETECTOR_FAILED, detector="zxing")


class CodesVerifier:
    """Finds visible codes in a redacted raster, without reading them."""

    def __init__(self) -> None:
        self._linear = cv2.barcode.BarcodeDetector()
        # The plain QRCodeDetector misses modules of less than 4 px, this one of less than 2.
        self._matrix = cv2.QRCodeDetectorAruco()

    def weights(self) -> dict[str, str]:
        """None: there is nothing learnt in it."""
        return {}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """QR codes and linear barcodes of an (H, W, 3) uint8 RGB raster."""
        size = Size.of(raster)
        right, below = max(0, LEAST_SIDE - size.width), max(0, LEAST_SIDE - size.height)
        page = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
        page = cv2.copyMakeBorder(page, 0, below, 0, right, cv2.BORDER_CONSTANT, value=255)
        linear = _quads(self._linear.detectMulti(page), "opencv-barcode", size)
        matrix = _quads(self._matrix.detectMulti(page), "opencv-qr", size)
        return (*linear, *matrix)


def _taken(page: Gray, tilt: float) -> Iterator[Finding]:
    """Findings of one look, each painted over on `page` so that the next look sees something else or nothing."""
    size = Size(page.shape[1], page.shape[0])
    for read in _read(page, tilt):
        quad = _padded(_whole(page, _whole(page, read.corners)))
        box = Box.around(quad).clipped(size)
        assert box is not None
        score = CERTAIN if read.valid else DAMAGED
        finding = Finding(Kind.CODE, box, score, "zxing", quad=quad, secret=read.text if read.valid else "")
        ground = int(np.median(page[box.y0 : box.y1, box.x0 : box.x1]))
        cv2.fillConvexPoly(page, np.array(shape(finding), np.int32), ground)
        yield finding


def _read(page: Gray, tilt: float) -> list[_Read]:
    """Codes that ZXing reads on the page turned by `tilt` degrees."""
    height, width = page.shape
    there = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1.0)
    c, s = abs(there[0, 0]), abs(there[0, 1])
    target = (int(np.ceil(width * c + height * s)), int(np.ceil(width * s + height * c)))
    there[:, 2] += ((target[0] - width) / 2, (target[1] - height) / 2)
    view = cv2.warpAffine(page, there, target, flags=cv2.INTER_LINEAR, borderValue=255) if tilt else page
    back = cv2.invertAffineTransform(there)
    codes = zxingcpp.read_barcodes(view, return_errors=True, text_mode=zxingcpp.TextMode.Plain)
    return [
        _Read(_corners(code.position) @ back[:, :2].T + back[:, 2], code.valid, code.text)
        for code in codes
        if code.valid or _is_damaged(code, tilt)
    ]


def _is_damaged(code: Any, tilt: float) -> bool:
    """True for what is a code although it does not decode, False for print that looks like one.

    Matrix codes that do not decode count in the straight look only, and not with a size that no Data Matrix has: the
    turned looks took print for one on 11 of 48 receipts. Linear and stacked codes have a structure that print has not.
    """
    if code.format not in MATRIX:
        return True
    no_such_size = code.format == zxingcpp.BarcodeFormat.DataMatrix and code.error.type == zxingcpp.ErrorType.Format
    return tilt == 0 and not no_such_size


def _corners(at: Any) -> Corners:
    return np.array([(p.x, p.y) for p in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)], np.float64)


def _whole(page: Gray, corners: Corners) -> Corners:
    """The rectangle around a code of which `corners` were read: every edge that starts in them, followed to its end.

    The edges of bars and modules run through the whole code, in both polarities.
    """
    around = Box.around([(float(x), float(y)) for x, y in corners])
    side = max(around.width, around.height)
    window = around.grown(round(REACH * side) + 1).clipped(Size(page.shape[1], page.shape[0]))
    assert window is not None
    part = page[window.y0 : window.y1, window.x0 : window.x1]
    steps = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    inside = np.zeros(part.shape, np.uint8)
    local = np.rint(corners - (window.x0, window.y0)).astype(np.int32)
    cv2.polylines(inside, [local], isClosed=True, color=1, thickness=3)
    cv2.fillConvexPoly(inside, local, 1)
    edges = steps > max(1.0, EDGE_SHARE * float(np.percentile(steps[inside > 0], 95)))
    width = 2 * max(1, round(BRIDGE * side)) + 1
    _, labels = cv2.connectedComponents(cv2.dilate(edges.astype(np.uint8), np.ones((width, width), np.uint8)))
    followed = edges & np.isin(labels, np.setdiff1d(labels[inside > 0], [0]))
    rows, columns = np.nonzero(followed)
    points = np.vstack([np.column_stack([columns + window.x0, rows + window.y0]), corners])
    return np.asarray(cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))), np.float64)


def _padded(corners: Corners) -> Quad:
    a, b, c, d = ((round(float(x)), round(float(y))) for x, y in corners)
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    growth = max(LEAST_PADDING, PADDING * float(sides.min()))
    return grown((a, b, c, d), growth, growth)


def _quads(detected: Any, name: str, size: Size) -> Iterator[Finding]:
    """Findings of OpenCV's (found, corners)."""
    found, corners = detected
    if not found or corners is None:
        return
    for quad in np.asarray(corners, np.float64).reshape(-1, 4, 2):
        box = Box.around([(float(x), float(y)) for x, y in quad]).clipped(size)
        if box is not None:
            yield Finding(Kind.CODE, box, CERTAIN, name)
