"""What a document may still cost: pages, sides and pixels, counted before anything is decoded."""

from __future__ import annotations

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.policy.model import Limits
from guardedvlm.worker import MAX_ARRAYS

DOCUMENT_PIXELS = 4
"""Pixels of all pages together, in multiples of `limits.max_pixels`: fifty A4 pages at 150 DPI are 109 megapixels and
fit under the default of 4 x 40. All pages are in memory at once."""


class Budget:
    """Counts the pages of one document against the policy's limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.max_pages = min(limits.max_pages, MAX_ARRAYS)
        self.max_document_pixels = limits.max_pixels * DOCUMENT_PIXELS
        self._pages = 0
        self._pixels = 0

    def announce(self, pages: int) -> None:
        """Check a number of pages that a header announces. Raises InvalidInput(NO_PIXELS or TOO_MANY_PAGES)."""
        if pages < 1:
            raise InvalidInput(Reason.NO_PIXELS)
        if pages > self.max_pages:
            raise InvalidInput(Reason.TOO_MANY_PAGES, limit=self.max_pages)

    def add(self, width: int, height: int) -> None:
        """Count a page of `width` x `height` pixels before it is decoded.

        Raises InvalidInput(IMAGE_TOO_SMALL, IMAGE_TOO_LARGE or TOO_MANY_PAGES).
        """
        limits = self.limits
        if min(width, height) < limits.min_side:
            raise InvalidInput(Reason.IMAGE_TOO_SMALL, limit=limits.min_side)
        if max(width, height) > limits.max_side:
            raise InvalidInput(Reason.IMAGE_TOO_LARGE, side_limit=limits.max_side)
        if width * height > limits.max_pixels:
            raise InvalidInput(Reason.IMAGE_TOO_LARGE, pixel_limit=limits.max_pixels)
        self._pages += 1
        self._pixels += width * height
        self.announce(self._pages)
        if self._pixels > self.max_document_pixels:
            raise InvalidInput(Reason.IMAGE_TOO_LARGE, document_pixel_limit=self.max_document_pixels)
