"""Admission: by the bytes, never by what the caller says of them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit, sniff
from guardedvlm.guard.image import Format, RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits(max_bytes=4096)
RASTER_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PDF")


def encoded(name):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9), "white").save(stream, name)
    return stream.getvalue()


SAMPLES = {Format(name): encoded(name) for name in RASTER_FORMATS} | {Format.DICOM: bytes(128) + b"DICM" + bytes(8)}


def refused(content, media_type="", limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        admit(RawImage(content, media_type), limits)
    return caught.value.reason


@pytest.mark.parametrize("expected", Format)
def test_each_format_is_found_by_its_bytes(expected):
    content = SAMPLES[expected]
    for media_type in ("", "application/octet-stream", *expected.media_types):
        admitted = admit(RawImage(content, media_type), LIMITS)
        assert admitted.format is expected
        assert admitted.content == content


@pytest.mark.parametrize("actual", Format)
@pytest.mark.parametrize("declared", Format)
def test_another_declared_type_is_refused(actual, declared):
    if actual is not declared:
        for media_type in declared.media_types:
            assert refused(SAMPLES[actual], media_type) is Reason.FORMAT_MISMATCH


def test_declared_types_are_compared_without_case_and_parameters():
    assert admit(RawImage(SAMPLES[Format.PNG], " Image/PNG; charset=binary"), LIMITS).format is Format.PNG
    assert refused(SAMPLES[Format.PNG], "image/heic") is Reason.FORMAT_MISMATCH
    assert refused(SAMPLES[Format.PNG], "nonsense") is Reason.FORMAT_MISMATCH


def test_empty_too_long_and_unknown():
    assert refused(b"") is Reason.EMPTY_INPUT
    assert refused(b"", "image/png") is Reason.EMPTY_INPUT
    assert admit(RawImage(SAMPLES[Format.PNG] + bytes(4096 - len(SAMPLES[Format.PNG]))), LIMITS)
    assert refused(SAMPLES[Format.PNG] + bytes(4097 - len(SAMPLES[Format.PNG]))) is Reason.BYTES_TOO_LARGE
    for other in (
        b"\x00",
        b"BMW is a maker of cars, and this is a text",
        b"BM",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x18ftypheic",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04",
        b"8BPS\x00\x01",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"\x00\x00\x01\x00\x01\x00",
    ):
        assert refused(other) is Reason.FORMAT_UNSUPPORTED
        assert refused(other, "image/png") is Reason.FORMAT_UNSUPPORTED


def test_a_dicom_with_the_head_of_a_tiff_is_a_dicom():
    both = (b"II*\x00" + bytes(124)) + b"DICM" + bytes(8)
    assert sniff(both) is Format.DICOM
    assert refused(both, "image/tiff") is Reason.FORMAT_MISMATCH


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_bytes_are_admitted_as_they_are_or_refused(content, media_type):
    try:
        admitted = admit(RawImage(content, media_type), LIMITS)
    except InvalidInput:
        return
    assert admitted.content == content
    assert admitted.format is sniff(content)
