"""How many frames a file really holds, from its structure, before a decoder runs.

Decoders stop early and say nothing: Pillow takes a GIF or a TIFF that was cut between two frames for a shorter one.
A file whose structure does not add up to its end is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.image import Format


def count_frames(content: bytes, format: Format, limit: int) -> int | None:
    """Frames of a PNG, GIF or TIFF; counting stops above `limit`. None where the decoder knows itself.

    Raises InvalidInput(IMAGE_CORRUPT) where the structure is cut or does not add up.
    """
    walk = _WALKS.get(format)
    if walk is None:
        return None
    try:
        return walk(content, limit)
    except (IndexError, struct.error):  # read beyond the end
        raise InvalidInput(Reason.IMAGE_CORRUPT) from None


def _png(content: bytes, limit: int) -> int:
    """Chunks up to IEND (PNG 3rd edition, section 5); every fcTL is a frame, and so is a default image without one."""
    position, controls, animated, pixels, default = 8, 0, False, False, False
    while True:
        length, kind = struct.unpack_from(">I4s", content, position)
        position += 12 + length
        if position > len(content):
            raise InvalidInput(Reason.IMAGE_CORRUPT)
        if kind == b"IEND":
            break
        if kind == b"acTL":
            animated = True
        elif kind == b"fcTL":
            controls += 1
        elif kind == b"IDAT" and not pixels:
            pixels, default = True, controls == 0
        if controls > limit:
            break
    return controls + default if animated else 1


def _gif(content: bytes, limit: int) -> int:
    """Blocks up to the trailer (GIF89a, appendix B); every image descriptor is a frame."""
    position, frames = 13 + _gif_palette(content[10]), 0
    while frames <= limit:
        introducer = content[position]
        if introducer == 0x3B:
            break
        if introducer == 0x21:
            position = _gif_end_of_blocks(content, position + 2)
        elif introducer == 0x2C:
            frames += 1
            # the descriptor, its palette, the code size
            position = _gif_end_of_blocks(content, position + 10 + _gif_palette(content[position + 9]) + 1)
        else:
            raise InvalidInput(Reason.IMAGE_CORRUPT)
    return frames


def _gif_palette(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_end_of_blocks(content: bytes, position: int) -> int:
    while content[position]:
        position += content[position] + 1
    return position + 1


def _tiff(content: bytes, limit: int) -> int:
    """The chain of image file directories (TIFF 6.0, section 2; BigTIFF has 64-bit offsets)."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2 if order == "<" else 3] == 43
    count_form, offset_form, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    (position,) = struct.unpack_from(order + offset_form, content, 8 if big else 4)
    seen: set[int] = set()
    while position and len(seen) <= limit:
        if position in seen:
            raise InvalidInput(Reason.IMAGE_CORRUPT)
        seen.add(position)
        (entries,) = struct.unpack_from(order + count_form, content, position)
        (position,) = struct.unpack_from(
            order + offset_form, content, position + struct.calcsize("<" + count_form) + entries * entry
        )
    return len(seen)


_WALKS: dict[Format, Callable[[bytes, int], int]] = {Format.PNG: _png, Format.GIF: _gif, Format.TIFF: _tiff}
