"""The picture's types on its way through the guard: each stage takes one and makes the next.

    RawImage --admit--> AdmittedImage --decode--> DecodedImage --redact--> RedactedImage --verify--> ClearedImage

A repr never shows content. Rasters are (H, W, 3) uint8 RGB, C-contiguous and read-only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Raster, Size


class Format(StrEnum):
    """Formats that the service decodes; every other one is refused."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"
    DICOM = "DICOM"
    PDF = "PDF"

    @property
    def media_types(self) -> frozenset[str]:
        """Media types under which this format may be declared, the registered one among them, in lower case."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    # Beside the registered types (IANA) those that browsers and scanners still write.
    Format.PNG: frozenset({"image/png", "image/apng", "image/vnd.mozilla.apng", "image/x-png"}),
    Format.JPEG: frozenset({"image/jpeg", "image/jpg", "image/pjpeg"}),
    Format.WEBP: frozenset({"image/webp"}),
    Format.TIFF: frozenset({"image/tiff", "image/tiff-fx", "image/x-tiff"}),
    Format.BMP: frozenset({"image/bmp", "image/x-bmp", "image/x-ms-bmp"}),
    Format.GIF: frozenset({"image/gif"}),
    Format.DICOM: frozenset({"application/dicom"}),
    Format.PDF: frozenset({"application/pdf", "application/x-pdf"}),
}


@dataclass(frozen=True, slots=True, repr=False)
class RawImage:
    """A document as the caller sent it, with the media type that the caller declares ("" = none)."""

    content: bytes
    media_type: str = ""

    def __repr__(self) -> str:
        return f"RawImage({len(self.content)} bytes)"


@dataclass(frozen=True, slots=True, repr=False)
class AdmittedImage:
    """A document within the byte limit whose first bytes say that it is of `format`. Made by `guard.admit` alone."""

    content: bytes
    format: Format

    def __repr__(self) -> str:
        return f"AdmittedImage({self.format}, {len(self.content)} bytes)"


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that must not come back in an answer, because the document's header says what it is."""

    kind: Kind
    text: str = field(repr=False)


Resolution = tuple[float, float]
"""Dots an inch, across and down."""
LEAST_DPI, MOST_DPI = 18.0, 4800.0
"""What a file says beyond these is a slip: a screen has 72 and up, a microfilm scanner 4,800."""


def checked_resolution(dpi: Resolution) -> Resolution | None:
    """`dpi` where it makes sense, else None."""
    return dpi if all(math.isfinite(value) and LEAST_DPI <= value <= MOST_DPI for value in dpi) else None


class Frame(NamedTuple):
    """A page's pixels, and its resolution where the document tells it."""

    raster: Raster
    dpi: Resolution | None = None


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What of a DICOM header may stand in the redacted file: how the picture was made, and nothing of anybody.

    `codes` and `numbers` are (keyword, value) pairs of a closed list (`guard.decode.kept`). `is_pdf`: the file
    encapsulates a PDF.
    """

    codes: tuple[tuple[str, str], ...] = ()
    numbers: tuple[tuple[str, tuple[float, ...]], ...] = ()
    is_pdf: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPage:
    """One page or frame: its position in the document (from 0), its pixels, upright and opaque, and its resolution."""

    index: int
    raster: Raster = field(repr=False)
    dpi: Resolution | None = None

    def __post_init__(self) -> None:
        shape = self.raster.shape
        if len(shape) != 3 or shape[2] != 3 or self.raster.dtype != np.uint8 or not self.raster.flags.c_contiguous:
            raise ValueError("a page is (H, W, 3) uint8, C-contiguous")
        if self.raster.flags.writeable:
            raise ValueError("decoded pixels must be read-only")

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size.of(self.raster)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """Every page of a document, at least one, in order, and what its header says about a person.

    Nothing else of the document is kept: no metadata, thumbnail, text chunk, overlay or attachment. `header` is set for
    DICOM: the few values of it that may go on.
    """

    pages: tuple[DecodedPage, ...]
    format: Format
    secrets: tuple[Secret, ...] = ()
    header: DicomHeader | None = None

    def __post_init__(self) -> None:
        if not self.pages or [page.index for page in self.pages] != list(range(len(self.pages))):
            raise ValueError("pages are numbered from 0 without a gap")
