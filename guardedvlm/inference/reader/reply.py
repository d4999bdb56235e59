"""What crosses from the child to its parent. Apart from the role, so that the parent loads no weights' libraries."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardedvlm.core.ports import FinishReason


@dataclass(frozen=True, slots=True)
class Reply:
    """What crosses back to the parent. Evidence: x0, y0, x1, y1 in pixels of the raster, and a score 0..1;
    readings: JSON pointer, confidence, boxes."""

    text: str = field(repr=False)
    finish: FinishReason
    input_tokens: int
    output_tokens: int
    evidence: tuple[tuple[int, int, int, int, float], ...]
    readings: tuple[tuple[str, float, tuple[tuple[int, int, int, int], ...]], ...] = field(default=(), repr=False)
