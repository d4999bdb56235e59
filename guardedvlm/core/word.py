"""What OCR returns: lines with words. Their text is content: no repr shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardedvlm.core.region import Box, Quad

UNREAD = "\N{REPLACEMENT CHARACTER}"
"""Stands in a text where the picture has ink that no character accounts for. No recogniser writes it by itself."""


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters without space, at `box` (pixels of the raster that was read)."""

    text: str = field(repr=False)
    box: Box
    quad: Quad | None = None


@dataclass(frozen=True, slots=True)
class TextLine:
    """A text region that the detector found.

    `quad` are its corners in reading order, `box` the box around them. `text` is what was read, "" when nothing was;
    `confidence` the recogniser's own score, 0..1 (0 when it was not read). `words` cover `text` in order and are empty
    exactly when `text` is.
    """

    box: Box
    quad: Quad
    text: str = field(repr=False)
    confidence: float
    words: tuple[Word, ...] = field(default=(), repr=False)
