"""PDF by PDFium: every page as it would be printed, with its annotations and form fields.

Only the rendering goes on: text layers, attachments, scripts (PDFium is built without them), hidden layers and what
lies outside the crop box are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.image import AdmittedImage

RESOLUTIONS = (200, 150)
"""DPI, the best one first that keeps every page within the limits. At 150 DPI a 6-point letter is 12 pixels high, which
the OCR engines read in full (13 px measured); below it a page is refused rather than made unreadable."""
POINTS_PER_INCH = 72
END_MARK, END_MARK_WITHIN = b"%%EOF", 2048
"""A PDF ends with this mark (ISO 32000-1, 7.5.5); readers look for it in the last kilobyte or two. PDFium repairs a
file that lost its end and then shows fewer pages."""
REFUSALS = {
    pdfium_c.FPDF_ERR_PASSWORD: Reason.DOCUMENT_ENCRYPTED,
    pdfium_c.FPDF_ERR_SECURITY: Reason.DOCUMENT_ENCRYPTED,  # an unknown security handler
    pdfium_c.FPDF_ERR_SUCCESS: Reason.NO_PIXELS,  # PDFium opens no document without pages, and knows no error for it
}
"""Why a document does not open; anything else is damage."""


def decode_pdf(admitted: AdmittedImage, budget: Budget) -> Iterator[Raster]:
    """Pages in order. Raises InvalidInput, or PdfiumError on damaged bytes."""
    if END_MARK not in admitted.content[-END_MARK_WITHIN:]:
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    with _opened(admitted.content) as document:
        budget.announce(len(document))
        document.init_forms()
        sizes = [document.get_page_size(index) for index in range(len(document))]
        scale = _scale(sizes, budget)
        for index in range(len(document)):
            yield _rendered(document[index], scale)


def _opened(content: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(content)
    except pdfium.PdfiumError as failure:
        raise InvalidInput(REFUSALS.get(failure.err_code, Reason.IMAGE_CORRUPT)) from None


def _scale(sizes: list[tuple[float, float]], budget: Budget) -> float:
    """Pixels a point at the best resolution that fits; counts the pages at it. Raises InvalidInput(IMAGE_TOO_LARGE)."""
    for resolution in RESOLUTIONS:
        scale = resolution / POINTS_PER_INCH
        trial = Budget(budget.limits)
        try:
            for width, height in sizes:
                trial.add(*_pixels(width, height, scale))
        except InvalidInput as failure:
            if failure.reason is not Reason.IMAGE_TOO_LARGE or resolution == RESOLUTIONS[-1]:
                raise
        else:
            break
    return scale


def _pixels(width: float, height: float, scale: float) -> tuple[int, int]:
    """As `PdfPage.render` rounds."""
    return int(np.ceil(width * scale)), int(np.ceil(height * scale))


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
