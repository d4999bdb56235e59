"""Redacted pictures as PNG or, where there are several, TIFF: lossless, and without any metadata."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from guardedvlm.core.region import Raster


def redacted_png(raster: Raster) -> bytes:
    """The file with a verified (H, W, 3) raster."""
    buffer = io.BytesIO()
    # Level 1: a 4 MP page in 0.2 s instead of 1.5 s, for a file that is a tenth larger.
    Image.fromarray(raster, "RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def redacted_tiff(rasters: Sequence[Raster]) -> bytes:
    """The file with verified (H, W, 3) rasters, one a page, deflated."""
    first, *others = [Image.fromarray(raster, "RGB") for raster in rasters]
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate")
    return buffer.getvalue()
