"""Where verification looks again: at what it found, at what hiding that changed, and at what surrounds both.

Every other pixel was looked at as it is sent, with the whole page around it, and nothing was found there; a fill only
takes away.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from guardedvlm.core.region import Box, Quad, Raster, Size
from guardedvlm.guard.redact.fills import paint

JOINED_WITHIN = 32
"""Pixels between two changes that are looked at together."""
SURROUNDINGS = 96
"""Pixels around a change that are seen with it: several lines of print, or the rest of a face that a fill did not
cover. The text detector halves its input five times, so that what it says of a pixel depends on this much."""
WORTH_IT = 0.6
"""Share of the page from which on all of it is looked at: one large picture costs less than its pieces."""


def places_to_look_again(before: Raster, after: Raster, found: Iterable[Quad]) -> tuple[Box, ...]:
    """Boxes around what was `found` on `before`, a raster of the same page and size, and what differs on `after`."""
    size = Size.of(after)
    changed = (before != after).any(axis=2)
    paint(changed, found)  # what a fill could not change is not gone either
    near = cv2.dilate(changed.astype(np.uint8), np.ones((JOINED_WITHIN + 1, JOINED_WITHIN + 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    around = (Box(x, y, x + w, y + h).grown(SURROUNDINGS).clipped(size) for x, y, w, h, _ in stats[1:].tolist())
    places = _apart([box for box in around if box is not None])
    return (size.box,) if sum(place.area for place in places) > WORTH_IT * size.pixels else places


def _apart(boxes: list[Box]) -> tuple[Box, ...]:
    """The boxes, those that overlap as one around them."""
    apart: list[Box] = []
    for box in boxes:
        while meeting := [other for other in apart if other.overlap(box)]:
            for other in meeting:
                apart.remove(other)
                box = box.union(other)
        apart.append(box)
    return tuple(sorted(apart))
