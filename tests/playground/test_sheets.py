"""Pages of the guard's own redacted files, as a browser draws them."""

import io

import numpy as np
import pytest
from PIL import Image

from guardedvlm.errors import Internal
from guardedvlm.guard.files.dicom import redacted_dicom
from guardedvlm.guard.files.pdf import redacted_pdf
from guardedvlm.guard.files.raster import redacted_png, redacted_tiff
from guardedvlm.guard.image import DicomHeader
from guardedvlm.playground.sheets import LARGEST_SIDE, sheets

RED, BLUE = (200, 30, 30), (30, 30, 200)


def raster(colour, width=60, height=40):
    return np.full((height, width, 3), colour, np.uint8)


def drawn(media_type, content):
    pages = [(number, Image.open(io.BytesIO(page)).convert("RGB")) for number, page in sheets(media_type, content)]
    assert [number for number, _ in pages] == list(range(len(pages)))
    return [(page.size, page.getpixel((page.width // 2, page.height // 2))) for _, page in pages]


def test_one_page_is_itself():
    content = redacted_png(raster(RED))
    assert list(sheets("image/png", content)) == [(0, content)]


def test_every_page_of_a_tiff():
    content = redacted_tiff([raster(RED), raster(BLUE, 30, 30)])
    assert drawn("image/tiff", content) == [((60, 40), RED), ((30, 30), BLUE)]


def test_every_page_of_a_pdf():
    content = redacted_pdf([(raster(RED, 300, 200), (150.0, 150.0)), (raster(BLUE, 200, 300), (150.0, 150.0))])
    (first, one), (second, two) = drawn("application/pdf", content)
    assert (one, two) == (RED, BLUE)
    assert first[0] > first[1]
    assert second[0] < second[1]


def test_every_frame_of_a_dicom_file():
    assert drawn("application/dicom", redacted_dicom([raster(RED)], DicomHeader())) == [((60, 40), RED)]
    grey = [raster((90, 90, 90)), raster((200, 200, 200))]
    assert drawn("application/dicom", redacted_dicom(grey, DicomHeader())) == [
        ((60, 40), (90, 90, 90)),
        ((60, 40), (200, 200, 200)),
    ]


def test_a_large_page_is_made_smaller():
    ((size, _),) = drawn("image/tiff", redacted_tiff([raster(RED, 3 * LARGEST_SIDE, 60)]))
    assert size[0] == LARGEST_SIDE


def test_no_guard_makes_anything_else():
    with pytest.raises(Internal):
        list(sheets("image/gif", b"GIF89a"))
