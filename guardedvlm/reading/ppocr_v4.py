"""The verifier's reader: PP-OCRv4 (detector and recogniser of the wheel `rapidocr-onnxruntime` 1.4.4, Apache-2.0).

Other weights, another alphabet and another way of training than the guard's own reader: what one of them does not see,
the other one may. The two share the 0/180 degree classifier (both wheels ship the same bytes) and our own steps around
the networks. Looking and reading are apart, because verification reads only what no cleared word explains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.reading.lines import LineReader, unread
from guardedvlm.reading.recognition import LineRecogniser, TurnClassifier
from guardedvlm.reading.regions import FloatQuad, Mask, TextDetector
from guardedvlm.reading.session import side_by_side
from guardedvlm.reading.weights import pinned_file

PACKAGE = "rapidocr_onnxruntime"
WEIGHTS = {
    "models/ch_PP-OCRv4_det_infer.onnx": "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    "models/ch_PP-OCRv4_rec_infer.onnx": "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    "models/ch_ppocr_mobile_v2.0_cls_infer.onnx": "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
}


Corners = tuple[int, int, int, int]
"""A box as it crosses into a worker: x0, y0, x1, y1."""


class IndependentReader:
    """Looks for text on final pixels, and reads only the regions that it is asked about."""

    def __init__(self) -> None:
        detector, recogniser, classifier = (pinned_file(PACKAGE, name, digest) for name, digest in WEIGHTS.items())
        self._detector = TextDetector(detector)
        self._lines = LineReader(TurnClassifier(classifier), LineRecogniser(recogniser))

    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file in use, by package and name."""
        return {f"{PACKAGE}/{name}": digest for name, digest in WEIGHTS.items()}

    def regions(
        self, raster: Raster, hidden: Mask | None = None, within: Sequence[Corners] | None = None
    ) -> tuple[TextLine, ...]:
        """Every text region of an (H, W, 3) uint8 RGB raster, unread, as it stands and turned by 90 degrees.

        `hidden`, uint8 (H, W), is not 0 where the guard itself filled a pixel. With it, text beside fills is told from
        the fills; without it, a page full of them may come back as one region. Where `within` is given, only these
        boxes are looked at.
        """
        size = Size.of(raster)
        places = None if within is None else [Box(*corners) for corners in within]
        upright, turned = side_by_side(
            lambda: self._detector.look(raster, hidden, places),
            lambda: self._detector.look(
                np.ascontiguousarray(np.rot90(raster)),
                None if hidden is None else np.ascontiguousarray(np.rot90(hidden)),
                None if places is None else [_laid_box(box, size) for box in places],
            ),
        )
        quads = self._detector.rectangles(upright)
        quads += [_stood(quad, size) for quad in self._detector.rectangles(turned, [_laid(q, size) for q in quads])]
        return tuple(unread(quad, size) for quad in quads)

    def read_regions(self, raster: Raster, quads: Sequence[Quad]) -> tuple[TextLine, ...]:
        """One line for each quad of the raster, in the same order; "" and confidence 0 where nothing can be read."""
        return self._lines.read(raster, [np.asarray(quad, np.float64) for quad in quads])


def _laid(quad: FloatQuad, size: Size) -> FloatQuad:
    """Corners on the picture turned counterclockwise by 90 degrees."""
    return np.stack([quad[:, 1], size.width - quad[:, 0]], axis=1)


def _laid_box(box: Box, size: Size) -> Box:
    """A box on the picture turned counterclockwise by 90 degrees."""
    return Box(box.y0, size.width - box.x1, box.y1, size.width - box.x0)


def _stood(quad: FloatQuad, size: Size) -> FloatQuad:
    """The way back. The first corner stays the first: text that runs up the picture still does."""
    return np.stack([size.width - quad[:, 1], quad[:, 0]], axis=1)
