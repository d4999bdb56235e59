"""Turned rectangles: what touches what, measured along the middle line of the text.

Boxes of neighbouring lines and words overlap at their edges (OCR boxes are loose), so common area says little about
whether two regions hold the same characters. The middle line of a word does: whatever covers it covers the characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from guardedvlm.core.finding import Finding
from guardedvlm.core.region import Box, Quad
from guardedvlm.core.word import TextLine, Word

Spot = tuple[float, float]
Segment = tuple[Spot, Spot]

TOUCH_SHARE = 0.3
"""Part of the text height that must be covered before a word counts as touched: less than the narrow half of a
character (characters advance by about 0.5 text heights: median of 330 lines of receipts), more than the slack of OCR
boxes."""
TALLEST = 2.0
"""A region taller than this many widths holds text that runs down: the regions of lone characters are at most 1.5
times as tall as wide (21 of them on eight receipts)."""
BOX_SHARE = 0.9
"""A quad that fills this part of the box around it is upright: its box is the same region and never smaller."""


def box_quad(box: Box) -> Quad:
    """Corners of an upright box."""
    return (box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)


def area(quad: Quad) -> float:
    """Area in square pixels (shoelace formula)."""
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in _edges(quad))) / 2


def is_convex(quad: Quad) -> bool:
    """True for a quad with four real corners that all turn the same way."""
    turns = [
        (bx - ax) * (cy - by) - (by - ay) * (cx - bx)
        for (ax, ay), (bx, by), (cx, cy) in zip(quad, quad[1:] + quad[:1], quad[2:] + quad[:2], strict=True)
    ]
    return all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)


def shape(thing: Finding | Word | TextLine) -> Quad:
    """The region of a finding, word or line: its quad where it is turned, else its box; never less than either says.

    A quad that is not convex, or does not reach to the edges of its box, is not trusted: the box around both counts.
    """
    if thing.quad is None:
        return box_quad(thing.box)
    around = Box.around(thing.quad)
    reaches = around.grown(2).intersection(thing.box) == thing.box
    if reaches and is_convex(thing.quad) and area(thing.quad) < BOX_SHARE * around.area:
        return thing.quad
    return box_quad(thing.box.union(around))


def runs_down(quad: Quad) -> bool:
    """True where text runs from the top edge to the bottom edge: the reader gave no reading order, only a tall box."""
    across, down = _sides(quad)
    return down > TALLEST * across


def text_length(quad: Quad) -> float:
    """Extent in pixels in the direction in which text runs."""
    across, down = _sides(quad)
    return down if runs_down(quad) else across


def text_height(quad: Quad) -> float:
    """Extent in pixels across the direction in which text runs, at least 1."""
    across, down = _sides(quad)
    return max(1.0, across if runs_down(quad) else down)


def midline(quad: Quad) -> Segment:
    """The middle line along which text runs."""
    tl, tr, br, bl = quad
    return (_middle(tl, tr), _middle(bl, br)) if runs_down(quad) else (_middle(tl, bl), _middle(tr, br))


def covered_part(segment: Segment, quad: Quad) -> tuple[float, float] | None:
    """The part [t0, t1] of `segment` (0 = start, 1 = end) that lies in the convex `quad`, or None (Cyrus and Beck,
    1978)."""
    (px, py), (qx, qy) = segment
    dx, dy = qx - px, qy - py
    t0, t1 = 0.0, 1.0
    side = 1.0 if sum(ax * by - bx * ay for (ax, ay), (bx, by) in _edges(quad)) > 0 else -1.0
    for (ax, ay), (bx, by) in _edges(quad):
        ex, ey = bx - ax, by - ay
        inside = side * (ex * (py - ay) - ey * (px - ax))  # > 0: the start lies on the inner side of this edge
        change = side * (ex * dy - ey * dx)
        if change == 0:
            if inside < 0:
                return None
        elif change > 0:
            t0 = max(t0, -inside / change)
        else:
            t1 = min(t1, -inside / change)
    return (t0, t1) if t1 > t0 else None


def _slack(text: Quad) -> float:
    return TOUCH_SHARE * min(text_height(text), text_length(text))


def touches(region: Quad, text: Quad) -> bool:
    """True where `region` covers a noticeable piece of the middle line of `text`."""
    return _covered_length([region], text) > _slack(text)


def covers(regions: Iterable[Quad], text: Quad) -> bool:
    """True where `regions` together leave no noticeable piece of the middle line of `text` free."""
    return text_length(text) - _covered_length(regions, text) <= _slack(text)


def grown(quad: Quad, along: float, across: float, *, forward: float = 0.0, backward: float = 0.0) -> Quad:
    """`quad` with `along` pixels more at both ends of its text and `across` at both sides.

    `forward` comes on top at the end of the text, `backward` at its start. Corners are rounded outwards.
    """
    tl, tr, br, bl = quad
    right, down = _direction(tl, tr, bl, br), _direction(tl, bl, tr, br)
    wide = not runs_down(quad)
    ahead, beside = (along, across) if wide else (across, along)
    right_more, left_more = (forward, backward) if wide else (0.0, 0.0)
    down_more, up_more = (0.0, 0.0) if wide else (forward, backward)
    centre = (sum(x for x, _ in quad) / 4, sum(y for _, y in quad) / 4)

    def moved(corner: Spot, rightwards: float, downwards: float) -> tuple[int, int]:
        x = corner[0] + right[0] * rightwards + down[0] * downwards
        y = corner[1] + right[1] * rightwards + down[1] * downwards
        return _outwards(x, centre[0]), _outwards(y, centre[1])

    return (
        moved(tl, -(ahead + left_more), -(beside + up_more)),
        moved(tr, ahead + right_more, -(beside + up_more)),
        moved(br, ahead + right_more, beside + down_more),
        moved(bl, -(ahead + left_more), beside + down_more),
    )


def bridge(left: Quad, right: Quad) -> Quad | None:
    """The quad between the end of `left` and the start of `right`, or None where they do not face each other."""
    between: Quad = (left[1], right[0], right[3], left[2])
    return between if is_convex(between) else None


def _covered_length(regions: Iterable[Quad], text: Quad) -> float:
    line = midline(text)
    parts = sorted(part for region in regions if (part := covered_part(line, region)) is not None)
    total, reached = 0.0, 0.0
    for start, end in parts:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total * math.dist(*line)


def _edges(quad: Quad) -> Sequence[tuple[tuple[int, int], tuple[int, int]]]:
    return tuple(zip(quad, quad[1:] + quad[:1], strict=True))


def _sides(quad: Quad) -> tuple[float, float]:
    """Mean length across (top, bottom) and down (left, right)."""
    tl, tr, br, bl = quad
    return (math.dist(tl, tr) + math.dist(bl, br)) / 2, (math.dist(tl, bl) + math.dist(tr, br)) / 2


def _middle(a: Spot, b: Spot) -> Spot:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2


def _direction(a: Spot, b: Spot, c: Spot, d: Spot) -> Spot:
    """Unit vector of a -> b and c -> d together; (0, 0) for a point."""
    x, y = b[0] - a[0] + d[0] - c[0], b[1] - a[1] + d[1] - c[1]
    length = math.hypot(x, y)
    return (x / length, y / length) if length else (0.0, 0.0)


def _outwards(value: float, centre: float) -> int:
    # Rounding noise of the unit vectors must not push an upright edge by a whole pixel.
    return math.ceil(value - 1e-6) if value > centre else math.floor(value + 1e-6)
