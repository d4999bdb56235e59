"""The picture's types: what they accept, and that no repr shows content."""

import numpy as np
import pytest

from guardedvlm.core.finding import Kind
from guardedvlm.guard.image import AdmittedImage, DecodedImage, DecodedPage, Format, RawImage, Secret

CANARY = "canary-4711"


def page(index=0, height=4, width=6, fill=200):
    raster = np.full((height, width, 3), fill, np.uint8)
    raster.setflags(write=False)
    return DecodedPage(index, raster)


def test_no_repr_shows_content_or_the_declared_type():
    content = CANARY.encode()
    values = [
        RawImage(content, f"image/{CANARY}"),
        AdmittedImage(content, Format.PNG),
        Secret(Kind.PERSON, CANARY),
        DecodedImage((page(fill=77),), Format.DICOM, (Secret(Kind.PERSON, CANARY),)),
    ]
    for value in values:
        for shown in (repr(value), str(value), f"{value}"):
            assert CANARY not in shown
            assert "77" not in shown
    assert repr(values[0]) == "RawImage(11 bytes)"


def test_a_page_is_read_only_rgb_bytes():
    good = page().raster
    assert page().size.width == 6
    for bad in (good[:, :, :2], good[:, :, 0], good.astype(np.uint16), good[:, ::2]):
        bad.setflags(write=False)
        with pytest.raises(ValueError, match="C-contiguous"):
            DecodedPage(0, bad)
    with pytest.raises(ValueError, match="read-only"):
        DecodedPage(0, good.copy())


def test_pages_are_numbered_without_a_gap():
    assert len(DecodedImage((page(0), page(1)), Format.PNG).pages) == 2
    for wrong in ((), (page(1),), (page(0), page(2)), (page(1), page(0))):
        with pytest.raises(ValueError, match="without a gap"):
            DecodedImage(wrong, Format.PNG)


def test_every_format_has_media_types_of_its_own():
    everything = [media_type for found in Format for media_type in found.media_types]
    assert len(everything) == len(set(everything)) > len(Format)
    assert all(media_type == media_type.lower() and "/" in media_type for media_type in everything)
