"""QR codes, barcodes, PDF417, Data Matrix, Aztec: what a machine can read is personal until cleared.

`Codes` (ZXing) finds them for redaction, `CodesVerifier` (OpenCV) looks at the result; they share no code.
A code whose checksum fails is a code: another reader, or a sharper copy, may read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Raster, Size

Gray = npt.NDArray[np.uint8]

LOOKS = 4
"""A linear code can be read from any row: what was found is painted over and the page is searched again, so often."""
PADDING = 0.15
"""Growth a side as part of the longer side: the quiet zone and what the finder patterns leave out."""
LEAST_PADDING = 4
"""Growth a side in pixels at least."""
CERTAIN, DAMAGED = 1.0, 0.5
"""Scores: decoded with a valid checksum, and found but not decoded."""
SMALLEST_SIDE = 16
"""OpenCV's detectors raise on slimmer pictures, which hold no code: the smallest symbol is 8 modules plus a margin."""


class Codes:
    """The guard's code detector."""

    def weights(self) -> dict[str, str]:
        """None: the rules are the library's."""
        return {}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """Codes of an (H, W, 3) uint8 RGB raster; `secret` is the decoded text, "" where it could not be decoded."""
        page = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
        found: list[Finding] = []
        for _ in range(LOOKS):
            more = list(_zxing(np.asarray(page, np.uint8), Size.of(raster)))
            if not more:
                break
            found += more
            for finding in more:
                box = finding.box
                page[box.y0 : box.y1, box.x0 : box.x1] = int(np.median(page[box.y0 : box.y1, box.x0 : box.x1]))
        return tuple(found)


class CodesVerifier:
    """Finds visible codes in a redacted raster, decoded or not."""

    def __init__(self) -> None:
        self._linear = cv2.barcode.BarcodeDetector()
        self._matrix = cv2.QRCodeDetector()

    def weights(self) -> dict[str, str]:
        """None: the rules are the library's."""
        return {}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """QR codes and linear barcodes of an (H, W, 3) uint8 RGB raster; nothing is decoded."""
        if min(raster.shape[:2]) < SMALLEST_SIDE:
            return ()
        page = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
        return tuple(_quads(self._linear.detectMulti(page), "opencv-barcode", Size.of(raster))) + tuple(
            _quads(self._matrix.detectMulti(page), "opencv-qr", Size.of(raster))
        )


def _zxing(page: Gray, size: Size) -> Iterator[Finding]:
    for code in zxingcpp.read_barcodes(page, return_errors=True, text_mode=zxingcpp.TextMode.Plain):
        at = code.position
        corners = [(p.x, p.y) for p in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)]
        box = _padded(corners).clipped(size)
        if box is not None:
            yield Finding(Kind.CODE, box, CERTAIN if code.valid else DAMAGED, "zxing", secret=code.text)


def _quads(detected: Any, name: str, size: Size) -> Iterator[Finding]:
    """Findings of OpenCV's (found, corners)."""
    found, corners = detected
    if not found or corners is None:
        return
    for quad in np.asarray(corners, np.float64).reshape(-1, 4, 2):
        box = Box.around([(float(x), float(y)) for x, y in quad]).clipped(size)
        if box is not None:
            yield Finding(Kind.CODE, box, CERTAIN, name)


def _padded(corners: list[tuple[int, int]]) -> Box:
    box = Box.around(corners)
    grow = max(LEAST_PADDING, round(PADDING * max(box.width, box.height)))
    return box.grown(grow)
