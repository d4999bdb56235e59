"""PNG, JPEG, WebP, TIFF, BMP and GIF by Pillow: every frame, complete and composed, upright, opaque, 8-bit RGB.

Decided here:
- Transparent pixels are flattened on white. Text that hides in the alpha channel or under full transparency is dropped:
  what is inspected is what goes on, and nothing else does.
- Colour profiles are ignored: a profile could make visible what the detectors did not see. Lab is refused.
- A multi-picture JPEG (MPO) has as many pages as pictures. Thumbnails, text chunks, EXIF and XMP are dropped.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.decode.frames import count_frames
from guardedvlm.guard.decode.tones import gray_to_rgb, stretch
from guardedvlm.guard.image import AdmittedImage, Format, Frame, Resolution, checked_resolution

PLUGINS = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Loaded with this module, so that Pillow does not look for plugins at the first document, under the memory limit."""

ORIENTATION = 0x0112
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of this EXIF orientation upright (EXIF 2.32, tag 274)."""


@contextmanager
def pillow_bounds(max_pixels: int) -> Iterator[None]:
    """Pillow's own bomb check at the policy's limit; its warnings, which may quote the file, go nowhere.

    Process-wide while it lasts: for a worker, or for one thread.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidInput(Reason.IMAGE_TOO_LARGE, pixel_limit=max_pixels) from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode_raster(admitted: AdmittedImage, budget: Budget) -> Iterator[Frame]:
    """Frames in order. Raises InvalidInput, or whatever Pillow raises on damaged bytes."""
    counted = count_frames(admitted.content, admitted.format, budget.max_pages)
    if counted is not None:
        budget.announce(counted)
    with _opened(admitted) as image:
        known = getattr(image, "n_frames", 1)
        if counted is not None and known != counted:
            raise InvalidInput(Reason.IMAGE_CORRUPT)
        budget.announce(known)
        for index in range(known):
            if index:
                image.seek(index)
            budget.add(*image.size)
            image.load()
            dpi = _resolution(image)
            upright = _upright(image)
            yield Frame(_opaque(upright), dpi if upright.size == image.size or dpi is None else dpi[::-1])


def _opened(admitted: AdmittedImage) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(admitted.content), formats=[admitted.format.value])
    except UnidentifiedImageError:
        # A TIFF whose directories are in order holds samples that Pillow does not know.
        unknown = admitted.format is Format.TIFF
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED if unknown else Reason.IMAGE_CORRUPT) from None


def _resolution(image: ImageFile.ImageFile) -> Resolution | None:
    """Dots an inch as the file says; None where it says nothing that makes sense."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except Exception:  # absent, or damaged metadata
        return None
    return checked_resolution((across, down))


def _upright(image: ImageFile.ImageFile) -> Image.Image:
    """The picture turned as its EXIF or XMP says; TIFF is upright after loading (Pillow does it)."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # damaged metadata: the pixels are complete, and detectors look at turned pictures too
        return image
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image) -> Raster:
    if image.mode.startswith("I") or image.mode == "F":
        tones = stretch(np.asarray(image))
        return gray_to_rgb(~tones if _white_is_zero(image) else tones)
    if image.mode == "LAB":
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    layered = image.convert("RGBA")
    page = Image.new("RGB", layered.size, (255, 255, 255))
    page.paste(layered, mask=layered.getchannel("A"))
    return np.asarray(page)


def _white_is_zero(image: Image.Image) -> bool:
    """Pillow inverts such TIFFs up to 8 bits and leaves deeper ones as they are."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
