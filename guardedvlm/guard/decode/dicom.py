"""DICOM by pydicom: every frame over the whole range of its stored values, and the header's identifiers.

Decided here:
- The file's window, VOI and modality look-up tables are ignored (a negative slope inverts): a window could hide text
  from the detectors that is in the pixels all the same.
- Overlays (60xx), also those in the unused bits of the samples, icons and curves are dropped, never drawn.
- BurnedInAnnotation and PatientIdentityRemoved are not read: the sender's word is no evidence.
- Each transfer syntax has one decoder, under a permissive licence; what has none (JPEG lossless, 12-bit JPEG, video) is
  refused. For JPEG lossless there are wheels under the GPL, or with an OpenSSL past its end of life, and dcm2niix's
  decoder (in imagecodecs), which reads on behind a cut stream: what lay in memory there became pixels.
- An encapsulated PDF is decoded as the PDF that it is; other encapsulated documents are refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from guardedvlm.core.region import Raster
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.decode.tones import Samples, gray_to_rgb, stretch
from guardedvlm.guard.image import AdmittedImage, Frame

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
BITS_ALLOCATED = frozenset({1, 8, 16, 32, 64})
GRAY = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE = "PALETTE COLOR"
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
"""Photometric interpretations that come out as RGB (PS3.3, C.7.6.3.1.2)."""
DECODERS: dict[UID, str] = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
"""pydicom's plug-in by compressed transfer syntax. Named, because pydicom would try one after the other: what one
refuses as damaged another might show, and another one installed beside ours would be asked too."""
PDF_MARK = b"%PDF-"
INFLATED = 8
"""Largest deflated data set in multiples of `limits.max_bytes`: 16-bit anatomy deflates 2 to 4 times, a bomb 1,000."""
CHUNK = 2**20


def read_dicom(admitted: AdmittedImage, budget: Budget) -> pydicom.FileDataset:
    """The parsed data set: a picture that can be decoded within the limits, or a PDF, which is not looked into yet."""
    _check_inflated_size(admitted.content, budget)
    dataset = pydicom.dcmread(io.BytesIO(admitted.content), force=False)
    _check_header(dataset, budget)
    return dataset


def decode_dicom(dataset: pydicom.FileDataset) -> Iterator[Frame]:
    """Frames in order. Raises InvalidInput(IMAGE_CORRUPT) unless there are exactly as many as the header announces."""
    announced, found = _frames(dataset), 0
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    # allow_excess_frames: more frames than announced become visible here, and are refused instead of skipped.
    options: dict[str, Any] = {"correct_unused_bits": dataset.get("BitsAllocated") != 1, "allow_excess_frames": True}
    if syntax in DECODERS:
        options["decoding_plugin"] = DECODERS[syntax]
    for samples, properties in decoder.iter_array(dataset, **options):
        found += 1
        if found > announced:
            break
        yield Frame(_page(samples, str(properties["photometric_interpretation"]), dataset))
    if found != announced:
        raise InvalidInput(Reason.IMAGE_CORRUPT)


def encapsulated_pdf(dataset: pydicom.FileDataset) -> bytes | None:
    """The PDF of a data set that encapsulates one, else None. Raises InvalidInput(IMAGE_CORRUPT)."""
    if "EncapsulatedDocument" not in dataset:
        return None
    document = dataset.EncapsulatedDocument
    if not isinstance(document, bytes):  # an element of another type; of a number, bytes() makes as many zeros
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    return document


def _check_inflated_size(content: bytes, budget: Budget) -> None:
    """pydicom inflates a deflated data set in one piece, however large it is."""
    stream = io.BytesIO(content)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, waiting, total = zlib.decompressobj(-zlib.MAX_WBITS), stream.read(), 0
    while not inflater.eof:
        piece = inflater.decompress(waiting, CHUNK)
        waiting = inflater.unconsumed_tail
        total += len(piece)
        if total > INFLATED * budget.limits.max_bytes:
            raise InvalidInput(Reason.IMAGE_TOO_LARGE, inflated_limit=INFLATED * budget.limits.max_bytes)
        if not piece and not waiting:
            raise InvalidInput(Reason.IMAGE_CORRUPT)


def _check_header(dataset: pydicom.FileDataset, budget: Budget) -> None:
    present = [keyword for keyword in PIXEL_KEYWORDS if keyword in dataset]
    pdf = encapsulated_pdf(dataset)
    if pdf is not None:
        _check_pdf(pdf, budget, alone=not present)
        return
    if not present:
        raise InvalidInput(Reason.NO_PIXELS)
    if len(present) > 1:  # which of them is the picture is not for us to guess
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    budget.announce(_frames(dataset))
    for _ in range(_frames(dataset)):
        budget.add(int(dataset.Columns), int(dataset.Rows))
    _check_samples(dataset)
    if not _decodable(dataset):
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)


def _check_pdf(pdf: bytes, budget: Budget, *, alone: bool) -> None:
    if not pdf.startswith(PDF_MARK):
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
    if not alone:
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    if len(pdf) > budget.limits.max_bytes:  # it may have been deflated
        raise InvalidInput(Reason.BYTES_TOO_LARGE, limit=budget.limits.max_bytes)


def _decodable(dataset: pydicom.FileDataset) -> bool:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit and dataset.BitsStored != 8:
        return False  # Pillow's libjpeg is built for 8 bits
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return False
    return not decoder.UID.is_encapsulated if syntax not in DECODERS else DECODERS[syntax] in decoder.available_plugins


def _check_samples(dataset: pydicom.FileDataset) -> None:
    photometric, samples = str(dataset.PhotometricInterpretation), int(dataset.get("SamplesPerPixel", 1))
    known = (photometric in GRAY or photometric == PALETTE, photometric in COLOUR)
    if known != (samples == 1, samples == 3) or int(dataset.BitsAllocated) not in BITS_ALLOCATED:
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
    if "PixelData" in dataset and int(dataset.get("HighBit", dataset.BitsStored - 1)) != dataset.BitsStored - 1:
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)  # samples that do not lie in the low bits; retired


def _frames(dataset: pydicom.FileDataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _page(samples: Samples, photometric: str, dataset: pydicom.FileDataset) -> Raster:
    if photometric in GRAY:
        tones = stretch(samples, _padding(dataset))
        inverted = (photometric == "MONOCHROME1") != (float(dataset.get("RescaleSlope") or 1) < 0)
        return gray_to_rgb(~tones if inverted else tones)
    if photometric == PALETTE:
        samples = apply_color_lut(samples, dataset)[:, :, :3]  # an alpha table hides nothing here
    return samples if samples.dtype == np.uint8 else stretch(samples)


def _padding(dataset: pydicom.FileDataset) -> tuple[float, float] | None:
    """Values that fill the area outside of the picture (PS3.3, C.7.5.1.1.2), often far below all others."""
    value: Any = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit: Any = dataset.get("PixelPaddingRangeLimit", value)
    return float(min(value, limit)), float(max(value, limit))
