"""First stage: is this a document that the service decodes at all? By its bytes, never by what the caller says of it.

Pure byte inspection; no decoder runs here.
"""

from __future__ import annotations

import struct

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.image import AdmittedImage, Format, RawImage
from guardedvlm.policy.model import Limits

UNDECLARED = frozenset({"", "application/octet-stream"})
"""Declared media types that say nothing, so that nothing can contradict them."""

DICOM_PREFIX_AT = 128
"""Offset of "DICM" (DICOM PS3.10, section 7.1)."""

BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
"""Sizes of the BMP headers in use (OS/2 1 and 2, Windows 3 to 5): "BM" alone begins many a text."""

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"\xff\xd8\xff", Format.JPEG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
    (b"II+\x00", Format.TIFF),  # BigTIFF
    (b"MM\x00+", Format.TIFF),
    (b"%PDF-", Format.PDF),
)


def admit(raw: RawImage, limits: Limits) -> AdmittedImage:
    """Let a document in.

    Raises InvalidInput: EMPTY_INPUT, BYTES_TOO_LARGE, FORMAT_UNSUPPORTED, or FORMAT_MISMATCH where the declared media
    type is not one of the format that the bytes are of.
    """
    if not raw.content:
        raise InvalidInput(Reason.EMPTY_INPUT)
    if len(raw.content) > limits.max_bytes:
        raise InvalidInput(Reason.BYTES_TOO_LARGE, limit=limits.max_bytes)
    found = sniff(raw.content)
    if found is None:
        raise InvalidInput(Reason.FORMAT_UNSUPPORTED)
    declared = raw.media_type.partition(";")[0].strip().lower()
    if declared not in UNDECLARED and declared not in found.media_types:
        raise InvalidInput(Reason.FORMAT_MISMATCH, found=found.value)
    return AdmittedImage(raw.content, found)


def sniff(content: bytes) -> Format | None:
    """Format by magic bytes, or None.

    DICOM first: its 128-byte preamble is free, and a file may carry the head of a TIFF there; only as DICOM does its
    header feed the deny set.
    """
    if content[DICOM_PREFIX_AT : DICOM_PREFIX_AT + 4] == b"DICM":
        return Format.DICOM
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Format.WEBP
    if content[:2] == b"BM" and len(content) >= 18:
        (header_size,) = struct.unpack_from("<I", content, 14)
        return Format.BMP if header_size in BMP_HEADER_SIZES else None
    return next((found for magic, found in _MAGIC if content.startswith(magic)), None)
