"""Ink that no character accounts for: letters that the recogniser skipped.

Out of a name in letters that it does not know a recogniser makes the few that look like Latin ones, confidently
("Иvan Kuzneцov" becomes "van uznev", 0.92). Every run of ink along a line must have a character over it; where one has
none stands UNREAD. Measured on 190 rightly read lines of receipts: 1 has such a run; of 7 names in Cyrillic and Greek
that were read wrongly all have, but for those whose every letter looks like a Latin one.
"""

from __future__ import annotations

import cv2
import numpy as np

from guardedvlm.core.region import Raster
from guardedvlm.core.word import UNREAD
from guardedvlm.reading.recognition import Reading

INK_SHARE = 0.4
"""Share of the strongest contrast of the line from which a pixel is ink."""
STRONGEST = 98
"""Percentile of contrast that stands for the strongest: a speck is none."""
RIM_SHARE = 0.12
"""Share of the crop's height, above and below, that is not looked at: neighbouring lines reach into it."""
COLUMN_SHARE = 0.1
"""Share of the crop's height that the ink of a column has: dust has less."""
REACH = 0.22
"""Heights beside a run of ink within which a character counts as over it: places of characters are estimates. With 0.12
3 % of rightly read lines have a run without one. One narrow letter between two others is not told, so."""
LEAST_RUN = 0.3
"""Heights that a run of ink is wide so as to be a letter: rules, brackets and dots are narrower."""
SMOOTHING = 1 / 48
"""Heights over which contrast is smoothed, at least half a pixel."""


def with_unread(crop: Raster, reading: Reading) -> Reading:
    """The reading of a straightened line with UNREAD wherever ink has no character."""
    if not reading.text:
        return reading
    height, width = crop.shape[:2]
    taken = np.array([at for at, sign in zip(reading.centres, reading.text, strict=True) if not sign.isspace()]) * width
    signs = list(zip(reading.centres, reading.text, strict=True))
    missing = [
        ((start + end) / 2 / width, UNREAD)
        for start, end in _runs(crop)
        if end - start >= LEAST_RUN * height
        and not ((taken >= start - REACH * height) & (taken <= end + REACH * height)).any()
    ]
    if not missing:
        return reading
    # Sorted by place alone: of two at one place the reader's order stands.
    signs = sorted([*signs, *missing], key=lambda sign: sign[0])
    return Reading("".join(sign for _, sign in signs), reading.confidence, tuple(at for at, _ in signs))


def _runs(crop: Raster) -> list[tuple[int, int]]:
    """Runs of columns with ink, half-open, in pixels."""
    height = crop.shape[0]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    contrast = cv2.GaussianBlur(np.abs(grey - np.median(grey)), (0, 0), max(0.5, height * SMOOTHING))
    ink = contrast >= INK_SHARE * np.percentile(contrast, STRONGEST)
    rim = int(RIM_SHARE * height)
    columns = ink[rim : height - rim].sum(axis=0) >= max(1.0, COLUMN_SHARE * height)
    edges = np.flatnonzero(np.diff(columns.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
