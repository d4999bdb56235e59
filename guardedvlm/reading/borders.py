"""Borders between neighbouring lines: the middle of the strip that their rectangles share.

Text detectors give rectangles that reach beyond the ink, so those of closely set lines overlap, by a quarter of their
height on receipts. Whoever hides one line would cut into the next. The ink of both is equally far from the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from guardedvlm.reading.regions import FloatQuad

MOST_SHARED = 0.45
"""Share of the lower line's height up to which two rectangles are neighbours; more of it are two readings of one
line."""
LEAST_BESIDE = 0.1
"""Share of the shorter line's length along which two neighbours lie below each other."""
PARALLEL = 0.98
"""Least cosine between the directions of two lines that are neighbours: 11 degrees."""


def parted(quads: Sequence[FloatQuad]) -> list[FloatQuad]:
    """The same rectangles, those of neighbouring lines drawn back to the middle of what they share.

    Lines that run down the picture, and lines that share more than neighbours do, stay as they are.
    """
    cut = [np.zeros(2) for _ in quads]  # pixels off the upper and off the lower edge
    for upper, lower, shared in _neighbours(quads):
        cut[upper][1] = max(cut[upper][1], shared / 2)
        cut[lower][0] = max(cut[lower][0], shared / 2)
    return [_drawn_back(quad, *cuts) for quad, cuts in zip(quads, cut, strict=True)]


def _neighbours(quads: Sequence[FloatQuad]) -> Iterator[tuple[int, int, float]]:
    """Index of the upper and of the lower line, and the pixels that they share across their direction."""
    if not quads:
        return
    boxes = np.array([[*quad.min(axis=0), *quad.max(axis=0)] for quad in quads])
    for index, box in enumerate(boxes):
        overlaps = (boxes[:, :2] < box[2:]).all(axis=1) & (boxes[:, 2:] > box[:2]).all(axis=1)
        for other in np.flatnonzero(overlaps).tolist():
            if (shared := _shared(quads[index], quads[other])) > 0:
                yield index, other, shared


def _shared(upper: FloatQuad, lower: FloatQuad) -> float:
    """Pixels that `upper` reaches into its neighbour `lower`; 0 where they are no such neighbours."""
    along, height = _frame(upper)
    other, other_height = _frame(lower)
    if not along.any() or along @ other < PARALLEL:
        return 0.0
    down = np.array([-along[1], along[0]])
    start, end = max((upper @ along).min(), (lower @ along).min()), min((upper @ along).max(), (lower @ along).max())
    if end - start < LEAST_BESIDE * min(np.ptp(upper @ along), np.ptp(lower @ along)):
        return 0.0
    # Both edges where the lines lie below each other: neighbours need not be exactly parallel.
    middle = (start + end) / 2
    shared = _depth(upper[3], upper[2], along, down, middle) - _depth(lower[0], lower[1], along, down, middle)
    if _depth(lower[3], lower[2], along, down, middle) <= _depth(upper[3], upper[2], along, down, middle):
        return 0.0  # inside, not below
    return float(shared) if 0 < shared < MOST_SHARED * min(height, other_height) else 0.0


def _frame(quad: FloatQuad) -> tuple[npt.NDArray[np.float64], float]:
    """Unit vector along a line, zero for one that is higher than wide, and the line's height."""
    across, down = quad[1] - quad[0] + quad[2] - quad[3], quad[3] - quad[0] + quad[2] - quad[1]
    length, height = float(np.linalg.norm(across)) / 2, float(np.linalg.norm(down)) / 2
    return (across / (2 * length) if length > height else np.zeros(2)), height


def _depth(
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    along: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    at: float,
) -> float:
    """Depth of the edge from `left` to `right` at the place `at` along the line."""
    start, end = float(left @ along), float(right @ along)
    share = (at - start) / (end - start) if end > start else 0.0
    return float((left + share * (right - left)) @ down)


def _drawn_back(quad: FloatQuad, above: float, below: float) -> FloatQuad:
    if not above and not below:
        return quad
    along, _ = _frame(quad)
    down = np.array([-along[1], along[0]])
    return np.asarray(quad + np.array([above, above, -below, -below])[:, None] * down, np.float64)
