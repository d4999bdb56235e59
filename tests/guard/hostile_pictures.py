"""Hostile pictures: PNG and JPEG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hostile_files import (
    CORRUPT,
    DECODED,
    EITHER,
    NO_PIXELS,
    SIGNATURE,
    TOO_LARGE,
    TOO_MANY,
    TOO_SMALL,
    UNKNOWN,
    Hostile,
    case,
    chunk,
    deflated_zeros,
    noise,
    png,
    saved,
)  # fmt: skip
from PIL import Image
from sound_documents import SOUND

HUGE = ((2**31 - 1, 2**31 - 1), (65_535, 65_535), (20_001, 10), (10, 20_001), (19_999, 19_999), (2**31 - 1, 9))
EMPTY_SIDES = ((0, 0), (0, 64), (64, 0), (1, 1), (7, 64), (64, 7))


def pictures() -> Iterator[Hostile]:
    """All of them."""
    yield from _png()
    yield from _png_chunks()
    yield from _jpeg()


def _png() -> Iterator[Hostile]:
    tiny = zlib.compress(bytes(100))
    for width, height in HUGE:
        expected = (TOO_LARGE, CORRUPT)  # beyond Pillow's own bound too
        yield case(f"png-{width}x{height}", lambda w=width, h=height: png(w, h, data=tiny), *expected)
    for width, height in EMPTY_SIDES:
        yield case(f"png-{width}x{height}", lambda w=width, h=height: png(w, h), TOO_SMALL, CORRUPT)
    yield case("png-data-bomb", lambda: png(64, 64, data=deflated_zeros(200)), *EITHER)
    yield case("png-data-short", lambda: png(64, 64, data=zlib.compress(bytes(500))), CORRUPT)
    yield case("png-data-garbage", lambda: png(64, 64, data=b"\x78\x9c" + bytes(range(200))), CORRUPT)
    yield case("png-data-none", lambda: png(64, 64, data=b""), CORRUPT)
    yield case("png-filter-unknown", lambda: png(64, 64, filters=b"\x09"), *EITHER)
    for depth, colour in ((1, 0), (2, 0), (4, 0), (16, 0), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)):
        yield case(
            f"png-depth-{depth}-colour-{colour}", lambda d=depth, c=colour: png(64, 64, depth=d, colour=c), DECODED
        )
    for depth, colour in ((0, 0), (3, 0), (32, 0), (1, 2), (8, 5), (8, 255), (255, 2)):
        yield case(
            f"png-depth-{depth}-colour-{colour}", lambda d=depth, c=colour: png(64, 64, depth=d, colour=c), CORRUPT
        )
    yield case("png-palette-none", lambda: png(64, 64, colour=3), *EITHER)
    yield case("png-palette-odd", lambda: png(64, 64, colour=3, before=chunk(b"PLTE", bytes(7))), *EITHER)
    yield case("png-palette-large", lambda: png(64, 64, colour=3, before=chunk(b"PLTE", bytes(9000))), *EITHER)
    yield case(
        "png-transparency-odd",
        lambda: png(64, 64, colour=3, before=chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", bytes(999))),
        *EITHER,
    )
    yield case("png-interlaced", lambda: png(64, 64, interlace=1, data=_adam7(64, 64)), DECODED)
    yield case("png-interlace-unknown", lambda: png(64, 64, interlace=7), *EITHER)
    yield case("png-interlaced-short", lambda: png(64, 64, interlace=1, data=_adam7(64, 64, rows=20)), CORRUPT)
    yield case(
        "png-checksum-wrong",
        lambda: png(64, 64).replace(b"IHDR", b"IHDR", 1)[:29] + bytes(4) + png(64, 64)[33:],
        CORRUPT,
    )
    yield case("png-header-alone", lambda: SIGNATURE, CORRUPT)
    yield case("png-no-header", lambda: SIGNATURE + chunk(b"IEND"), CORRUPT, NO_PIXELS)
    yield case(
        "png-two-headers",
        lambda: png(64, 64, before=chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))),
        TOO_LARGE,
        *EITHER,
    )


def _adam7(width: int, height: int, rows: int | None = None) -> bytes:
    out = bytearray()
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        across, down = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        for _ in range(down):
            out += b"\x00" + bytes(range(across * 3 % 256)) + bytes(across * 3 - across * 3 % 256)
    return zlib.compress(bytes(out) if rows is None else bytes(out[: rows * width]))


def _png_chunks() -> Iterator[Hostile]:
    """What stands beside the pixels: text, profiles, EXIF, animation."""
    bomb = deflated_zeros(200)
    yield case("png-text-bomb", lambda: png(64, 64, before=chunk(b"zTXt", b"a\x00\x00" + bomb)), *EITHER)
    yield case(
        "png-international-text-bomb",
        lambda: png(64, 64, before=chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + bomb)),
        *EITHER,
    )
    yield case("png-profile-bomb", lambda: png(64, 64, before=chunk(b"iCCP", b"a\x00\x00" + bomb)), *EITHER)
    yield case("png-profile-garbage", lambda: png(64, 64, before=chunk(b"iCCP", b"\xff" * 90)), *EITHER)
    yield case("png-text-many", lambda: png(64, 64, before=chunk(b"tEXt", b"k\x00" + b"v" * 900) * 20_000), *EITHER)
    yield case("png-chunks-many", lambda: png(64, 64, before=chunk(b"abCd") * 200_000), *EITHER)
    yield case("png-chunk-length-lie", lambda: png(64, 64, before=struct.pack(">I", 2**31 - 1) + b"tEXtabc"), CORRUPT)
    yield case("png-exif-garbage", lambda: png(64, 64, before=chunk(b"eXIf", b"\xff" * 200)), *EITHER)
    yield case("png-exif-loop", lambda: png(64, 64, before=chunk(b"eXIf", looping_ifd())), *EITHER)
    yield case("png-physical-zero", lambda: png(64, 64, before=chunk(b"pHYs", bytes(9))), DECODED)
    yield case("png-physical-huge", lambda: png(64, 64, before=chunk(b"pHYs", b"\xff" * 8 + b"\x01")), DECODED)
    yield case("png-gamma-zero", lambda: png(64, 64, before=chunk(b"gAMA", bytes(4))), *EITHER)
    for name, frames, control in (
        ("count-huge", 2**31 - 1, 0), ("count-zero", 0, 0), ("count-lie", 3, 1), ("many", 200, 200), ("outside", 2, -1),
    ):  # fmt: skip
        expected = (TOO_MANY,) if name == "many" else (TOO_MANY, NO_PIXELS, *EITHER)
        yield case(f"apng-{name}", lambda f=frames, c=control: _apng(f, c), *expected)


def _apng(announced: int, controls: int) -> bytes:
    side = 64
    row = zlib.compress((b"\x00" + bytes(side * 3)) * side)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(
        b"acTL", struct.pack(">II", announced, 0)
    )
    body, number = b"", 0
    for index in range(abs(controls)):
        at = 60 if controls < 0 else 0
        body += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, side, side, at, at, 1, 10, 0, 0))
        number += 1
        if index:
            body += chunk(b"fdAT", struct.pack(">I", number) + row)
            number += 1
        else:
            body += chunk(b"IDAT", row)
    return SIGNATURE + head + (body or chunk(b"IDAT", row)) + chunk(b"IEND")


def looping_ifd(order: str = "<") -> bytes:
    """A directory whose EXIF pointer and whose successor are itself."""
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    entry = struct.pack(order + "HHII", 0x8769, 4, 1, 8)
    return mark + struct.pack(order + "I", 8) + struct.pack(order + "H", 2) + entry * 2 + struct.pack(order + "I", 8)


def _exif(orientation: int, kind: int = 3, count: int = 1) -> bytes:
    return b"Exif\x00\x00II*\x00" + struct.pack("<IHHHIII", 8, 1, 0x0112, kind, count, orientation, 0)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _jpeg_with(*segments: bytes) -> bytes:
    return SOUND["jpeg"][:2] + b"".join(segments) + SOUND["jpeg"][2:]


def _jpeg() -> Iterator[Hostile]:
    for width, height in ((65_535, 65_535), (65_535, 8), (0, 64), (64, 0), (65_535, 600)):
        expected = (TOO_LARGE, TOO_SMALL, CORRUPT)
        yield case(f"jpeg-{width}x{height}", lambda w=width, h=height: _jpeg_of(w, h), *expected)
    yield case("jpeg-scans-many", lambda: _scan_bomb(4000, 4000, 4000), TOO_LARGE, *EITHER)
    yield case("jpeg-scans-most", lambda: _scan_bomb(6000, 6000, 100_000), TOO_LARGE, *EITHER)
    yield case("jpeg-restart-huge", lambda: _jpeg_with(_segment(0xDD, b"\xff\xff")), *EITHER)
    yield case("jpeg-tables-garbage", lambda: _jpeg_with(_segment(0xC4, b"\xff" * 500)), *EITHER)
    yield case("jpeg-quantisation-garbage", lambda: _jpeg_with(_segment(0xDB, b"\xff" * 300)), *EITHER)
    yield case("jpeg-comments-many", lambda: _jpeg_with(_segment(0xFE, b"x" * 60_000) * 300), *EITHER)
    yield case("jpeg-marker-zeros", lambda: _jpeg_with(b"\xff" * 500_000), *EITHER)
    yield case("jpeg-arithmetic", lambda: SOUND["jpeg"].replace(b"\xff\xc0", b"\xff\xc9", 1), UNKNOWN, *EITHER)
    yield case("jpeg-lossless", lambda: SOUND["jpeg"].replace(b"\xff\xc0", b"\xff\xc3", 1), CORRUPT, UNKNOWN)
    yield case("jpeg-two-starts", lambda: SOUND["jpeg"][:2] + SOUND["jpeg"], *EITHER)
    yield case("jpeg-two-pictures", lambda: SOUND["jpeg"] * 2, *EITHER)
    yield case("jpeg-end-alone", lambda: b"\xff\xd8\xff\xd9", CORRUPT)
    for mode in ("CMYK", "L"):
        yield case(f"jpeg-{mode.lower()}", lambda m=mode: saved(Image.fromarray(noise()).convert(m), "JPEG"), DECODED)
    yield case(
        "jpeg-adobe-unknown",
        lambda: saved(Image.fromarray(noise()).convert("CMYK"), "JPEG").replace(
            b"Adobe\x00d\x00\x00\x00\x00", b"Adobe\x00d\x00\x00\x00\x09"
        ),
        *EITHER,
    )
    for name, exif in {
        "orientation-0": _exif(0), "orientation-9": _exif(9), "orientation-65535": _exif(65_535),
        "orientation-text": _exif(6, kind=2), "orientation-many": _exif(6, count=2**31), "kind-unknown": _exif(6, kind=99),
        "loop": b"Exif\x00\x00" + looping_ifd(), "loop-big": b"Exif\x00\x00" + looping_ifd(">"),
        "empty": b"Exif\x00\x00", "garbage": b"Exif\x00\x00" + b"\xff" * 900, "cut": _exif(6)[:14],
        "entries-many": b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 65_535) + b"\x12\x01\x03\x00" * 10_000,
    }.items():  # fmt: skip
        yield case(f"jpeg-exif-{name}", lambda e=exif: _jpeg_with(_segment(0xE1, e)), *EITHER)
    for name, profile in {
        "empty": b"", "garbage": b"\xff" * 200, "size-lie": struct.pack(">I", 2**31) + b"\x00" * 124,
        "tags-many": bytes(128) + struct.pack(">I", 2**31 - 1), "header-alone": bytes(128),
    }.items():  # fmt: skip
        body = b"ICC_PROFILE\x00\x01\x01" + profile
        yield case(f"jpeg-profile-{name}", lambda b=body: _jpeg_with(_segment(0xE2, b)), *EITHER)
    yield case("jpeg-profile-parts-lie", lambda: _jpeg_with(_segment(0xE2, b"ICC_PROFILE\x00\x09\x03abc")), *EITHER)
    yield case(
        "jpeg-xmp-laughs", lambda: _jpeg_with(_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + LAUGHS)), *EITHER
    )
    yield case(
        "jpeg-xmp-orientation",
        lambda: _jpeg_with(
            _segment(0xE1, b'http://ns.adobe.com/xap/1.0/\x00<x tiff:Orientation="' + b"6" * 5000 + b'"/>')
        ),
        *EITHER,
    )
    yield case(
        "mpo-count-huge",
        lambda: SOUND["mpo"].replace(
            b"\x01\xb0\x04\x00\x01\x00\x00\x00\x03\x00\x00\x00", b"\x01\xb0\x04\x00\x01\x00\x00\x00\xff\xff\xff\x7f"
        ),
        TOO_MANY,
        *EITHER,
    )
    yield case("mpo-directory-alone", lambda: _jpeg_with(_segment(0xE2, b"MPF\x00" + looping_ifd())), *EITHER)


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]><x:xmpmeta>&j;</x:xmpmeta>"
)


def _jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(SOUND["jpeg"])
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _scan_bomb(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG of almost nothing, whose every scan makes the decoder visit every block again."""
    content = bytearray(saved(Image.new("L", (width, height)), "JPEG", progressive=True, quality=5))
    start, end = content.rindex(b"\xff\xda"), len(content) - 2
    return bytes(content[:end]) + bytes(content[start:end]) * min(scans, 24 * 2**20 // (end - start)) + b"\xff\xd9"
