"""A slow encoder of JPEG lossless (ISO 10918-1, annex H), to compare the decoder with."""

import struct


def encode(pixels, bits, predictor=1):
    """An (H, W) or (H, W, 3) array of unsigned samples of `bits` bits as one interleaved scan."""
    planes = [pixels] if pixels.ndim == 2 else [pixels[:, :, channel] for channel in range(3)]
    planes = [plane.astype(int) for plane in planes]
    height, width = planes[0].shape
    words = []
    for y in range(height):
        for x in range(width):
            for plane in planes:
                words.append(_code(int(plane[y, x]) - _predicted(plane, x, y, bits, predictor)))
    return _wrapped("".join(words), width, height, len(planes), bits, predictor)


def _predicted(plane, x, y, bits, predictor):
    if x == y == 0:
        return 1 << (bits - 1)
    if y == 0:
        return int(plane[0, x - 1])
    if x == 0:
        return int(plane[y - 1, 0])
    a, b, c = int(plane[y, x - 1]), int(plane[y - 1, x]), int(plane[y - 1, x - 1])
    return (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)[predictor - 1]


def _code(difference):
    """Category in five bits (17 codes of one length), then the difference in as many bits as its category."""
    difference = (difference + 32768) % 65536 - 32768
    if difference == -32768:
        return f"{16:05b}"
    category = abs(difference).bit_length()
    value = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:05b}" + (f"{value:0{category}b}" if category else "")


def _wrapped(word, width, height, count, bits, predictor):
    word += "1" * (-len(word) % 8)
    body = int(word, 2).to_bytes(len(word) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BHHB", bits, height, width, count)
    frame += b"".join(bytes([index + 1, 0x11, 0]) for index in range(count))
    table = bytes([0, 0, 0, 0, 0, 17]) + bytes(11) + bytes(range(17))
    scan = bytes([count]) + b"".join(bytes([index + 1, 0]) for index in range(count)) + bytes([predictor, 0, 0])
    parts = [(0xC4, table), (0xC3, frame), (0xDA, scan)]
    head = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in parts)
    return b"\xff\xd8" + head + body + b"\xff\xd9"
