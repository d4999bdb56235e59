"""The guard's reader: PP-OCRv6 small (detector and recogniser of the wheel `rapidocr` 3.10.0, Apache-2.0)."""

from __future__ import annotations

from guardedvlm.core.region import Raster
from guardedvlm.core.word import TextLine
from guardedvlm.reading.borders import parted
from guardedvlm.reading.lines import LineReader
from guardedvlm.reading.order import in_reading_order
from guardedvlm.reading.recognition import LineRecogniser, TurnClassifier
from guardedvlm.reading.regions import TextDetector
from guardedvlm.reading.weights import pinned_file

PACKAGE = "rapidocr"
WEIGHTS = {
    "models/PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "models/PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
}


class PageReader:
    """Reads a whole page. Every region that the detector found comes back, read or not."""

    def __init__(self, *, marks_unread: bool = True) -> None:
        """`marks_unread`: UNREAD stands in a text for ink that was not read, which its reader must know."""
        detector, recogniser, classifier = (pinned_file(PACKAGE, name, digest) for name, digest in WEIGHTS.items())
        self._detector = TextDetector(detector)
        self._lines = LineReader(TurnClassifier(classifier), LineRecogniser(recogniser), marks_unread=marks_unread)

    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file in use, by package and name."""
        return {f"{PACKAGE}/{name}": digest for name, digest in WEIGHTS.items()}

    def read(self, raster: Raster) -> tuple[TextLine, ...]:
        """Text lines of an (H, W, 3) uint8 RGB raster in reading order."""
        found = self._detector.find(raster)
        return in_reading_order(self._lines.read(raster, found, parted(found)))
