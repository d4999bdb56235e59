"""The verifier's reader: PP-OCRv4 (wheel `rapidocr-onnxruntime` 1.4.4, Apache-2.0): other weights than the guard's reader.

Looking and reading are apart, because verification reads only what no cleared word explains: a full reading in four
orientations would cost 14 CPU-seconds a receipt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardedvlm.core.region import Quad, Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.reading.lines import LineReader, text_line
from guardedvlm.reading.recognition import NOTHING, LineRecogniser, TurnClassifier
from guardedvlm.reading.regions import FloatQuad, Sensitivity, TextDetector
from guardedvlm.reading.weights import pinned_file

PACKAGE = "rapidocr_onnxruntime"
WEIGHTS = {
    "models/ch_PP-OCRv4_det_infer.onnx": "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    "models/ch_PP-OCRv4_rec_infer.onnx": "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    "models/ch_ppocr_mobile_v2.0_cls_infer.onnx": "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
}
SENSITIVITY = Sensitivity()


class IndependentReader:
    """Finds and reads text with networks that had no part in the redaction."""

    def __init__(self) -> None:
        detector, recogniser, classifier = (pinned_file(PACKAGE, name, digest) for name, digest in WEIGHTS.items())
        self._detector = TextDetector(detector, SENSITIVITY)
        self._lines = LineReader(TurnClassifier(classifier), LineRecogniser(recogniser))

    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file in use, by package and name."""
        return {f"{PACKAGE}/{name}": digest for name, digest in WEIGHTS.items()}

    def regions(self, raster: Raster) -> tuple[TextLine, ...]:
        """Every text region of an (H, W, 3) uint8 RGB raster and of the same raster turned by 90 degrees, unread.

        A region that both looks found is there twice.
        """
        size = Size.of(raster)
        upright = self._detector.find(raster)
        turned = self._detector.find(np.ascontiguousarray(np.rot90(raster)))
        quads = [*upright, *(_turned_back(quad, size) for quad in turned)]
        return tuple(text_line(quad, NOTHING, size) for quad in quads)

    def read_regions(self, raster: Raster, quads: Sequence[Quad]) -> tuple[TextLine, ...]:
        """A line for each of `quads`, in their order; its text is "" where nothing was read."""
        return self._lines.read(raster, [np.array(quad, np.float64) for quad in quads])


def _turned_back(quad: FloatQuad, size: Size) -> FloatQuad:
    """Corners in a raster of `size`, from corners in that raster turned by 90 degrees counter-clockwise.

    A pixel (x, y) of the turned raster is (width - y, x) of the source. The first corner stays the first: text that ran
    upwards in the source runs upwards still.
    """
    return np.stack([size.width - quad[:, 1], quad[:, 0]], axis=1)
