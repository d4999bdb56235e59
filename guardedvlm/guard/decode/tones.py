"""Deep samples (16 or 32 bits, floating point) to 8 bits, so that nothing legible gets lost.

The range is that of the values themselves, never a window that the file asks for: text that a window hides would be
invisible to the detectors. What an 8-bit page cannot show is not in the page, so it cannot reach the model either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason

Samples = npt.NDArray[Any]

SQUEEZED = 4.0
"""A few extreme samples (a hot pixel, a marker burned in at the top of the range) may stretch the range to at most this
multiple of what all others use; beyond it they saturate, for otherwise the others would share less than a quarter of
the 256 tones and their text could sink below what a detector sees."""
TAIL_PERCENT = 0.1
"""Share of the samples at either end that counts as "a few", in percent."""
SURVEYED = 1_000_000
"""Samples looked at for the percentiles."""
BLOCK = 1_000_000
"""Samples turned at a time: float64 copies of a whole page would need eight bytes a sample."""


def stretch(samples: Samples, padding: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Map samples linearly to 0..255 over the range that they use; same shape, monotone, NaN becomes 0.

    `padding` is a closed interval of values that stand for "no sample" (DICOM): they saturate and do not count for the
    range. Raises InvalidInput(IMAGE_CORRUPT) when no sample is finite or their range is not.
    """
    low, high = _range(samples.reshape(-1), padding)
    span = high - low
    if not np.isfinite(span):
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    flat = np.ascontiguousarray(samples).reshape(-1)
    tones = np.zeros(flat.shape, np.uint8)
    if span > 0:
        for start in range(0, flat.size, BLOCK):
            block = np.nan_to_num(flat[start : start + BLOCK].astype(np.float64), nan=low, posinf=high, neginf=low)
            tones[start : start + BLOCK] = np.rint((np.clip(block, low, high) - low) * (255.0 / span))
    return tones.reshape(samples.shape)


def gray_to_rgb(tones: npt.NDArray[np.uint8]) -> Raster:
    """An (H, W) picture as (H, W, 3)."""
    return np.repeat(tones[:, :, None], 3, axis=2)


def _range(flat: Samples, padding: tuple[float, float] | None) -> tuple[float, float]:
    lows, highs = [], []
    for start in range(0, flat.size, BLOCK):
        block = _counted(flat[start : start + BLOCK], padding)
        if block.size:
            lows.append(float(block.min()))
            highs.append(float(block.max()))
    if not lows:
        return _range(flat, None) if padding else _no_sample()
    low, high = min(lows), max(highs)
    # An odd step: an even one would visit the same few columns of every row of a picture of even width.
    survey = _counted(flat[:: flat.size // SURVEYED | 1], padding)
    if not survey.size:
        return low, high
    body_low, body_high = (float(v) for v in np.percentile(survey, [TAIL_PERCENT, 100 - TAIL_PERCENT]))
    body = body_high - body_low
    if body > 0 and high - low > SQUEEZED * body:
        room = (SQUEEZED - 1) / 2 * body
        low, high = max(low, body_low - room), min(high, body_high + room)
    return low, high


def _counted(block: Samples, padding: tuple[float, float] | None) -> Samples:
    """The samples that count for the range."""
    if block.dtype.kind == "f":
        block = block[np.isfinite(block)]
    if padding is not None:
        block = block[(block < padding[0]) | (block > padding[1])]
    return block


def _no_sample() -> tuple[float, float]:
    raise InvalidInput(Reason.IMAGE_CORRUPT)
