"""Ruled and dashed lines: ink that text detectors report, that no recogniser can read, and that says nothing.

Without this, receipts with dashed lines would be refused (2 of 12): verification finds a piece of a line and hides it,
and then the detector finds the next piece.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Box, Quad, Raster
from guardedvlm.guard.detect.quads import runs_down, text_height

RULE_HEIGHT = 5
"""Most pixels across a line, where its ink has at least half of its full contrast: dashes of printed receipts measured
1 to 5. The smallest letters that people can read are as high, so a line must look like one too."""
RULE_SHARE = 0.4
"""Most of its region's height that a line takes: text fills about two thirds of the region that a detector draws
around it, dashes a fifth to a third."""
HAIRLINE = 2
"""Pixels. No letters are as low as this, so nothing more is asked of such a line."""
SOLID = 0.9
"""Least share of ink between the upper and the lower edge, along the line: dashes 1.0; letters have holes."""
EVEN = 0.3
"""Most variation of thickness along the line (standard deviation by mean): dashes 0.20 to 0.29 (12 receipts). Words at
7 pixels and more vary more, but for a few such as "vwv" (26 strings, four typefaces)."""
HALF = 0.5
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


def is_rule(raster: Raster, window: Box, rest: npt.NDArray[np.bool_], quad: Quad) -> bool:
    """True where the pixels `rest` of `window` show a thin even line along `quad`, or nothing at all.

    Whatever stands out half as much as the line, anywhere in `rest`, counts: a letter beside a dash makes it writing.
    Strokes across the direction of the text ("l", "1") are writing.
    """
    if not rest.any():
        return True
    grey = raster[window.y0 : window.y1, window.x0 : window.x1] @ np.array(LUMA)
    contrast = np.where(rest, np.abs(grey - np.median(grey[rest])), 0.0)
    if contrast.max() == 0:
        return True
    ink = contrast >= HALF * contrast.max()
    if runs_down(quad):
        ink = ink.T
    rows = np.flatnonzero(ink.any(axis=1))
    thickness = int(rows[-1] - rows[0] + 1)
    if thickness > min(RULE_HEIGHT, RULE_SHARE * text_height(quad)):
        return False
    return thickness <= HAIRLINE or _is_even(ink, thickness)


def _is_even(ink: npt.NDArray[np.bool_], thickness: int) -> bool:
    """True for dashes: solid, equally thick all along, and longer than thick."""
    inked = ink.any(axis=0)
    strokes = ink[:, inked]
    filled = strokes.sum(axis=0)
    extent = len(strokes) - strokes.argmax(axis=0) - strokes[::-1].argmax(axis=0)
    dashes = np.count_nonzero(np.diff(inked.astype(np.int8), prepend=0) == 1)
    solid = (filled / extent).mean() >= SOLID
    even = filled.std() <= EVEN * filled.mean()
    return bool(solid and even and len(filled) >= dashes * thickness)
