"""The model of this measurement: an engine that reads the cleared picture as hard as it can and says all of it.

It knows where each canary stood. Two readers that have nothing in common: PP-OCR, of whose family the guard's own
reader is, and Tesseract where its program is installed.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, FinishReason, Sampling
from guardedvlm.core.region import Geometry, Raster
from guardedvlm.reading.ppocr import PACKAGE, WEIGHTS, PageReader
from guardedvlm.reading.recognition import LineRecogniser
from guardedvlm.reading.weights import pinned_file

RECOGNISER = "models/PP-OCRv6_rec_small.onnx"
MARGIN = 0.2
"""Heights of a line that the crop takes in around it."""
HEIGHTS = (48, 96)
"""Pixels to which a crop is brought for Tesseract."""
LONGEST = 4000
TESSERACT = "tesseract"
TESSERACT_SECONDS = 60.0
ONE_LINE, SPARSE = "7", "11"
"""Page segmentation modes of Tesseract."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What each reader read: by line at its place, and on the whole page."""

    at_place: dict[str, dict[int, str]] = field(repr=False)
    anywhere: dict[str, str] = field(repr=False)

    def text(self) -> str:
        """All of it, one reader after the other."""
        places = [text for readings in self.at_place.values() for _, text in sorted(readings.items())]
        return "\n".join([*places, *self.anywhere.values()])


Look = Callable[[Raster], Heard]
LOOK: ContextVar[Look] = ContextVar("LOOK")
"""How the request that is under way looks at its picture."""


class AdversaryEngine:
    """`core.ports.Engine`: drafts everything that the `LOOK` of the calling task reads."""

    def __init__(self, geometry: Geometry) -> None:
        self._capacity = Capacity(
            engine="adversary",
            model="PP-OCRv6-small+Tesseract",
            model_digest=WEIGHTS[RECOGNISER],
            audience=f"adversary/{secrets.token_hex(8)}",
            geometry=geometry,
            max_prompt_chars=65_536,
            max_output_tokens=2_048,
        )

    def capacity(self) -> Capacity:
        """What this engine declares."""
        return self._capacity

    async def generate(
        self,
        image: ClearedImage,
        prompt: ClearedPrompt,
        sampling: Sampling,
        scope: str,  # noqa: ARG002 - bounds caches, and it has none
        deadline: Deadline,  # noqa: ARG002 - the pipeline's own
    ) -> AsyncIterator[Draft]:
        """Say line by line what was read."""
        heard = await asyncio.to_thread(LOOK.get(), image.raster)
        words = heard.text().split()[: sampling.max_tokens]
        for start in range(0, len(words), 8):
            yield Draft(" ".join(words[start : start + 8]) + "\n")
        yield Draft("", FinishReason.STOP, len(prompt.question), len(words))


class Readers:
    """PP-OCR and, where it is installed, Tesseract."""

    def __init__(self) -> None:
        self._page = PageReader(marks_unread=False)
        self._line = LineRecogniser(pinned_file(PACKAGE, RECOGNISER, WEIGHTS[RECOGNISER]))
        self.tesseract = shutil.which(TESSERACT)

    def names(self) -> tuple[str, ...]:
        """Who reads."""
        return ("PP-OCR", "Tesseract") if self.tesseract else ("PP-OCR",)

    def look(self, raster: Raster, places: Sequence[tuple[int, npt.NDArray[np.float64]]]) -> Heard:
        """Read the whole page, and each place: (number, corners in reading order)."""
        lines = self._page.read(raster)
        heard = Heard({name: {} for name in self.names()}, {"PP-OCR": "\n".join(line.text for line in lines)})
        for number, corners in places:
            crop = straightened(raster, corners)
            stretched = stretch(crop)
            readings = self._line.read([crop, stretched, 255 - stretched])
            heard.at_place["PP-OCR"][number] = " ".join(reading.text for reading in readings)
            if self.tesseract:
                heard.at_place["Tesseract"][number] = " ".join(
                    self._tesseract(_high(stretched, height), ONE_LINE) for height in HEIGHTS
                )
        if self.tesseract:
            heard.anywhere["Tesseract"] = self._tesseract(raster, SPARSE)
        return heard

    def _tesseract(self, raster: Raster, mode: str) -> str:
        buffer = io.BytesIO()
        Image.fromarray(raster).save(buffer, "PNG", compress_level=1)
        # Its threads fight for the cores with the guard's.
        done = subprocess.run(  # noqa: S603 - a fixed command, the picture goes through a pipe
            [str(self.tesseract), "stdin", "stdout", "--psm", mode],
            input=buffer.getvalue(),
            capture_output=True,
            timeout=TESSERACT_SECONDS,
            env={"OMP_THREAD_LIMIT": "1"},
            check=True,
        )
        return done.stdout.decode("utf-8", "replace")


def straightened(raster: Raster, corners: npt.NDArray[np.float64]) -> Raster:
    """A line with a margin around it, level: (h, w, 3)."""
    width = float(np.linalg.norm(corners[1] - corners[0]))
    height = float(np.linalg.norm(corners[3] - corners[0]))
    margin = MARGIN * height
    scale = min(2.0 if height < HEIGHTS[0] else 1.0, LONGEST / (width + 2 * margin))
    size = (max(8, round(scale * (width + 2 * margin))), max(8, round(scale * (height + 2 * margin))))
    x, y = margin * scale, margin * scale
    there = np.array([(x, y), (size[0] - x, y), (size[0] - x, size[1] - y), (x, size[1] - y)], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), there)
    straight = cv2.warpPerspective(raster, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(straight, np.uint8)


def stretch(crop: Raster) -> Raster:
    """Each colour from its darkest to its lightest, so that faint print is black on white or white on black."""
    low, high = np.percentile(crop, (2, 98), axis=(0, 1))
    spread = np.maximum(high - low, 1.0)
    stretched: Raster = np.clip((crop - low) / spread * 255, 0, 255).astype(np.uint8)
    return stretched


def _high(crop: Raster, height: int) -> Raster:
    width = max(8, round(crop.shape[1] * height / crop.shape[0]))
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
