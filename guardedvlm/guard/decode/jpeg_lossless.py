"""JPEG lossless (ISO 10918-1, process 14) for pydicom: the one common transfer syntax whose usual decoders are GPL.

imagecodecs brings the SOF3 decoder of dcm2niix (BSD). GDCM would do too, but its wheel ships an OpenSSL that is no
longer maintained. pydicom calls this module as one of its plug-ins.
"""

from __future__ import annotations

from typing import Any

from imagecodecs import jpegsof3_decode
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

PLUGIN = "jpegsof3"
DECODER_DEPENDENCIES = {JPEGLossless: ("imagecodecs",), JPEGLosslessSV1: ("imagecodecs",)}
"""What pydicom asks of a plug-in."""


def is_available(uid: str) -> bool:
    """Whether frames of this transfer syntax can be decoded."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Samples of one frame, by pixel. Raises ValueError when they are not as many as the header says."""
    samples = jpegsof3_decode(source)
    colours = (runner.samples_per_pixel,) if runner.samples_per_pixel > 1 else ()
    if samples.shape != (runner.rows, runner.columns, *colours):
        raise ValueError("another size than the header's")
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(samples.tobytes())


for _syntax in DECODER_DEPENDENCIES:
    if PLUGIN not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
