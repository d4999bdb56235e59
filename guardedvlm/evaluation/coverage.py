"""Which pixels of a redacted picture show nothing of the source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Box, Raster, Size

Mask = npt.NDArray[np.bool_]

RESAMPLED = 24
"""Steps of 255 by which a pixel near a fill may change in a resize and still show what it showed."""
HALF = 0.5


def filled_mask(before: Raster, after: Raster, regions: Iterable[Box], *, resampled: bool = False) -> Mask:
    """(H, W): pixels of `after` that differ from the source's, or are black or white within a reported region.

    Black print under a black fill does not differ, hence the second half. `regions` are in pixels of `after`.
    `resampled`: the rasters were resized, so that small differences do not count.
    """
    reported = np.zeros(before.shape[:2], np.bool_)
    for box in regions:
        reported[max(0, box.y0) : box.y1, max(0, box.x0) : box.x1] = True
    constant = (after == 0).all(axis=2) | (after == 255).all(axis=2)
    difference = np.abs(before.astype(np.int16) - after).max(axis=2)
    filled: Mask = (difference > (RESAMPLED if resampled else 0)) | (reported & constant)
    return filled


def share_of(mask: Mask, box: Box) -> float:
    """The share of a box under a mask; 0 outside the picture."""
    part = mask[max(box.y0, 0) : box.y1, max(box.x0, 0) : box.x1]
    return float(part.mean()) if part.size else 0.0


def ink_of(raster: Raster, box: Box) -> Mask:
    """(h, w) of a box's part of the picture: pixels that differ from its median colour by half of the most that any
    does. All of it where nothing differs."""
    inside = box.clipped(Size.of(raster))
    if inside is None:
        return np.ones((box.height, box.width), np.bool_)
    part = raster[inside.y0 : inside.y1, inside.x0 : inside.x1].astype(np.float32)
    distance = np.abs(part - np.median(part.reshape(-1, 3), axis=0)).max(axis=2)
    ink: Mask = distance >= HALF * distance.max()
    return ink


def covered_ink(filled: Mask, ink: Mask, box: Box) -> float:
    """The share of a label's ink that is filled."""
    inside = box.clipped(Size(filled.shape[1], filled.shape[0]))
    if inside is None or not ink.any():
        return 1.0
    return float(filled[inside.y0 : inside.y1, inside.x0 : inside.x1][ink].mean())
