"""A redacted PDF: one picture a page, losslessly, and nothing else. Never the sender's file with holes in it.

Written here: PDFium is not safe on several threads and dates what it makes, and Pillow turns pictures into JPEG.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from guardedvlm.core.region import Raster, Size
from guardedvlm.guard.image import Resolution

POINTS_PER_INCH = 72
SHRUNK = 1e-6
"""Readers hold lengths in single precision and round pixels outwards: by this share a page is smaller than its picture,
and the picture than its page, so that rendered at its resolution it has exactly the picture's pixels; in print it is
nothing."""
COMPRESSION = 6
"""zlib's own default: a text page takes a fortieth of its raw size."""


def redacted_pdf(pages: Sequence[tuple[Raster, Resolution]]) -> bytes:
    """The file (ISO 32000-1) with verified (H, W, 3) rasters at their resolutions, one a page.

    It has no metadata, identifier or date. Raises ValueError on no page.
    """
    if not pages:
        raise ValueError("a PDF has a page")
    kids = " ".join(f"{3 + 3 * index} 0 R" for index in range(len(pages)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>".encode()]
    for raster, dpi in pages:
        objects += _page(raster, dpi, first=len(objects) + 1)
    return _file(objects)


def _page(raster: Raster, dpi: Resolution, first: int) -> list[bytes]:
    """The objects of a page, numbered from `first`: page, content, picture."""
    size = Size.of(raster)
    inches = size.width / dpi[0], size.height / dpi[1]
    width, height = (length * POINTS_PER_INCH * (1 - SHRUNK) for length in inches)
    page = (
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width:.9f} {height:.9f}]/Contents {first + 1} 0 R"
        f"/Resources<</XObject<</P {first + 2} 0 R>>>>>>"
    )
    drawn = (width * (1 - 2 * SHRUNK), 0, 0, height * (1 - 2 * SHRUNK), width * SHRUNK, height * SHRUNK)
    picture = (
        f"/Type/XObject/Subtype/Image/Width {size.width}/Height {size.height}/ColorSpace/DeviceRGB"
        "/BitsPerComponent 8/Filter/FlateDecode"
    )
    return [
        page.encode(),
        _stream("", f"q {' '.join(f'{value:.9f}' for value in drawn)} cm /P Do Q".encode()),
        _stream(picture, zlib.compress(raster.tobytes(), COMPRESSION)),
    ]


def _stream(entries: str, content: bytes) -> bytes:
    return b"<<%b/Length %d>>\nstream\n%b\nendstream" % (entries.encode(), len(content), content)


def _file(objects: Sequence[bytes]) -> bytes:
    """The numbered objects with their cross-reference table; the first is the catalogue."""
    parts = [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"]  # the comment says that the file is binary (7.5.2)
    offsets, position = [], len(parts[0])
    for number, body in enumerate(objects, 1):
        offsets.append(position)
        parts.append(b"%d 0 obj\n%b\nendobj\n" % (number, body))
        position += len(parts[-1])
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    parts += [b"%010d 00000 n \n" % offset for offset in offsets]
    parts.append(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, position))
    return b"".join(parts)
