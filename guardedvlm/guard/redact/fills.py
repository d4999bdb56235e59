"""From findings to the pixels that are hidden: shapes in source pixels, and the mask that they make together.

A shape is its finding's region plus a margin, lengthened to a step, so that its length does not tell how long the
hidden text is. Neighbouring shapes of one line are joined: gaps would tell how many words there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from guardedvlm.core.finding import VISUAL_KINDS, Finding
from guardedvlm.core.region import Box, Quad, Size
from guardedvlm.core.word import Word
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.detect.quads import (
    area,
    bridge,
    grown,
    is_convex,
    shape,
    text_height,
    text_length,
    touches,
)

Mask = npt.NDArray[np.bool_]
"""(H, W) bool: True where a pixel is hidden."""

MARGIN_SHARE = 0.15
"""Margin in text heights: text detectors shrink and re-grow their regions and cut off accents, descenders and the last
stroke of a line; a stroke is about 0.1 text heights wide."""
LEAST_MARGIN = 2
"""Pixels. JPEG spreads an edge over its neighbours, and face and code detectors pad their boxes themselves."""
LENGTH_STEP = 3.0
"""Text heights to whose multiples a fill is lengthened: about six characters."""
STEP_PART = 0.5
"""Text heights by which a lengthening gives way where a visible word is in its way."""
GAP = 0.8
"""Largest gap, in text heights, between two fills of one line that are joined: a space is about 0.3, two about 0.6."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A finding and the shape that hides it, in source pixels."""

    finding: Finding
    quad: Quad

    def box(self, size: Size) -> Box:
        """The box around the fill, inside the picture."""
        inside = Box.around(self.quad).clipped(size)
        if inside is None:
            raise Refused(Reason.DETECTOR_FAILED, stage="redact")
        return inside


def fill_of(finding: Finding, visible: Sequence[Word], size: Size) -> Fill:
    """The fill of a finding. Raises Refused(DETECTOR_FAILED) for one outside the picture: its place is not known."""
    if finding.box.clipped(size) is None:
        raise Refused(Reason.DETECTOR_FAILED, stage="redact")
    quad = shape(finding)
    if finding.kind in VISUAL_KINDS:
        return Fill(finding, grown(quad, LEAST_MARGIN, LEAST_MARGIN))
    return Fill(finding, _lengthened(quad, max(float(LEAST_MARGIN), MARGIN_SHARE * text_height(quad)), visible, size))


def _lengthened(quad: Quad, margin: float, visible: Sequence[Word], size: Size) -> Quad:
    """`quad` with its margin, lengthened to a multiple of the step: at the end of its text first, then at its start.

    It never covers a visible word on this account, so beside one the length may stay between two steps.
    """
    words = [shape(word) for word in visible]
    height, length = text_height(quad), text_length(quad) + 2 * margin
    missing = math.ceil(length / (LENGTH_STEP * height)) * LENGTH_STEP * height - length
    ahead = 0.0
    filled = grown(quad, margin, margin)
    for more in _shrinking(missing, height):
        longer = grown(quad, margin, margin, forward=more)
        if _is_free(filled, longer, words, size):
            ahead, filled = more, longer
            break
    for more in _shrinking(missing - ahead, height):
        longer = grown(quad, margin, margin, forward=ahead, backward=more)
        if _is_free(filled, longer, words, size):
            return longer
    return filled


def _shrinking(length: float, height: float) -> Iterator[float]:
    while length > 0:
        yield length
        length -= STEP_PART * height


def _is_free(before: Quad, after: Quad, visible: Sequence[Quad], size: Size) -> bool:
    """True where `after` touches no visible word that `before` does not touch, and leaves the picture no further."""
    allowed = size.box.union(Box.around(before))
    if Box.around(after).intersection(allowed) != Box.around(after):
        return False
    return not any(touches(after, word) and not touches(before, word) for word in visible)


def joints(fills: Sequence[Fill], visible: Sequence[Word]) -> tuple[Quad, ...]:
    """The gaps between neighbouring fills of text on one line, where no visible word stands in them."""
    texts = [fill.quad for fill in fills if fill.finding.kind not in VISUAL_KINDS]
    words = [shape(word) for word in visible]
    return tuple(
        between
        for left in texts
        for right in texts
        if (between := _joint(left, right)) is not None and not any(touches(between, word) for word in words)
    )


def _joint(left: Quad, right: Quad) -> Quad | None:
    if left is right:
        return None
    height = min(text_height(left), text_height(right))
    if max(math.dist(left[1], right[0]), math.dist(left[2], right[3])) > GAP * height:
        return None
    return bridge(left, right)


def paint(mask: Mask, quads: Iterable[Quad]) -> None:
    """Set `mask` over every quad, its edges included, as far as it lies inside."""
    size = Size(mask.shape[1], mask.shape[0])
    for quad in quads:
        around = Box.around(quad).grown(1).clipped(size)
        if around is None:
            continue
        here = mask[around.y0 : around.y1, around.x0 : around.x1]
        here |= polygon(quad, around)


def polygon(quad: Quad, window: Box) -> Mask:
    """Mask of `quad` over `window`: (height, width) of the window.

    An upright quad is exactly its half-open box; a turned one includes every pixel that its edges pass through.
    """
    around = Box.around(quad)
    if area(quad) == around.area or not is_convex(quad):
        return _box_mask(around, window)
    canvas = Image.new("1", (window.width, window.height))
    corners = [(x - window.x0, y - window.y0) for x, y in quad]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    return np.array(canvas, dtype=np.bool_)


def _box_mask(box: Box, window: Box) -> Mask:
    mask = np.zeros((window.height, window.width), np.bool_)
    inside = box.intersection(window)
    if inside is not None:
        mask[inside.y0 - window.y0 : inside.y1 - window.y0, inside.x0 - window.x0 : inside.x1 - window.x0] = True
    return mask


def shrink_mask(mask: Mask, target: Size) -> Mask:
    """The mask of a picture resized to `target`: True where all that a pixel was made from is hidden."""
    return _all_under(_all_under(mask, target.height, 0), target.width, 1)


def _all_under(mask: Mask, count: int, axis: int) -> Mask:
    """`mask` with `count` pixels along `axis`, each the conjunction of those that it overlaps."""
    length = mask.shape[axis]
    if length == count:
        return mask
    at = np.arange(count)
    bounds = np.stack([at * length // count, -(-(at + 1) * length // count)], axis=1).ravel()
    # reduceat wants every bound to be an index, the last end too; what lies between an end and the next start is
    # dropped.
    padded = np.concatenate([mask, mask.take([-1], axis)], axis)
    reduced: Mask = np.logical_and.reduceat(padded, bounds, axis=axis).take(2 * at, axis)
    return reduced
