"""Damaged and hostile documents: InvalidInput is the only thing that comes out, and a cut file is refused or whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFile
from sound_documents import SOUND

from guardedvlm.errors import InvalidInput
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits(max_pixels=100_000, max_side=2_000, max_pages=6)
"""Small, so that a mutated header that survives costs little."""
FILMS = {"apng", "mpo", "webp-film", "tiff", "tiff-lzw", "gif", "dicom", "dicom-rle", "pdf"}


def pixels(content):
    """The pages, or None where the document is refused; any other exception fails the test."""
    try:
        image = decode(admit(RawImage(content), LIMITS), LIMITS)
    except InvalidInput:
        return None
    return [page.raster for page in image.pages]


def same(pages, others):
    return len(pages) == len(others) and all(map(np.array_equal, pages, others))


@pytest.mark.parametrize("kind", SOUND)
def test_a_cut_document_is_refused_or_has_lost_no_pixel(kind):
    content = SOUND[kind]
    whole = pixels(content)
    assert len(whole) == (
        1 if kind in {"png", "jpeg", "jpeg-progressive", "webp", "tiff-jpeg", "bmp", "dicom-j2k"} else 3
    )
    length = len(content)
    cuts = {1, 2, 8, 100, *range(length - 40, length), *(length * part // 60 for part in range(1, 60))}
    refusals = 0
    for cut in sorted(cuts):
        pages = pixels(content[:cut])
        refusals += pages is None
        assert pages is None or same(pages, whole), f"cut at {cut} of {length}"
    assert refusals >= 55  # every cut that loses pixels, and most of those near the end


@pytest.mark.parametrize("kind", SOUND)
def test_pillow_stays_strict(kind):
    assert pixels(SOUND[kind])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=60, derandomize=True)
@given(data=st.data())
def test_mutated_documents_are_decoded_or_refused(kind, data):
    content = bytearray(SOUND[kind])
    head = min(len(content) - 1, 600)
    for _ in range(data.draw(st.integers(1, 6), "mutations")):
        at = data.draw(st.integers(0, head) | st.integers(0, len(content) - 1), "at")
        how = data.draw(st.sampled_from(("byte", "bytes", "drop", "double")), "how")
        length = data.draw(st.integers(1, 64), "length")
        if how == "byte":
            content[at] = data.draw(st.integers(0, 255), "value")
        elif how == "bytes":
            content[at : at + 4] = data.draw(st.sampled_from((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80" * 4)))
        elif how == "drop" and len(content) > at + length + 700:
            del content[at : at + length]
        elif how == "double":
            content[at:at] = content[at : at + length]
    pages = pixels(bytes(content))
    for raster in pages or ():
        assert raster.shape[0] * raster.shape[1] <= LIMITS.max_pixels


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=15, derandomize=True)
@given(garbage=st.binary(max_size=2000), keep=st.integers(4, 300))
def test_garbage_behind_a_sound_head_is_decoded_or_refused(kind, garbage, keep):
    pixels(SOUND[kind][:keep] + garbage)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_bytes_of_any_kind(content):
    assert pixels(content) is None or content


def test_refusals_say_nothing_of_the_content():
    content = SOUND["dicom"].replace(b"MONOCHROME2", b"canary-4711")[:-50]
    with pytest.raises(InvalidInput) as caught:
        decode(admit(RawImage(content), LIMITS), LIMITS)
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.details)):
        assert "Doe" not in shown
        assert "MRN" not in shown


def test_nothing_is_logged(caplog):
    caplog.set_level(1)
    for content in SOUND.values():
        pixels(content)
        pixels(content[: len(content) * 2 // 3])
    assert caplog.records == []
