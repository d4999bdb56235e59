"""Where an answer's numbers, dates, amounts and identifiers stand in the picture that was sent. No text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guardedvlm.core.region import Box


class Ground(StrEnum):
    """How a claim of an answer stands to the picture."""

    GROUNDED = "grounded"  # it stands in the words that were cleared
    UNGROUNDED = "ungrounded"  # it does not; told of, and left as it is
    MASKED = "masked"  # it does not, and was taken out


@dataclass(frozen=True, slots=True)
class Place:
    """A box of the raster that was verified, on `page` (from 0)."""

    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class GroundedSpan:
    """Characters [start, end) of an answer as it was released, and where they stand."""

    start: int
    end: int
    ground: Ground
    places: tuple[Place, ...] = ()
