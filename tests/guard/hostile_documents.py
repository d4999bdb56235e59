"""All hostile files: `HOSTILE`, by name. Made when they are needed and always the same; nothing of them is kept."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Iterator

from hostile_dicom import files
from hostile_files import (
    CORRUPT,
    DECODED,
    EITHER,
    EMPTY,
    NO_PIXELS,
    TOO_LARGE,
    TOO_MANY,
    TOO_SMALL,
    UNKNOWN,
    Hostile,
    case,
    cuts,
    deflated_zeros,
)  # fmt: skip
from hostile_pdf import documents
from hostile_pictures import pictures
from hostile_rasters import rasters
from sound_documents import SOUND

ANYTHING = (DECODED, CORRUPT, TOO_LARGE, TOO_SMALL, TOO_MANY, NO_PIXELS, UNKNOWN)
MUTANTS = 6


def _truncations() -> Iterator[Hostile]:
    """Cut anywhere; `test_decode_hostile` compares the pixels of what is still whole."""
    for kind, content in SOUND.items():
        for cut in cuts(content, 3):
            yield case(f"{kind}-cut-at-{cut}", lambda c=content, n=cut: c[:n], NO_PIXELS, UNKNOWN, *EITHER)


def _mutants() -> Iterator[Hostile]:
    """Sound files with bytes changed, most of them in their heads."""
    for kind, content in SOUND.items():
        for seed in range(MUTANTS):
            yield case(f"{kind}-mutant-{seed}", lambda c=content, s=seed, k=kind: _mutated(c, f"{k}{s}"), *ANYTHING)


def _mutated(content: bytes, seed: str) -> bytes:
    chance, changed = random.Random(seed), bytearray(content)
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(4, min(len(changed), 600) if chance.random() < 0.7 else len(changed))
        changed[at] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
    return bytes(changed)


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("word/document.xml"), content, zipfile.ZIP_DEFLATED)  # without the time of day
    return stream.getvalue()


def _polyglots() -> Iterator[Hostile]:
    """Two formats in one file: the first bytes decide, and only what that format shows goes on."""
    yield case("png-then-zip", lambda: SOUND["png"] + _zip(bytes(900)), *EITHER)
    yield case("png-then-pdf", lambda: SOUND["png"] + SOUND["pdf"], *EITHER)
    yield case("jpeg-then-zip", lambda: SOUND["jpeg"] + _zip(bytes(900)), *EITHER)
    yield case("jpeg-then-bomb", lambda: SOUND["jpeg"] + _zip(bytes(200 * 2**20)), *EITHER)
    yield case("gif-then-script", lambda: SOUND["gif"] + b"=1;alert(1)//", *EITHER)
    yield case("gif-as-script", lambda: b"GIF89a/*" + SOUND["gif"][8:] + b"*/=1", *ANYTHING)
    yield case("pdf-then-png", lambda: SOUND["pdf"] + SOUND["png"], CORRUPT, DECODED)
    yield case("pdf-within-png", lambda: SOUND["png"][:8] + SOUND["pdf"], CORRUPT)
    yield case("tiff-in-dicom-preamble", lambda: SOUND["tiff"][:128] + SOUND["dicom"][128:], *EITHER)
    yield case("png-in-dicom-preamble", lambda: SOUND["png"][:128] + SOUND["dicom"][128:], *EITHER)
    yield case("dicom-mark-in-png", lambda: SOUND["png"][:128] + b"DICM" + SOUND["png"][132:], CORRUPT, NO_PIXELS)
    yield case("bmp-of-text", lambda: b"BM" + b"hello world, this is no picture at all", UNKNOWN)
    yield case("webp-of-sound", lambda: b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40), UNKNOWN)


def _others() -> Iterator[Hostile]:
    """What the service does not take, whatever it is called."""
    for name, content in {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', "html": b"<!doctype html><script>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd)(r)file", "wmf": b"\xd7\xcd\xc6\x9a" + bytes(90), "emf": b"\x01\x00\x00\x00" + bytes(90),
        "ico": b"\x00\x00\x01\x00\x01\x00" + bytes(90), "psd": b"8BPS" + bytes(90), "jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(90),
        "j2k": b"\xff\x4f\xff\x51" + bytes(90), "heic": b"\x00\x00\x00\x18ftypheic" + bytes(90), "avif": b"\x00\x00\x00\x18ftypavif" + bytes(90),
        "elf": b"\x7fELF" + bytes(90), "gzip": b"\x1f\x8b\x08" + bytes(90), "text": b"hello", "null": bytes(900), "one": b"\x89",
        "ones": b"\xff" * 900, "mng": b"\x8aMNG\r\n\x1a\n" + bytes(90), "fits": b"SIMPLE  =" + bytes(90), "exr": b"\x76\x2f\x31\x01" + bytes(90),
        "pcx": b"\x0a\x05\x01\x08" + bytes(120), "tga": bytes(2) + b"\x02" + bytes(90), "xbm": b"#define a_width 8", "djvu": b"AT&TFORM" + bytes(90),
        "xz": b"\xfd7zXZ\x00" + bytes(90), "xml": b"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
    }.items():  # fmt: skip
        yield case(f"other-{name}", lambda c=content: c, UNKNOWN)
    yield case("other-zip-bomb", lambda: _zip(bytes(300 * 2**20)), UNKNOWN)
    yield case("other-zlib-bomb", lambda: deflated_zeros(300), UNKNOWN)
    yield case("other-empty", lambda: b"", EMPTY)
    yield case("other-too-large", lambda: SOUND["png"] + bytes(33 * 2**20), "BYTES_TOO_LARGE")
    yield case("other-tar", lambda: b"a" * 257 + b"ustar" + struct.pack("<I", 0) + bytes(250), UNKNOWN)


HOSTILE: dict[str, Hostile] = {}
for _group in (pictures, rasters, documents, files, _truncations, _mutants, _polyglots, _others):
    for _file in _group():
        assert _file.name not in HOSTILE, _file.name
        HOSTILE[_file.name] = _file
