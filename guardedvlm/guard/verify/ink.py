"""Is there writing in what nothing explains? Blank paper, specks and ruled lines are none.

Text detectors report them, no recogniser can read them, and they say nothing. Were they residuals, every third receipt
with a dashed line would be refused: verification finds a piece of a line and hides it, then the detector finds the
next.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.guard.detect.quads import runs_down, text_height, text_length

LEAST_CONTRAST = 8.0
"""Steps of 255 in any colour by which ink differs from its ground: print below it is found by neither text detector."""
NOISE = 5.0
"""Median deviations of the ground by which ink stands out of its noise."""
MOST_NOISE = 24.0
"""Steps of 255 from which on everything is ink, however noisy the ground."""
LEAST_STROKE = 4
"""Pixels across the text that a stroke of a letter has: the x-height of capitals of 5 pixels is 3.6."""
LEAST_HEIGHT = 8.0
"""Pixels of a region's height: capitals of 5 pixels, the smallest that people can read, make regions of 9 pixels and
more (PP-OCRv4, 60 rendered lines of 5 to 12 pixels)."""
RULE_HEIGHT = 5
"""Most pixels across a ruled line, where its ink has at least half of its full contrast (dashes of receipts: 1 to
5)."""
RULE_SHARE = 0.4
"""Most of its region's height that a ruled line takes: dashes of receipts take a fifth to a third."""
HAIRLINE = 2
"""Pixels. No letters are as low as this, so nothing more is asked of such a line."""
SOLID = 0.9
"""Least share of ink between the upper and the lower edge, along the line: dashes 1.0; letters have holes."""
EVEN = 0.3
"""Most variation of thickness along the line (standard deviation by mean), without the rounded ends of dashes and dots:
dashes 0.20 to 0.30 (12 receipts). Words at 7 pixels and more vary more, but for a few such as "vwv" (26 strings, four
typefaces)."""
LEAST_LENGTH = 1.5
"""Least length of a dash in its thickness, on average: words of capitals of 5 pixels ("MMsM") reach 1.33 and are as
solid and even as dashes (12,000 random words). Dots are shorter, but all alike."""
MOST_DIFFERENCE = 1
"""Pixels by which the dots of a dotted line differ in length, and the gaps between them: where sampling put them."""
LEAST_DOTS = 6
"""Dots that show their regularity; fewer are taken for letters."""
HALF = 0.5
RULE_RIM = 2
"""Pixels above and below a ruled line that its blur reaches."""

Bits = npt.NDArray[np.bool_]
Lengths = npt.NDArray[np.intp]


def shows_writing(raster: Raster, window: Box, rest: Bits, quad: Quad) -> bool:
    """False where the pixels `rest` of `window` hold nothing that could be read: no strokes, a speck, or a ruled line.

    `window` is the part of `raster` around the region `quad`. Strokes stand out of the ground's noise in any colour; a
    letter on, over or beside a line is writing, however much fainter than the line it is.
    """
    if not rest.any() or _is_speck(quad, Size.of(raster)):
        return False
    colours = raster[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    distance = np.abs(colours - np.median(colours[rest], axis=0)).max(axis=2)
    contrast = np.where(rest, distance, 0.0)
    if runs_down(quad):
        contrast, rest = contrast.T, rest.T
    least = max(LEAST_CONTRAST, min(MOST_NOISE, NOISE * float(np.median(contrast[rest]))))
    if not _has_strokes(contrast >= least):
        return False
    ink = contrast >= HALF * contrast.max()
    if not _is_rule(ink, text_height(quad)):
        return True
    rows = np.flatnonzero(ink.any(axis=1))
    beside = contrast.copy()
    beside[max(0, rows[0] - RULE_RIM) : rows[-1] + 1 + RULE_RIM] = 0.0
    return _has_strokes(beside >= least)


def _has_strokes(ink: Bits) -> bool:
    """True where connected ink reaches over as many rows as a letter's stroke does."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    return bool(count > 1 and stats[1:, cv2.CC_STAT_HEIGHT].max() >= LEAST_STROKE)


def _is_speck(quad: Quad, size: Size) -> bool:
    """True for a region too low for letters; at the picture's border it may be the rest of higher ones."""
    around = Box.around(quad)
    inside = around.x0 > 0 and around.y0 > 0 and around.x1 < size.width and around.y1 < size.height
    # A narrow, high region is as likely a lone "1" as text that runs down.
    low = text_length(quad) if runs_down(quad) else text_height(quad)
    return inside and low < LEAST_HEIGHT


def _is_rule(ink: Bits, height: float) -> bool:
    """True where all ink of a region, `height` high, lies on a thin line along the rows."""
    rows = np.flatnonzero(ink.any(axis=1))
    thickness = int(rows[-1] - rows[0] + 1)
    if thickness > min(RULE_HEIGHT, RULE_SHARE * height):
        return False
    return thickness <= HAIRLINE or _is_even(ink, thickness)


def _is_even(ink: Bits, thickness: int) -> bool:
    """True for dashes and dots: solid, equally thick all along, and clearly longer than thick or all alike."""
    inked = np.asarray(ink.any(axis=0))
    strokes = ink[:, inked]
    filled = strokes.sum(axis=0)
    extent = len(strokes) - strokes.argmax(axis=0) - strokes[::-1].argmax(axis=0)
    edges = np.flatnonzero(np.diff(inked.astype(np.int8), prepend=0, append=0))
    lengths, gaps = edges[1::2] - edges[::2], edges[2::2] - edges[1:-1:2]
    inner = filled[_has_neighbours(inked)[inked]]
    thick = inner if inner.size >= lengths.size else filled
    solid = (filled / extent).mean() >= SOLID
    even = thick.std() <= EVEN * thick.mean()
    return bool(solid and even and (lengths.mean() >= LEAST_LENGTH * thickness or _are_dots(lengths, gaps)))


def _are_dots(lengths: Lengths, gaps: Lengths) -> bool:
    """True for many that are equally long and equally far apart; the region may cut the first and the last."""
    return bool(lengths.size >= LEAST_DOTS and max(np.ptp(lengths[1:-1]), np.ptp(gaps)) <= MOST_DIFFERENCE)


def _has_neighbours(inked: Bits) -> Bits:
    """Inked columns between inked ones: not the end of a dash."""
    padded = np.pad(inked, 1)
    return inked & padded[:-2] & padded[2:]
