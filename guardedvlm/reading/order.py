"""Reading order: rows from top to bottom, in a row from left to right, as the page's own text is turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from guardedvlm.core.word import TextLine

SAME_ROW = 0.5
"""Share of the lower line's height by which centres in one row may differ."""
Vector = npt.NDArray[np.float64]


def in_reading_order(lines: Sequence[TextLine]) -> tuple[TextLine, ...]:
    """The same lines, sorted. The page's direction is the one in which most of its text runs, skew included."""
    if not lines:
        return ()
    along = _direction(lines)
    down = np.array([-along[1], along[0]])
    centres = np.array([np.mean(line.quad, axis=0) for line in lines])
    depth, reach = centres @ down, centres @ along
    heights = [_height(line, down) for line in lines]
    rows: list[list[int]] = []
    for index in np.argsort(depth, kind="stable"):
        row = rows[-1] if rows else []
        if row and depth[index] - np.mean(depth[row]) <= SAME_ROW * min(heights[index], *(heights[i] for i in row)):
            row.append(index)
        else:
            rows.append([index])
    return tuple(lines[index] for row in rows for index in sorted(row, key=lambda i: float(reach[i])))


def _direction(lines: Sequence[TextLine]) -> Vector:
    """Unit vector of the page's reading direction."""
    edges = np.array([np.subtract(line.quad[1], line.quad[0]) for line in lines], np.float64)
    quarters = np.round(np.degrees(np.arctan2(edges[:, 1], edges[:, 0])) / 90).astype(int) % 4
    # Lengths count once: two letters that were read sideways do not turn the page.
    lengths = np.linalg.norm(edges, axis=1)
    main = max(range(4), key=lambda quarter: float(lengths[quarters == quarter].sum()))
    total = edges[quarters == main].sum(axis=0)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm if norm else np.array([1.0, 0.0]), np.float64)


def _height(line: TextLine, down: Vector) -> float:
    reach = np.asarray(line.quad, np.float64) @ down
    return max(1.0, float(np.ptp(reach)))
