"""Where text is: the DB text detector of PP-OCR (Liao et al., AAAI 2020) from pixels to turned rectangles.

The network gives a probability for each pixel that it lies in the core of a text line; connected cores become the
rectangles around them, grown back to the line's full height. Our own steps around the network, not the package's: those
keep at most 1,000 regions, drop small ones and shrink large pictures, and each of the three would leave text visible.

A picture is looked at whole, at its own scale or larger where it has no more pixels than a square of `overview_side`;
a larger one shrunk to that, and a second time at its own scale in overlapping tiles. The tiles' probabilities are
stitched before anything is cut out, so that a line across tiles is one region. The second look only adds what the first
did not cover.

Three things are done to a picture before the network sees it, each for a fault that was measured:
- Local contrast is normalised. As it stands, PP-OCRv6 misses print that differs from its ground by less than 12 of 255
  steps and PP-OCRv4 by less than 24; normalised both find 8. On receipts nothing changes (98 % of lines either way).
- Reference print is written below it, along its whole width. The network weighs everything by what it sees on average:
  where a picture has no text at all (a photograph, an X-ray), PP-OCRv6 scales its own noise up and calls the whole of
  it one region; and of small lines alone on a blank page (letters of 7 pixels, 1632 x 1632) it found 2 of 32 with one
  reference word below, 24 of 24 with a line of them.
- Fills of the guard become the mean of what surrounds them. To PP-OCRv4 a page of black bars is one giant letter, in
  which it no longer tells what was left beside the bars.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Box, Raster, Size
from guardedvlm.reading.session import open_session

FloatQuad = npt.NDArray[np.float64]
"""Corners (x, y) of a turned rectangle, shape (4, 2): top left, top right, bottom right, bottom left on the picture."""
ProbabilityMap = npt.NDArray[np.uint8]
"""Probability of text a pixel, 0..255."""
Grey = npt.NDArray[np.uint8]
"""Lightness, shape (height, width)."""
Mask = npt.NDArray[np.uint8]
"""Not 0 where the guard itself filled a pixel, shape (height, width)."""

STRIDE = 32
"""The network halves its input five times."""
LONGEST = 2
"""Most sides of `overview_side` that the first look is long."""
TILE_OVERLAP = 192
"""Pixels that neighbouring tiles share: more than the height of a line that the tiles, not the overview, must find."""
TILE_MARGIN = 32
"""Pixels at a tile's inner edges that are not used: there the network sees half of the context."""
MIN_CORE_SIDE = 2.0
"""Pixels of the probability map; a thinner core is noise of one row of pixels."""
NEIGHBOURHOODS = 12
"""Neighbourhoods along the long side: each holds several lines of print, so that no line sets its own contrast."""
NEIGHBOURHOOD_MIN = 31
FLAT_DEVIATION = 10.0
"""Steps of 255 added to the deviation. Less lifts JPEG noise of blank paper into regions: 6 gave a fifth more of them
on receipts, 10 gave a twentieth."""
CONTRAST = 50.0
"""Steps of 255 that one deviation becomes: print reaches black or white, paper does not."""
FILL_RIM = 2
"""Pixels around a fill that carry its colour too: the reach of a bicubic resize."""
REFERENCE_WIDTH, REFERENCE_HEIGHT = 320, 64
"""Pixels of one piece of reference print, which is repeated."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How eagerly probabilities become regions.

    PP-OCR's own values are 0.3, 0.5 and 1.6. With ours, on 816 labelled lines of 16 receipts, half as many lines are
    less than half covered (7 instead of 14), for one region more a receipt; what is read stays the same.
    """

    pixel: float = 0.2  # probability from which a pixel belongs to a core
    region: float = 0.3  # mean probability from which a rectangle is a region
    growth: float = 1.8  # DB's unclip ratio: the core is grown by area * growth / perimeter
    lift_side: int = 736  # a picture whose short side is smaller is enlarged
    overview_side: int = 2048  # pixels; the first look has at most as many as a square of this side


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Probability maps of a picture of `size`: of its overview, and of itself where the overview is smaller."""

    size: Size
    overview: ProbabilityMap
    tiled: ProbabilityMap | None


class TextDetector:
    """Finds text regions with one DB network."""

    def __init__(self, weights: Path, sensitivity: Sensitivity = Sensitivity()) -> None:
        self._session = open_session(weights)
        self._input = self._session.get_inputs()[0].name
        self._sensitivity = sensitivity

    def find(self, raster: Raster, known: Sequence[FloatQuad] = (), hidden: Mask | None = None) -> list[FloatQuad]:
        """Rectangles around the text of an (H, W, 3) RGB raster, in its pixels, clipped to it, but for `known` ones.

        `hidden` marks pixels that show the guard's own fill.
        """
        return self.rectangles(self.look(raster, hidden), known)

    def look(self, raster: Raster, hidden: Mask | None = None, within: Sequence[Box] | None = None) -> Look:
        """What the network makes of a raster: the costly half of `find`, which several threads may do at a time.

        Where `within` is given, the rest of the picture is not looked at; scale and contrast are the whole picture's
        all the same.
        """
        size = Size.of(raster)
        places = [size.box] if within is None else within
        overview = self._looked(self._overview(raster, hidden), size, places)
        shrunk = is_shrunk(size, self._sensitivity)
        return Look(size, overview, self._tiled(raster, hidden, places) if shrunk else None)

    def rectangles(self, look: Look, known: Sequence[FloatQuad] = ()) -> list[FloatQuad]:
        """The other half of `find`. `look` is used up."""
        quads = self._regions(look.overview, look.size, known)
        if look.tiled is not None:
            quads += self._regions(look.tiled, look.size, [*known, *quads])
        return quads

    def _overview(self, raster: Raster, hidden: Mask | None) -> Grey:
        look = overview_size(Size.of(raster), self._sensitivity)
        target = (look.width, look.height)
        shrunk = is_shrunk(Size.of(raster), self._sensitivity)
        small = cv2.resize(raster, target, interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR)
        if hidden is None:
            return toned(small)
        # A pixel is the guard's as soon as a part of it is: what is mixed with fill is no print either.
        share = cv2.resize((hidden != 0).astype(np.float32), target, interpolation=cv2.INTER_AREA)
        return toned(small, (share > 0).astype(np.uint8))

    def _looked(self, overview: Grey, size: Size, places: Sequence[Box]) -> ProbabilityMap:
        """Probability map of the overview; 0 outside of `places`, which are boxes of a picture of `size`."""
        seen = np.zeros_like(overview)
        for place in places:
            box = place.scaled(size, Size(overview.shape[1], overview.shape[0]))
            here = (slice(box.y0, box.y1), slice(box.x0, box.x1))
            np.maximum(seen[here], self._probabilities(overview[here]), out=seen[here])
        return seen

    def _tiled(self, raster: Raster, hidden: Mask | None, places: Sequence[Box]) -> ProbabilityMap:
        """Probability map of the picture itself; 0 in tiles that none of `places` reaches into."""
        stitched = np.zeros(raster.shape[:2], np.uint8)
        for rows, columns in tiles(Size.of(raster), self._sensitivity.overview_side):
            if not any(place.overlap(Box(columns.start, rows.start, columns.stop, rows.stop)) for place in places):
                continue
            seen = self._probabilities(toned(raster[rows, columns], None if hidden is None else hidden[rows, columns]))
            _blank_inner_edges(seen, rows, columns, stitched.shape)
            np.maximum(stitched[rows, columns], seen, out=stitched[rows, columns])
        return stitched

    def _probabilities(self, look: Grey) -> ProbabilityMap:
        """Probability map of the same size as `look`."""
        height, width = look.shape
        canvas = with_reference_line(look)
        # The network was trained on pixels scaled to -1..1; its three planes are the same grey.
        plane = canvas.astype(np.float32) / 127.5 - 1.0
        planes = np.broadcast_to(plane, (1, 3, *plane.shape))
        found = self._session.run(None, {self._input: np.ascontiguousarray(planes)})[0][0, 0, :height, :width]
        return np.ascontiguousarray(np.clip(found, 0.0, 1.0) * 255.0, np.uint8)

    def _regions(self, seen: ProbabilityMap, size: Size, known: Sequence[FloatQuad]) -> list[FloatQuad]:
        """Rectangles of a probability map of a picture of `size`, where `known` ones are not."""
        scale = np.array([size.width / seen.shape[1], size.height / seen.shape[0]])
        for quad in known:
            cv2.fillConvexPoly(seen, np.round(quad / scale).astype(np.int32), 0)
        return [_clipped(quad * scale, size) for quad in _rectangles(seen, self._sensitivity)]


def _rectangles(seen: ProbabilityMap, sensitivity: Sensitivity) -> Iterator[FloatQuad]:
    cores = (seen > sensitivity.pixel * 255).astype(np.uint8)
    cores = cv2.dilate(cores, np.ones((2, 2), np.uint8))
    contours, levels = cv2.findContours(cores, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, level in zip(contours, levels[0] if levels is not None else (), strict=True):
        if level[3] >= 0:  # the rim of a hole inside another core
            continue
        centre, (width, height), angle = cv2.minAreaRect(contour)
        core = cv2.boxPoints((centre, (width, height), angle))
        if min(width, height) < MIN_CORE_SIDE or _mean_inside(seen, core) < sensitivity.region * 255:
            continue
        grown = width * height * sensitivity.growth / (width + height)
        yield corners_on_picture(cv2.boxPoints((centre, (width + grown, height + grown), angle)))


def _mean_inside(seen: ProbabilityMap, quad: npt.NDArray[np.float32]) -> float:
    x, y, width, height = cv2.boundingRect(np.floor(quad).astype(np.int32))
    x0, y0 = max(x, 0), max(y, 0)
    window = seen[y0 : y + height + 1, x0 : x + width + 1]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(quad - (x0, y0)).astype(np.int32), 1)
    return float(cv2.mean(window, mask)[0])


def corners_on_picture(points: npt.NDArray[Any]) -> FloatQuad:
    """The four corners as top left, top right, bottom right, bottom left on the picture."""
    by_x = points[np.argsort(points[:, 0], kind="stable")].astype(np.float64)
    left, right = by_x[:2], by_x[2:]
    (top_left, bottom_left), (top_right, bottom_right) = (
        side[np.argsort(side[:, 1], kind="stable")] for side in (left, right)
    )
    return np.stack([top_left, top_right, bottom_right, bottom_left])


def overview_size(size: Size, sensitivity: Sensitivity) -> Size:
    """Size of the first look at a picture of `size`: sides are multiples of STRIDE, pixels and sides are bounded."""
    scale = _overview_scale(size, sensitivity)
    return Size(
        max(1, math.floor(size.width * scale / STRIDE + 0.5)) * STRIDE,
        max(1, math.floor(size.height * scale / STRIDE + 0.5)) * STRIDE,
    )


def is_shrunk(size: Size, sensitivity: Sensitivity) -> bool:
    """Whether the first look at a picture of `size` shows less than the picture does."""
    return _overview_scale(size, sensitivity) < 1.0


def _overview_scale(size: Size, sensitivity: Sensitivity) -> float:
    side = sensitivity.overview_side
    lift = max(1.0, sensitivity.lift_side / min(size.width, size.height))
    return min(lift, side / math.sqrt(size.width * size.height), LONGEST * side / max(size.width, size.height))


def tiles(size: Size, side: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of overlapping tiles of at most `side` pixels that cover a picture of `size`."""
    for rows in _cuts(size.height, side):
        for columns in _cuts(size.width, side):
            yield rows, columns


def _cuts(length: int, side: int) -> Iterator[slice]:
    """As few cuts as can be, all of one length: the network's work is the pixels of all tiles."""
    count = 1 if length <= side else math.ceil((length - TILE_OVERLAP) / (side - TILE_OVERLAP))
    cut = min(length, math.ceil((length - TILE_OVERLAP) / count) + TILE_OVERLAP)
    for index in range(count):
        # Spread evenly: the overlap is at least TILE_OVERLAP.
        start = 0 if count == 1 else round(index * (length - cut) / (count - 1))
        yield slice(start, start + cut)


def _blank_inner_edges(seen: ProbabilityMap, rows: slice, columns: slice, shape: tuple[int, ...]) -> None:
    """Forget a tile's rim, except where it is the picture's own."""
    if rows.start > 0:
        seen[:TILE_MARGIN] = 0
    if rows.stop < shape[0]:
        seen[-TILE_MARGIN:] = 0
    if columns.start > 0:
        seen[:, :TILE_MARGIN] = 0
    if columns.stop < shape[1]:
        seen[:, -TILE_MARGIN:] = 0


def _clipped(quad: FloatQuad, size: Size) -> FloatQuad:
    return np.clip(quad, 0.0, [size.width, size.height])


def toned(raster: Raster, hidden: Mask | None = None) -> Grey:
    """Lightness with mean 128 and equal contrast in every neighbourhood; `hidden` pixels and their rim are 128."""
    grey = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = max(NEIGHBOURHOOD_MIN, max(grey.shape) // NEIGHBOURHOODS)
    seen = np.ones_like(grey)
    if hidden is not None:
        rim = 2 * FILL_RIM + 1
        seen[cv2.dilate((hidden != 0).astype(np.uint8), np.ones((rim, rim), np.uint8)) > 0] = 0.0
    share = np.maximum(cv2.blur(seen, (side, side)), 1.0 / (side * side))
    mean = cv2.blur(grey * seen, (side, side)) / share
    square = cv2.blur(grey * grey * seen, (side, side)) / share
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    contrast = (grey - mean) * seen / (deviation + FLAT_DEVIATION) * CONTRAST
    return np.asarray(np.clip(128.0 + contrast, 0.0, 255.0), np.uint8)


def with_reference_line(grey: Grey) -> Grey:
    """The picture with reference print below it, padded at the right and at the bottom to multiples of STRIDE."""
    height, width = grey.shape
    reference = np.full((REFERENCE_HEIGHT, REFERENCE_WIDTH), 255, np.uint8)
    cv2.putText(reference, "Reference 0123", (12, 42), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 0, 2, cv2.LINE_AA)
    padded_height, padded_width = -(-height // STRIDE) * STRIDE, max(-(-width // STRIDE) * STRIDE, REFERENCE_WIDTH)
    canvas = np.full((padded_height + REFERENCE_HEIGHT, padded_width), 255, np.uint8)
    canvas[:height, :width] = grey
    # The rim is continued: a hard edge beside cut letters would hide them.
    canvas[height:padded_height, :width] = grey[-1:]
    canvas[:padded_height, width:] = canvas[:padded_height, width - 1 : width]
    for x in range(0, padded_width - REFERENCE_WIDTH + 1, REFERENCE_WIDTH):
        canvas[padded_height:, x : x + REFERENCE_WIDTH] = reference
    return canvas
