"""Documents to pixels, in the process that calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from guardedvlm.core.region import Raster
from guardedvlm.errors import GuardedVLMError, InvalidInput, Reason
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.decode.dicom import decode_dicom, encapsulated_pdf, read_dicom
from guardedvlm.guard.decode.identifiers import header_secrets
from guardedvlm.guard.decode.kept import kept_header
from guardedvlm.guard.decode.pdf import decode_pdf
from guardedvlm.guard.decode.raster import decode_raster, pillow_bounds
from guardedvlm.guard.image import AdmittedImage, DecodedImage, DecodedPage, Format, Frame
from guardedvlm.policy.model import Limits

# These libraries log header values, names among them, at every level below this one.
for _library in ("PIL", "pydicom", "pypdfium2"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)


def decode(admitted: AdmittedImage, limits: Limits, after_page: Callable[[], None] = lambda: None) -> DecodedImage:
    """Decode every page of a document, in this process and on one thread at a time; `after_page` is told of each.

    Raises InvalidInput and nothing else: IMAGE_CORRUPT, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, TOO_MANY_PAGES, NO_PIXELS,
    DOCUMENT_ENCRYPTED, FORMAT_UNSUPPORTED.
    """
    try:
        with pillow_bounds(limits.max_pixels):
            return _decode(admitted, Budget(limits), after_page)
    except GuardedVLMError:
        raise
    except MemoryError:
        raise InvalidInput(Reason.IMAGE_TOO_LARGE) from None
    except Exception:
        # Decoders raise whatever comes to them on hostile bytes (struct.error, ZeroDivisionError, RecursionError ...),
        # with the bytes in the text.
        raise InvalidInput(Reason.IMAGE_CORRUPT) from None


def _decode(admitted: AdmittedImage, budget: Budget, after_page: Callable[[], None]) -> DecodedImage:
    def told(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            after_page()
            yield frame

    if admitted.format is Format.DICOM:
        dataset = read_dicom(admitted, budget)
        pdf = encapsulated_pdf(dataset)
        frames = decode_dicom(dataset) if pdf is None else decode_pdf(pdf, budget)
        return DecodedImage(number_pages(told(frames)), admitted.format, header_secrets(dataset), kept_header(dataset))
    frames = decode_pdf(admitted.content, budget) if admitted.format is Format.PDF else decode_raster(admitted, budget)
    return DecodedImage(number_pages(told(frames)), admitted.format)


def number_pages(frames: Iterable[Frame]) -> tuple[DecodedPage, ...]:
    """Frames as read-only pages in order."""
    return tuple(DecodedPage(index, _frozen(frame.raster), frame.dpi) for index, frame in enumerate(frames))


def _frozen(raster: Raster) -> Raster:
    raster = np.ascontiguousarray(raster)
    raster.setflags(write=False)
    return raster
