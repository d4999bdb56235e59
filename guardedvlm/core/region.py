"""Integer pixel boxes and picture geometries.

Pixel coordinates: x to the right, y down, origin at the top left corner of the top left pixel. Boxes are half-open:
x0 <= x < x1. Everything here is exact integer arithmetic that rounds outwards, so that a hidden area never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

import numpy as np
import numpy.typing as npt

Raster = npt.NDArray[np.uint8]
"""Pixels: uint8, shape (height, width, 3), RGB, C-contiguous."""

Point = tuple[int, int]
Quad = tuple[Point, Point, Point, Point]
"""Corners of a turned rectangle in reading order: top left, top right, bottom right, bottom left of the *text*."""

RasterDigest = NewType("RasterDigest", str)


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A half-open integer pixel box. Raises ValueError when it is empty."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError("empty box")

    @classmethod
    def around(cls, points: Iterable[tuple[float, float]]) -> Box:
        """Smallest integer box that contains every point (x, y), at least one pixel wide and high."""
        xs, ys = zip(*points, strict=True)
        x0, y0 = math.floor(min(xs)), math.floor(min(ys))
        return cls(x0, y0, max(math.ceil(max(xs)), x0 + 1), max(math.ceil(max(ys)), y0 + 1))

    @property
    def width(self) -> int:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """In pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> int:
        """In square pixels."""
        return self.width * self.height

    def intersection(self, other: Box) -> Box | None:
        """The common box, or None."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def overlap(self, other: Box) -> int:
        """Common area in square pixels."""
        common = self.intersection(other)
        return common.area if common else 0

    def union(self, other: Box) -> Box:
        """Smallest box that contains both."""
        return Box(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))

    def grown(self, dx: int, dy: int | None = None) -> Box:
        """The box with `dx` pixels more at left and right and `dy` (default `dx`) at top and bottom."""
        dy = dx if dy is None else dy
        return Box(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)

    def clipped(self, size: Size) -> Box | None:
        """The part inside a picture of `size`, or None when nothing is."""
        return self.intersection(Box(0, 0, size.width, size.height))

    def scaled(self, source: Size, target: Size) -> Box:
        """The box in `target` that covers this box of `source`; rounds outwards."""
        return Box(
            self.x0 * target.width // source.width,
            self.y0 * target.height // source.height,
            -(-self.x1 * target.width // source.width),
            -(-self.y1 * target.height // source.height),
        )


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError("empty size")

    @classmethod
    def of(cls, raster: Raster) -> Size:
        """Size of an (H, W, 3) raster."""
        return cls(int(raster.shape[1]), int(raster.shape[0]))

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def box(self) -> Box:
        """The whole picture."""
        return Box(0, 0, self.width, self.height)


class Fit(StrEnum):
    """How a page becomes the engine's input."""

    SQUASH = "squash"
    """Exactly width x height, aspect ratio not kept (CogVLM2: 1344 x 1344)."""
    WITHIN = "within"
    """The page itself; scaled down, aspect ratio kept, when it is wider or higher than the limit (reader)."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What an engine declares in GetCapacity: the only pixels it takes."""

    fit: Fit
    width: int
    height: int

    def target(self, source: Size) -> Size:
        """Size of the raster that a page of size `source` becomes."""
        if self.fit is Fit.SQUASH:
            return Size(self.width, self.height)
        scale = min(1.0, self.width / source.width, self.height / source.height)
        return Size(max(1, round(source.width * scale)), max(1, round(source.height * scale)))


def scale_quad(quad: Quad, source: Size, target: Size) -> Quad:
    """Corners of `quad` in a picture resized from `source` to `target`, rounded to the nearest pixel."""
    corners = tuple((round(x * target.width / source.width), round(y * target.height / source.height)) for x, y in quad)
    return corners[0], corners[1], corners[2], corners[3]
