"""Hostile pictures: GIF, WebP, TIFF, BMP."""

from __future__ import annotations

import struct
from collections.abc import Iterator

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
    noise,
    saved,
)
from hostile_pictures import LAUGHS, looping_ifd
from PIL import Image
from sound_documents import SOUND


def rasters() -> Iterator[Hostile]:
    """All of them."""
    yield from _gif()
    yield from _webp()
    yield from _tiff()
    yield from _bmp()


def _gif() -> Iterator[Hostile]:
    for width, height in ((65_535, 65_535), (65_535, 8), (0, 0), (1, 1), (0, 64)):
        content = SOUND["gif"][:6] + struct.pack("<HH", width, height) + SOUND["gif"][10:]
        expected = (TOO_LARGE, TOO_SMALL, *EITHER)  # Pillow takes the largest of screen and frames
        yield case(f"gif-{width}x{height}", lambda c=content: c, *expected)
    yield case("gif-frames-many", lambda: _gif_film(5_000), TOO_MANY)
    yield case("gif-frames-60", lambda: _gif_film(60), TOO_MANY)
    yield case("gif-frame-outside", lambda: _gif_film(2, at=60_000), TOO_LARGE, *EITHER)
    yield case("gif-no-frame", lambda: b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b";", NO_PIXELS, CORRUPT)
    yield case(
        "gif-comments-many",
        lambda: SOUND["gif"][:-1] + b"!\xfe" + b"\xffx" * 1 + (b"\xff" + b"x" * 255) * 9_000 + b"\x00;",
        *EITHER,
    )
    yield case("gif-code-size-13", lambda: _gif_film(1, code_size=13), *EITHER)
    yield case("gif-code-size-0", lambda: _gif_film(1, code_size=0), *EITHER)
    yield case("gif-codes-garbage", lambda: _gif_film(1, codes=b"\xff" * 200), *EITHER)
    yield case(
        "gif-loops",
        lambda: SOUND["gif"].replace(b"NETSCAPE2.0\x03\x01\x00\x00", b"NETSCAPE2.0\x03\x01\xff\xff"),
        *EITHER,
    )


def _gif_film(frames: int, at: int = 0, code_size: int = 2, codes: bytes = b"\x84\x8f\xa9\xcb\xed\x0f") -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", at, at, 64, 64, 0) + bytes([code_size, len(codes)]) + codes + b"\x00"
    return head + frame * frames + b";"


def _webp() -> Iterator[Hostile]:
    for width, height in ((2**24, 2**24), (16_383, 16_383), (1, 1)):
        yield case(
            f"webp-canvas-{width}x{height}", lambda w=width, h=height: _webp_canvas(w, h), TOO_LARGE, TOO_SMALL, CORRUPT
        )
    yield case(
        "webp-lossless-16383",
        lambda: _riff(b"VP8L" + struct.pack("<IBI", 9, 0x2F, 16_382 | 16_382 << 14) + bytes(5)),
        TOO_LARGE,
        CORRUPT,
    )
    yield case("webp-frames-60", lambda: _webp_film(60), TOO_MANY)
    yield case("webp-size-lie", lambda: SOUND["webp"][:4] + b"\xff\xff\xff\x7f" + SOUND["webp"][8:], *EITHER)
    yield case("webp-size-zero", lambda: SOUND["webp"][:4] + bytes(4) + SOUND["webp"][8:], *EITHER)
    yield case("webp-riff-alone", lambda: b"RIFF\x04\x00\x00\x00WEBP", CORRUPT)
    yield case("webp-exif-loop", lambda: saved(Image.fromarray(noise()), "WEBP", exif=looping_ifd()), *EITHER)
    yield case(
        "webp-profile-garbage", lambda: saved(Image.fromarray(noise()), "WEBP", icc_profile=b"\xff" * 500), *EITHER
    )
    yield case("webp-xmp-laughs", lambda: saved(Image.fromarray(noise()), "WEBP", xmp=LAUGHS), *EITHER)
    yield case("webp-lossy-alpha", lambda: saved(Image.fromarray(noise(channels=4)), "WEBP", quality=30), DECODED)
    yield case(
        "webp-huffman-garbage",
        lambda: _riff(b"VP8L" + struct.pack("<IBI", 4096, 0x2F, 63 | 63 << 14) + b"\xff" * 4091),
        CORRUPT,
    )


def _riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _webp_canvas(width: int, height: int) -> bytes:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return _riff(b"VP8X" + struct.pack("<II", 10, 0) + sides + SOUND["webp"][12:])


def _webp_film(frames: int) -> bytes:
    first = Image.new("RGB", (64, 64))
    others = [Image.new("RGB", (64, 64), (index, 0, 0)) for index in range(1, frames)]
    return saved(first, "WEBP", save_all=True, append_images=others, lossless=True)


def _tags(*entries: tuple[int, int, int, int], behind: bytes = b"", following: int = 0) -> bytes:
    """A little TIFF: (tag, type, count, value) and what they point at, from byte 8 + 2 + 12 n + 4 on."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + behind


def _grey(width: int, height: int, **changed: int) -> bytes:
    """An uncompressed grey TIFF with some tags changed (by number, "t259=5")."""
    tags = {
        256: (4, width),
        257: (4, height),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        273: (4, 500),
        277: (3, 1),
        278: (4, height),
        279: (4, 4096),
    }
    tags |= {int(name[1:]): (4, value) for name, value in changed.items()}
    entries = [(tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())]
    content = _tags(*entries)
    return content + bytes(500 - len(content)) + bytes(4096)


def _tiff() -> Iterator[Hostile]:
    for width, height in ((2**32 - 1, 2**32 - 1), (65_536, 65_536), (20_001, 10), (0, 64), (64, 0), (1, 1)):
        yield case(
            f"tiff-{width}x{height}", lambda w=width, h=height: _grey(w, h), TOO_LARGE, TOO_SMALL, CORRUPT, UNKNOWN
        )
    for name, change in {
        "strip-beyond": {"t273": 2**31}, "strip-at-zero": {"t273": 0}, "bytes-huge": {"t279": 2**32 - 1}, "bytes-zero": {"t279": 0},
        "rows-zero": {"t278": 0}, "rows-huge": {"t278": 2**32 - 1}, "bits-zero": {"t258": 0}, "bits-7": {"t258": 7},
        "bits-65535": {"t258": 65_535}, "samples-zero": {"t277": 0}, "samples-65535": {"t277": 65_535},
        "compression-unknown": {"t259": 60_000}, "compression-lzw": {"t259": 5}, "compression-fax": {"t259": 4},
        "compression-jpeg": {"t259": 7}, "compression-old-jpeg": {"t259": 6}, "compression-deflate": {"t259": 8},
        "compression-lzma": {"t259": 34_925}, "compression-zstd": {"t259": 50_000}, "compression-webp": {"t259": 50_001},
        "compression-packbits": {"t259": 32_773}, "predictor-9": {"t259": 5, "t317": 9}, "planar-9": {"t284": 9},
        "photometric-unknown": {"t262": 40_000}, "photometric-lab": {"t262": 8}, "orientation-99": {"t274": 99},
        "sample-format-9": {"t339": 9}, "tile-zero": {"t322": 0, "t323": 0}, "tile-huge": {"t322": 2**31, "t323": 2**31},
        "fill-order-2": {"t266": 2}, "profile-beyond": {"t34675": 2**31}, "exif-loop": {"t34665": 8}, "sub-loop": {"t330": 8},
    }.items():  # fmt: skip
        yield case(f"tiff-{name}", lambda c=change: _grey(64, 64, **c), UNKNOWN, TOO_LARGE, *EITHER)
    yield case("tiff-loop", lambda: _tags((256, 4, 1, 64), following=8), CORRUPT)
    yield case("tiff-directories-many", lambda: _chain(5_000), TOO_MANY, CORRUPT)
    yield case(
        "tiff-directories-60",
        lambda: saved(Image.new("L", (16, 16)), "TIFF", save_all=True, append_images=[Image.new("L", (16, 16))] * 59),
        TOO_MANY,
    )
    yield case("tiff-entries-65535", lambda: b"II*\x00" + struct.pack("<IH", 8, 65_535) + bytes(900), CORRUPT)
    yield case("tiff-entry-count-huge", lambda: _tags((256, 4, 2**32 - 1, 64), (257, 4, 1, 64)), CORRUPT, UNKNOWN)
    yield case("tiff-offset-beyond", lambda: b"II*\x00" + struct.pack("<I", 2**31), CORRUPT)
    yield case("tiff-no-directory", lambda: b"II*\x00" + bytes(40), NO_PIXELS, CORRUPT)
    yield case("tiff-big-offset-beyond", lambda: b"II+\x00\x08\x00\x00\x00" + struct.pack("<Q", 2**63), CORRUPT)
    yield case(
        "tiff-big-entries-huge", lambda: b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 2**63) + bytes(90), CORRUPT
    )
    for name in ("tiff_deflate", "tiff_lzw", "packbits"):
        yield case(
            f"tiff-{name}-bomb", lambda n=name: saved(Image.new("RGB", (6000, 6000)), "TIFF", compression=n), DECODED
        )
        yield case(
            f"tiff-{name}-20000",
            lambda n=name: saved(Image.new("1", (19_000, 19_000)), "TIFF", compression=n),
            TOO_LARGE,
        )
    for mode in ("CMYK", "LAB", "I;16", "F", "1", "LA", "RGBA", "YCbCr"):
        expected = (UNKNOWN,) if mode == "LAB" else (DECODED,)
        yield case(f"tiff-{mode.replace(';', '-').lower()}", lambda m=mode: _of_mode(m), *expected)
    yield case("tiff-float-nan", lambda: saved(Image.new("F", (64, 64), float("nan")), "TIFF"), CORRUPT)
    yield case("tiff-float-infinite", lambda: saved(Image.new("F", (64, 64), float("inf")), "TIFF"), CORRUPT)


def _of_mode(mode: str) -> bytes:
    if mode in ("I;16", "F"):
        grey = noise(channels=1)[:, :, 0]
        return saved(Image.fromarray(grey.astype("<u2") * 257 if mode == "I;16" else grey.astype("<f4")), "TIFF")
    return saved(Image.new(mode, (64, 64)) if mode == "LAB" else Image.fromarray(noise()).convert(mode), "TIFF")


def _chain(directories: int) -> bytes:
    out = bytearray(b"II*\x00" + struct.pack("<I", 8))
    for index in range(directories):
        following = len(out) + 18 if index < directories - 1 else 0
        out += struct.pack("<HHHII", 1, 256, 4, 1, 64) + struct.pack("<I", following)
    return bytes(out)


def _bmp() -> Iterator[Hostile]:
    for width, height in (
        (2**31 - 1, 2**31 - 1),
        (-1, 64),
        (64, -64),
        (0, 0),
        (64, 0),
        (20_001, 8),
        (64, -(2**31)),
        (1, 1),
    ):
        yield case(f"bmp-{width}x{height}", lambda w=width, h=height: _bitmap(w, h), TOO_LARGE, TOO_SMALL, *EITHER)
    for bits in (0, 2, 3, 16, 32, 64, 255):
        yield case(f"bmp-bits-{bits}", lambda b=bits: _bitmap(64, 64, bits=b), UNKNOWN, *EITHER)
    for compression in (1, 2, 3, 4, 5, 99):
        yield case(
            f"bmp-compression-{compression}", lambda c=compression: _bitmap(64, 64, compression=c), UNKNOWN, *EITHER
        )
    yield case("bmp-colours-huge", lambda: _bitmap(64, 64, bits=8, colours=2**32 - 1), *EITHER)
    yield case("bmp-offset-beyond", lambda: _bitmap(64, 64)[:10] + b"\xff\xff\xff\x7f" + _bitmap(64, 64)[14:], CORRUPT)
    yield case("bmp-runs-slow", lambda: _runs(5000), TOO_LARGE, CORRUPT)
    yield case("bmp-runs-outside", lambda: _runs(64, b"\x00\x02\xff\xff" * 4000), *EITHER)


def _bitmap(width: int, height: int, bits: int = 24, compression: int = 0, colours: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + bytes(64 * 64 * 8)


def _runs(side: int, rows: bytes = b"") -> bytes:
    """Run-length encoded in runs of one pixel, which Pillow decodes in Python."""
    rows = rows or (b"\x01\x07" * side + b"\x00\x00") * min(side, 2400) + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows
