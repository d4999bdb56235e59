"""The pages of a redacted document as PNG, for a browser that draws no TIFF, PDF or DICOM.

The documents are the guard's own: made anew from verified pixels. One page at a time is in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from guardedvlm.errors import Internal, Reason

LARGEST_SIDE = 2_400
"""Pixels of a drawn page: two thirds of A4 at 300 dpi, enough to read it."""
PNG = "image/png"


def sheets(media_type: str, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Every page as (index, PNG). Raises Internal for a document that no guard makes."""
    if media_type == PNG:
        yield 0, content
        return
    try:
        draw = {"image/tiff": _tiff, "application/pdf": _pdf, "application/dicom": _dicom}[media_type]
    except KeyError:
        raise Internal(Reason.INTERNAL) from None
    for number, page in enumerate(draw(content)):
        yield number, _png(page)


def _tiff(content: bytes) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as document:
        for number in range(getattr(document, "n_frames", 1)):
            document.seek(number)
            yield document.convert("RGB")


def _pdf(content: bytes) -> Iterator[Image.Image]:
    import pypdfium2

    document = pypdfium2.PdfDocument(content)
    try:
        for page in document:
            scale = LARGEST_SIDE / max(page.get_size())
            yield page.render(scale=min(scale, 300 / 72)).to_pil()
    finally:
        document.close()


def _dicom(content: bytes) -> Iterator[Image.Image]:
    import pydicom
    from pydicom.pixels import iter_pixels

    dataset = pydicom.dcmread(io.BytesIO(content))
    for frame in iter_pixels(dataset):
        yield Image.fromarray(np.ascontiguousarray(frame)).convert("RGB")


def _png(page: Image.Image) -> bytes:
    if max(page.size) > LARGEST_SIDE:
        page.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    found = io.BytesIO()
    page.save(found, "PNG", compress_level=1)
    return found.getvalue()
