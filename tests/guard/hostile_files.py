"""What a hostile file is here: a name, the bytes (made when they are needed) and what may become of it."""

from __future__ import annotations

import functools
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from guardedvlm.errors import Reason

DECODED = "DECODED"
"""All pages came out; whatever was hostile beside the pixels is gone."""
CORRUPT, TOO_LARGE, TOO_SMALL = str(Reason.IMAGE_CORRUPT), str(Reason.IMAGE_TOO_LARGE), str(Reason.IMAGE_TOO_SMALL)
TOO_MANY, NO_PIXELS, UNKNOWN = str(Reason.TOO_MANY_PAGES), str(Reason.NO_PIXELS), str(Reason.FORMAT_UNSUPPORTED)
ENCRYPTED, EMPTY, BYTES = str(Reason.DOCUMENT_ENCRYPTED), str(Reason.EMPTY_INPUT), str(Reason.BYTES_TOO_LARGE)
EITHER = (DECODED, CORRUPT)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file. `expected`: DECODED, or the reasons with which it may be refused."""

    name: str
    make: Callable[[], bytes]
    expected: frozenset[str]


def case(name: str, make: Callable[[], bytes], *expected: str) -> Hostile:
    """A file and what may become of it."""
    return Hostile(name, functools.partial(_quietly, make), frozenset(expected))


def _quietly(make: Callable[[], bytes]) -> bytes:
    """What is made, without the warnings of the libraries that are made to write it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def noise(width: int = 80, height: int = 64, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Pixels that do not compress."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    """A picture as Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, interlace: int = 0, data: bytes | None = None,
        before: bytes = b"", after: bytes = b"", filters: bytes = b"\x00") -> bytes:  # fmt: skip
    """A PNG of any header, with any chunks before and behind its pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    if data is None:
        row = filters[:1] + bytes((width * channels * depth + 7) // 8)
        data = zlib.compress(row * height)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return SIGNATURE + head + before + chunk(b"IDAT", data) + after + chunk(b"IEND")


def deflated_zeros(megabytes: int) -> bytes:
    """A deflate stream of that many megabytes in a thousandth of it."""
    squeeze = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join(squeeze.compress(block) for _ in range(megabytes)) + squeeze.flush()


def cuts(content: bytes, parts: int) -> Iterator[int]:
    """Where to cut: evenly, and near both ends."""
    yield from (len(content) * part // (parts + 1) for part in range(1, parts + 1))
    yield from (9, len(content) - 1)
