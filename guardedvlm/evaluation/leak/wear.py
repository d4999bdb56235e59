"""What happens to a picture before it is sent: turned, seen at a slant, out of focus, noisy, compressed."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from guardedvlm.core.region import Raster
from guardedvlm.evaluation.leak.grounds import Canvas, Drawn

SKEW = 12.0
"""Degrees that a page lies askew at most."""
SLANT = 0.06
"""Share of a side by which a corner is out of place at most when a page is photographed."""
BLUR = 0.9
"""Pixels, standard deviation: a letter of 6 pixels is still there."""
NOISE = 12.0
"""Steps of 255, standard deviation."""


@dataclass(frozen=True, slots=True)
class Wear:
    """What happens to one picture; the defaults are nothing."""

    turn: float = 0.0  # degrees
    slant: bool = False
    blur: float = 0.0
    noise: float = 0.0
    quality: int = 0  # JPEG; 0 = not compressed

    @classmethod
    def drawn(cls, drawn: Drawn) -> Wear:
        """One at random."""
        kind = drawn.random()
        turn = 0.0
        if kind < 0.12:
            turn = float(drawn.choice((90, 180, 270)))
        elif kind < 0.25:
            turn = float(drawn.uniform(-SKEW, SKEW))
        return cls(
            turn,
            slant=bool(drawn.random() < 0.12),
            blur=float(drawn.uniform(0.3, BLUR)) if drawn.random() < 0.25 else 0.0,
            noise=float(drawn.uniform(1, NOISE)) if drawn.random() < 0.3 else 0.0,
            quality=int(drawn.integers(20, 96)) if drawn.random() < 0.5 else 0,
        )

    def conditions(self) -> dict[str, str]:
        """What the report groups by."""
        turned = "upright" if not self.turn else "quarter turn" if self.turn % 90 == 0 else "askew"
        compressed = "none" if not self.quality else "below 50" if self.quality < 50 else "50 and more"
        return {
            "page": "slanted" if self.slant else turned,
            "blur": "blurred" if self.blur else "sharp",
            "noise": "noisy" if self.noise else "clean",
            "JPEG": compressed,
        }


def worn(
    canvas: Canvas, owner: npt.NDArray[np.int16], alpha: npt.NDArray[np.uint8], wear: Wear, drawn: Drawn
) -> tuple[Raster, npt.NDArray[np.int16], npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The picture, whose ink is where in it, and the 3 x 3 matrix that points moved by."""
    matrix, size = _matrix(canvas.shape[1], canvas.shape[0], wear, drawn)
    if not np.array_equal(matrix, np.eye(3)):
        canvas = cv2.warpPerspective(canvas, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        owner = cv2.warpPerspective(owner, matrix, size, flags=cv2.INTER_NEAREST)
        alpha = cv2.warpPerspective(alpha, matrix, size, flags=cv2.INTER_LINEAR)
    if wear.blur:
        canvas = cv2.GaussianBlur(canvas, (0, 0), wear.blur)
    if wear.noise:
        canvas = canvas + drawn.normal(0, wear.noise, canvas.shape).astype(np.float32)
    raster = np.clip(canvas.round(), 0, 255).astype(np.uint8)
    if wear.quality:
        buffer = io.BytesIO()
        Image.fromarray(raster).save(buffer, "JPEG", quality=wear.quality)
        raster = np.array(Image.open(buffer).convert("RGB"))
    return raster, owner, alpha, matrix


def _matrix(width: int, height: int, wear: Wear, drawn: Drawn) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    moved = corners
    if wear.turn:
        angle = np.radians(wear.turn)
        moved = corners @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    if wear.slant:
        moved = moved + drawn.uniform(-SLANT, SLANT, (4, 2)) * (width, height)
    moved = moved - moved.min(axis=0)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    if np.allclose(matrix, np.eye(3)):
        return np.eye(3), (width, height)
    right, bottom = np.ceil(moved.max(axis=0) - 1e-3).astype(int)
    return matrix, (int(right), int(bottom))
