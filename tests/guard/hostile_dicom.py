"""Malformed DICOM: headers that lie, sequences without end, pixels that are too few, too many or of another kind."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pydicom
from hostile_files import (
    CORRUPT,
    DECODED,
    EITHER,
    NO_PIXELS,
    TOO_LARGE,
    TOO_MANY,
    TOO_SMALL,
    UNKNOWN,
    Hostile,
    case,
    deflated_zeros,
)
from hostile_pdf import page as pdf_page
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)  # fmt: skip
from sound_documents import SOUND

HEAD = bytes(128) + b"DICM"
COMPRESSED = {
    "jpeg": JPEGBaseline8Bit, "jpeg-12": JPEGExtended12Bit, "jpeg-lossless": JPEGLosslessSV1, "jpeg-ls": JPEGLSLossless,
    "j2k": JPEG2000Lossless, "htj2k": HTJ2KLossless, "rle": RLELossless, "video": MPEG2MPML,
}  # fmt: skip


def changed(**values: Any) -> bytes:
    """The sound file of one frame with some attributes changed, None = removed; nothing is checked on the way."""
    dataset = pydicom.dcmread(io.BytesIO(SOUND["dicom"]))
    dataset.NumberOfFrames, dataset.PixelData = 1, dataset.PixelData[: 80 * 64 * 3]
    syntax = values.pop("syntax", None)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return written(dataset)


def written(dataset: Any) -> bytes:
    """A data set as it is."""
    stream = io.BytesIO()
    syntax = dataset.file_meta.TransferSyntaxUID
    big, implicit = syntax == ExplicitVRBigEndian, False
    pydicom.dcmwrite(
        stream, dataset, enforce_file_format=False, little_endian=not big, implicit_vr=implicit, force_encoding=True
    )
    return HEAD + stream.getvalue().removeprefix(HEAD)


def element(group: int, number: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """An explicit little-endian element, of any announced length."""
    size = len(value) if length is None else length
    if kind in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return struct.pack("<HH2sHI", group, number, kind, 0, size) + value
    return struct.pack("<HH2sH", group, number, kind, size & 0xFFFF) + value


META = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\x00")
SEQUENCE, ITEM = (
    struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF),
    struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF),
)


def encapsulated(name: str, frames: list[bytes], **values: Any) -> bytes:
    """Compressed pixels of any content."""
    return changed(syntax=COMPRESSED[name], PixelData=encapsulate(frames), **values)


def files() -> Iterator[Hostile]:
    """All of them."""
    yield from _numbers()
    yield from _structure()
    yield from _pixels()
    yield from _identifiers()


def _numbers() -> Iterator[Hostile]:
    for name, values in {
        "rows-65535": {"Rows": 65_535, "Columns": 65_535}, "rows-0": {"Rows": 0}, "rows-1": {"Rows": 1, "Columns": 1},
        "rows-more": {"Rows": 640}, "columns-more": {"Columns": 800}, "rows-fewer": {"Rows": 32},
        "frames-billion": {"NumberOfFrames": "1000000000"}, "frames-0": {"NumberOfFrames": "0"},
        "frames-negative": {"NumberOfFrames": "-3"}, "frames-3": {"NumberOfFrames": "3"}, "frames-200": {"NumberOfFrames": "200"},
        "bits-0": {"BitsAllocated": 0}, "bits-7": {"BitsAllocated": 7}, "bits-12": {"BitsAllocated": 12}, "bits-128": {"BitsAllocated": 128},
        "bits-65535": {"BitsAllocated": 65_535}, "bits-16": {"BitsAllocated": 16}, "bits-1": {"BitsAllocated": 1},
        "bits-64": {"BitsAllocated": 64}, "stored-0": {"BitsStored": 0, "HighBit": 65_535}, "stored-9": {"BitsStored": 9, "HighBit": 8},
        "stored-65535": {"BitsStored": 65_535, "HighBit": 65_534}, "high-bit-3": {"HighBit": 3},
        "samples-0": {"SamplesPerPixel": 0}, "samples-2": {"SamplesPerPixel": 2}, "samples-4": {"SamplesPerPixel": 4},
        "samples-65535": {"SamplesPerPixel": 65_535}, "planar-9": {"PlanarConfiguration": 9}, "planar-1": {"PlanarConfiguration": 1},
        "signed-9": {"PixelRepresentation": 9}, "signed": {"PixelRepresentation": 1},
        "photometric-text": {"PhotometricInterpretation": "NONSENSE"}, "photometric-cmyk": {"PhotometricInterpretation": "CMYK"},
        "photometric-palette": {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1},
        "photometric-ybr": {"PhotometricInterpretation": "YBR_FULL_422"}, "photometric-grey": {"PhotometricInterpretation": "MONOCHROME2"},
    }.items():  # fmt: skip
        yield case(
            f"dicom-{name}", lambda v=values: changed(**v), TOO_LARGE, TOO_MANY, TOO_SMALL, UNKNOWN, NO_PIXELS, *EITHER
        )
    for keyword in (
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelRepresentation",
    ):
        yield case(
            f"dicom-without-{keyword.lower()}", lambda k=keyword: changed(**{k: None}), CORRUPT, UNKNOWN, DECODED
        )
    yield case("dicom-without-pixels", lambda: changed(PixelData=None), NO_PIXELS)
    yield case("dicom-pixels-of-two-kinds", lambda: changed(FloatPixelData=b"\x00" * 4), CORRUPT)
    yield case("dicom-slope-nan", lambda: _grey(RescaleSlope="NaN"), *EITHER)
    yield case(
        "dicom-slope-text",
        lambda: changed(RescaleSlope="1").replace(b"\x28\x00\x53\x10DS\x02\x001 ", b"\x28\x00\x53\x10DS\x02\x00xx"),
        *EITHER,
    )
    yield case("dicom-window-zero", lambda: _grey(WindowCenter="0", WindowWidth="0"), DECODED)
    yield case("dicom-padding-all", lambda: _padded(), *EITHER)
    yield case("dicom-float-nan", lambda: _float(struct.pack("<f", float("nan"))), CORRUPT)
    yield case("dicom-float-infinite", lambda: _float(struct.pack("<f", float("inf"))), CORRUPT)


def _grey(**values: Any) -> bytes:
    return changed(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PlanarConfiguration=None,
                   PixelData=bytes(range(256)) * 20, **values)  # fmt: skip


def _padded() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(_grey()))
    dataset.add_new("PixelPaddingValue", "US", 0)
    dataset.add_new("PixelPaddingRangeLimit", "US", 255)
    return written(dataset)


def _float(sample: bytes) -> bytes:
    return changed(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PlanarConfiguration=None, PixelData=None,
                   BitsAllocated=32, FloatPixelData=sample * 80 * 64)  # fmt: skip


def _structure() -> Iterator[Hostile]:
    sound = changed()
    body = sound[len(HEAD) :]
    yield case("dicom-head-alone", lambda: HEAD, CORRUPT, NO_PIXELS)
    yield case("dicom-no-syntax", lambda: HEAD + element(8, 0x60, b"CS", b"CT"), CORRUPT, NO_PIXELS)
    yield case(
        "dicom-group-length-lie",
        lambda: HEAD + element(2, 0, b"UL", struct.pack("<I", 2**31)) + body,
        *EITHER,
        NO_PIXELS,
    )
    yield case(
        "dicom-length-lie", lambda: HEAD + META + element(0x7FE0, 0x10, b"OW", b"abc", 2**31 - 2), CORRUPT, NO_PIXELS
    )
    yield case(
        "dicom-length-undefined",
        lambda: HEAD + META + element(0x7FE0, 0x10, b"OW", b"abc", 2**32 - 1),
        CORRUPT,
        NO_PIXELS,
    )
    yield case("dicom-length-odd", lambda: HEAD + META + element(0x10, 0x10, b"PN", b"abc") + body, *EITHER)
    yield case("dicom-kind-unknown", lambda: HEAD + META + element(0x10, 0x10, b"ZZ", b"abcd") + body, *EITHER)
    yield case(
        "dicom-kind-binary", lambda: HEAD + META + element(0x10, 0x10, b"\x00\xff", b"abcd") + body, NO_PIXELS, *EITHER
    )
    for levels in (50, 3_000):
        yield case(
            f"dicom-sequences-{levels}",
            lambda n=levels: sound[:-15374] + (SEQUENCE + ITEM) * n + sound[-15374:],
            *EITHER,
            NO_PIXELS,
        )
        yield case(
            f"dicom-sequences-open-{levels}", lambda n=levels: HEAD + META + (SEQUENCE + ITEM) * n, CORRUPT, NO_PIXELS
        )
    yield case(
        "dicom-items-many",
        lambda: HEAD + META + SEQUENCE + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 500_000,
        CORRUPT,
        NO_PIXELS,
        TOO_LARGE,
    )
    yield case(
        "dicom-elements-many",
        lambda: HEAD + META + b"".join(element(0x11, 0x1000 + n % 60_000, b"LO", b"ab") for n in range(200_000)),
        CORRUPT,
        NO_PIXELS,
        TOO_LARGE,
    )
    yield case(
        "dicom-delimiter-alone", lambda: HEAD + META + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) * 3, CORRUPT, NO_PIXELS
    )
    yield case(
        "dicom-tags-backwards",
        lambda: HEAD + META + element(0x7FE0, 0x10, b"OW", b"ab") + element(8, 5, b"CS", b"ab"),
        CORRUPT,
        NO_PIXELS,
    )
    for name, syntax in {
        "unknown": "1.2.3.4.5.6",
        "empty": "",
        "text": "nonsense",
        "big-endian": ExplicitVRBigEndian,
        "rle": RLELossless,
    }.items():
        yield case(f"dicom-syntax-{name}", lambda s=syntax: _relabelled(s), UNKNOWN, NO_PIXELS, *EITHER)
    yield case("dicom-deflated-bomb", lambda: _deflated(deflated_zeros(600)[2:-4]), TOO_LARGE, CORRUPT)
    yield case("dicom-deflated-garbage", lambda: _deflated(b"\xff" * 500), CORRUPT, NO_PIXELS)
    yield case("dicom-deflated-empty", lambda: _deflated(b""), CORRUPT, NO_PIXELS)
    yield case("dicom-deflated-cut", lambda: _deflated(zlib.compress(body)[2:-300]), CORRUPT, NO_PIXELS)
    yield case("dicom-pdf", lambda: _document(pdf_page(b"0 0 m 9 9 l S")), DECODED)
    yield case("dicom-pdf-garbage", lambda: _document(b"%PDF-1.7" + b"\xff" * 900), CORRUPT)
    yield case("dicom-pdf-other", lambda: _document(b"PK\x03\x04" + bytes(90)), UNKNOWN)
    yield case("dicom-pdf-and-pixels", lambda: changed(EncapsulatedDocument=b"%PDF-1.7"), CORRUPT)
    yield case("dicom-within-dicom", lambda: _document(sound), UNKNOWN)


def _relabelled(syntax: str) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(changed()))
    content = written(dataset)
    old = b"1.2.840.10008.1.2.1\x00"
    new = syntax.encode() + b"\x00" * (len(syntax) % 2)
    return content.replace(struct.pack("<H", len(old)) + old, struct.pack("<H", len(new)) + new, 1)


def _deflated(body: bytes) -> bytes:
    uid = DeflatedExplicitVRLittleEndian.encode()
    return HEAD + element(2, 0x10, b"UI", uid + b"\x00" * (len(uid) % 2)) + body


def _document(content: bytes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(changed(PixelData=None)))
    dataset.EncapsulatedDocument = content + b"\x00" * (len(content) % 2)
    return written(dataset)


def _pixels() -> Iterator[Hostile]:
    whole = 80 * 64 * 3
    for name, length in {
        "none": 0,
        "one": 2,
        "half": whole // 2,
        "short-by-two": whole - 2,
        "long-by-two": whole + 2,
        "twice": whole * 2,
    }.items():
        yield case(f"dicom-pixels-{name}", lambda n=length: changed(PixelData=bytes(n)), NO_PIXELS, *EITHER)
    grey: dict[str, Any] = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PlanarConfiguration": None,
    }
    for name in COMPRESSED:
        for kind, frames in {
            "garbage": [b"\xff" * 400], "empty": [b"\x00\x00"], "sound-jpeg": [SOUND["jpeg"]], "many": [b"\xff\xd8" * 9] * 300,
        }.items():  # fmt: skip
            yield case(f"dicom-{name}-{kind}", lambda n=name, f=frames: encapsulated(n, f, **grey), UNKNOWN, *EITHER)
    yield case("dicom-j2k-huge", lambda: encapsulated("j2k", [_codestream(2**31 - 1)], **grey), TOO_LARGE, CORRUPT)
    yield case(
        "dicom-j2k-tiles-many", lambda: encapsulated("j2k", [_codestream(60_000, tile=1)], **grey), TOO_LARGE, CORRUPT
    )
    yield case(
        "dicom-j2k-components", lambda: encapsulated("j2k", [_codestream(64, components=16_384)], **grey), CORRUPT
    )
    for name, head in {
        "segments-99": struct.pack("<16I", 99, *[64] * 15), "beyond": struct.pack("<16I", 1, 2**31, *[0] * 14),
        "backwards": struct.pack("<16I", 3, 900, 500, 64, *[0] * 12), "none": bytes(64),
    }.items():  # fmt: skip
        yield case(f"dicom-rle-{name}", lambda h=head: encapsulated("rle", [h + bytes(300)], **grey), CORRUPT)
    yield case(
        "dicom-rle-bomb",
        lambda: encapsulated("rle", [struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 900_000], **grey),
        *EITHER,
    )
    yield case(
        "dicom-fragment-length-lie",
        lambda: _fragments(struct.pack("<HHI", 0xFFFE, 0xE000, 2**31 - 2)),
        CORRUPT,
        NO_PIXELS,
    )
    yield case("dicom-fragments-none", lambda: _fragments(b""), CORRUPT, NO_PIXELS)
    yield case(
        "dicom-offsets-lie",
        lambda: _fragments(struct.pack("<HHI4I", 0xFFFE, 0xE000, 16, *[2**31] * 4)),
        CORRUPT,
        NO_PIXELS,
    )


def _fragments(items: bytes) -> bytes:
    content = changed(syntax=RLELossless, PixelData=encapsulate([b"ab"]))
    at = content.rindex(struct.pack("<HH", 0x7FE0, 0x10))
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return content[:at] + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + items + end


def _codestream(side: int, tile: int = 0, components: int = 1) -> bytes:
    """The head of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5.1)."""
    sizes = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, tile or side, tile or side, 0, 0, components)
    body = sizes + b"\x07\x01\x01" * components
    coding = b"\xff\x52" + struct.pack(">H", 12) + b"\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01"
    quantisation = b"\xff\x5c" + struct.pack(">H", 19) + b"\x40" + b"\x48" * 16
    start = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(40) + b"\xff\xd9"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(body) + 2) + body + coding + quantisation + start


def _identifiers() -> Iterator[Hostile]:
    makers: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
        "name-long": (lambda: changed(PatientName="A" * 60_000), (CORRUPT,)),
        "names-many": (lambda: changed(OtherPatientNames=[f"Doe^{n}" for n in range(7_000)]), (CORRUPT,)),
        "name-bytes": (lambda: HEAD + META + element(0x10, 0x10, b"PN", bytes(range(128, 256))) + changed()[len(HEAD) :], EITHER),
        "charset-unknown": (lambda: changed(SpecificCharacterSet="ISO_IR 9999"), EITHER),
        "charset-many": (lambda: changed(SpecificCharacterSet=["ISO 2022 IR 87"] * 500), EITHER),
        "charset-escape": (lambda: changed(SpecificCharacterSet="ISO 2022 IR 87").replace(b"Doe^Jane", b"\x1b$B\xff\xff\x1b(B"), EITHER),
        "birth-nonsense": (lambda: changed().replace(b"19610208", b"99999999"), (DECODED,)),
        "age-nonsense": (lambda: changed(PatientAge="999Y"), (DECODED,)),
        "private-large": (lambda: HEAD + META + element(0x11, 0x1001, b"UN", bytes(9 * 2**20)) + changed()[len(HEAD) :], EITHER),
        "spacing-nonsense": (lambda: changed(PixelSpacing=[1e300, -1]), EITHER),
        "overlay-huge": (lambda: _overlaid(), EITHER),
        "icon-bomb": (lambda: _icon(), EITHER),
    }  # fmt: skip
    for name, (make, expected) in makers.items():
        yield case(f"dicom-{name}", make, *expected)


def _overlaid() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(changed()))
    dataset.add_new(0x60000010, "US", 65_535)
    dataset.add_new(0x60000011, "US", 65_535)
    dataset.add_new(0x60003000, "OW", b"ab")
    return written(dataset)


def _icon() -> bytes:
    icon = Dataset()
    icon.Rows = icon.Columns = 65_535
    icon.BitsAllocated, icon.PixelRepresentation = 8, 0
    icon.PixelData = b"ab"
    return changed(IconImageSequence=[icon])
