"""The redacted PDF and TIFF: the verified pixels, exactly, and nothing else."""

from __future__ import annotations

import io
import re

import numpy as np
import pydicom
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pytest
from PIL import Image

from guardedvlm.core.region import Raster
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.files.pdf import redacted_pdf
from guardedvlm.guard.files.raster import redacted_png, redacted_tiff
from guardedvlm.guard.image import DicomHeader, Format, RawImage
from guardedvlm.guard.outcome import Source, redacted_file
from guardedvlm.policy.model import Limits

A4 = (1654, 2339)
"""A4 at 200 dpi, as PDFium rounds it."""


def noise(width: int, height: int, seed: int = 0) -> Raster:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pictures(content: bytes) -> list[Raster]:
    """The picture of each page, out of its stream."""
    found = []
    for page in pdfium.PdfDocument(content):
        (only,) = page.get_objects()
        assert only.type == pdfium_c.FPDF_PAGEOBJ_IMAGE
        size = only.get_px_size()
        found.append(np.frombuffer(only.get_data(decode_simple=True), np.uint8).reshape(size[1], size[0], 3))
    return found


@pytest.mark.parametrize("size", [A4, (1, 1), (641, 480), (1653, 2338), (8, 9000)])
@pytest.mark.parametrize("dpi", [200.0, 150.0])
def test_a_page_holds_and_shows_exactly_the_verified_pixels(size: tuple[int, int], dpi: float) -> None:
    raster = noise(*size)
    content = redacted_pdf([(raster, (dpi, dpi))])
    assert np.array_equal(pictures(content)[0], raster)
    page = pdfium.PdfDocument(content)[0]
    assert page.get_size() == pytest.approx((size[0] * 72 / dpi, size[1] * 72 / dpi), rel=1e-5)
    shown = page.render(scale=dpi / 72, rev_byteorder=True, prefer_bgrx=False).to_numpy()
    assert np.array_equal(shown, raster)


def test_our_own_decoder_gives_the_pixels_back() -> None:
    """A redacted PDF may come in again."""
    rasters = [noise(600, 300, 1), noise(300, 700, 2)]
    content = redacted_pdf([(raster, (200.0, 200.0)) for raster in rasters])
    pages = decode(admit(RawImage(content), Limits()), Limits()).pages
    assert all(np.array_equal(page.raster, raster) for page, raster in zip(pages, rasters, strict=True))


def test_there_is_nothing_beside_the_pictures() -> None:
    content = redacted_pdf([(noise(9, 5, n), (200.0, 200.0)) for n in range(3)])
    document = pdfium.PdfDocument(content)
    assert not any(document.get_metadata_dict().values())
    assert document.count_attachments() == 0
    assert not any(page.get_textpage().get_text_range() for page in document)
    outside = re.sub(rb"stream\n.*?\nendstream", b"", content, flags=re.DOTALL)
    names = set(re.findall(rb"/([A-Za-z]+)", outside))
    assert names == {
        *(b"Type", b"Catalog", b"Pages", b"Page", b"Count", b"Kids", b"Parent", b"MediaBox", b"Contents", b"Resources"),
        *(b"XObject", b"P", b"Subtype", b"Image", b"Width", b"Height", b"ColorSpace", b"DeviceRGB", b"Length"),
        *(b"BitsPerComponent", b"Filter", b"FlateDecode", b"Size", b"Root"),
    }
    assert content == redacted_pdf([(noise(9, 5, n), (200.0, 200.0)) for n in range(3)])


def test_a_pdf_has_a_page() -> None:
    with pytest.raises(ValueError, match="page"):
        redacted_pdf([])


def test_a_tiff_has_every_page_and_no_metadata() -> None:
    rasters = [noise(30, 20, 1), noise(20, 30, 2), noise(5, 5, 3)]
    with Image.open(io.BytesIO(redacted_tiff(rasters))) as found:
        assert found.n_frames == 3
        for index, raster in enumerate(rasters):
            found.seek(index)
            assert np.array_equal(np.asarray(found), raster)
            assert found.info["compression"] == "tiff_adobe_deflate"
            # Baseline tags of the picture itself (TIFF 6.0): no Software, DateTime, Artist, description or profile.
            assert set(found.tag_v2) <= {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 339}


def test_the_file_is_what_its_source_was() -> None:
    one, dpi = [noise(8, 8)], (200.0, 200.0)
    assert redacted_file(one, Source(Format.TIFF, (None,))).format is Format.PNG
    assert redacted_file(one * 2, Source(Format.GIF, (None, None))).format is Format.TIFF
    assert redacted_file(one, Source(Format.PDF, (dpi,))).format is Format.PDF
    assert redacted_file(one, Source(Format.DICOM, (dpi,), DicomHeader(is_pdf=True))).format is Format.PDF
    frames = redacted_file(one * 2, Source(Format.DICOM, (None, None), DicomHeader()))
    assert pydicom.dcmread(io.BytesIO(frames.content)).NumberOfFrames == 2
    assert redacted_file(one, Source(Format.PNG, (None,))).content == redacted_png(one[0])
