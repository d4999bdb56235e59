"""PDF by PDFium: every page as it would be printed, with its annotations and form fields.

Only the rendering goes on: text layers, attachments, scripts (PDFium is built without them), hidden layers and what
lies outside the crop box are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.image import Frame
from guardedvlm.policy.model import Limits

RESOLUTIONS = (200, 150)
"""DPI, the best one first that keeps every page within the limits. At 150 DPI a 6-point letter is 12 pixels high, which
the OCR engines read in full (13 px measured); below it a page is refused rather than made unreadable."""
POINTS_PER_INCH = 72
END_MARK, END_MARK_WITHIN = b"%%EOF", 2048
"""A PDF ends with this mark (ISO 32000-1, 7.5.5); readers look for it in the last kilobyte or two. PDFium repairs a
file that lost its end and then shows fewer pages."""
UNSAID = pdfium_c.FPDF_ERR_FILE
"""PDFium opens no document without pages and sets no error for it, and never resets the last one: it may be another
document's. So this one, which nothing in memory can have, is provoked before each document."""
REFUSALS = {
    pdfium_c.FPDF_ERR_PASSWORD: Reason.DOCUMENT_ENCRYPTED,
    pdfium_c.FPDF_ERR_SECURITY: Reason.DOCUMENT_ENCRYPTED,  # an unknown security handler
    UNSAID: Reason.NO_PIXELS,
}
"""Why a document does not open; anything else is damage."""


def decode_pdf(content: bytes, budget: Budget) -> Iterator[Frame]:
    """Pages in order. Raises InvalidInput, or PdfiumError on damaged bytes."""
    if END_MARK not in content[-END_MARK_WITHIN:]:
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    with _opened(content) as document:
        budget.announce(len(document))
        document.init_forms()
        sizes = [document.get_page_size(index) for index in range(len(document))]
        scale = _scale(sizes, budget.limits)
        for index in range(len(document)):
            yield Frame(_rendered(document[index], scale), (scale * POINTS_PER_INCH, scale * POINTS_PER_INCH))


def _opened(content: bytes) -> pdfium.PdfDocument:
    pdfium_c.FPDF_LoadDocument(b"", None)  # there is no such file: UNSAID
    try:
        return pdfium.PdfDocument(content)
    except pdfium.PdfiumError as failure:
        raise InvalidInput(REFUSALS.get(failure.err_code, Reason.IMAGE_CORRUPT)) from None


def _scale(sizes: list[tuple[float, float]], limits: Limits) -> float:
    """Pixels a point at the best resolution at which all pages fit. Raises InvalidInput where there is none."""
    *better, last = (resolution / POINTS_PER_INCH for resolution in RESOLUTIONS)
    for scale in better:
        try:
            _check_sizes(sizes, scale, limits)
        except InvalidInput:
            continue
        return scale
    _check_sizes(sizes, last, limits)
    return last


def _check_sizes(sizes: list[tuple[float, float]], scale: float, limits: Limits) -> None:
    budget = Budget(limits)
    for width, height in sizes:
        budget.add(math.ceil(width * scale), math.ceil(height * scale))  # as PdfPage.render rounds


def _rendered(page: pdfium.PdfPage, scale: float) -> Raster:
    bitmap = page.render(
        scale=scale,
        may_draw_forms=True,
        draw_annots=True,
        fill_color=(255, 255, 255, 255),
        rev_byteorder=True,  # RGB
        prefer_bgrx=False,
        maybe_alpha=False,
        limit_image_cache=True,
    )
    try:
        return np.array(bitmap.to_numpy()[:, :, :3], np.uint8)  # a copy: the bitmap's memory is PDFium's
    finally:
        bitmap.close()
        page.close()
