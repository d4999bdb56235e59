"""The line at the foot of a cheque: E-13B characters (ISO 1004-1), and the check digit of a routing number.

Shapes on the standard's grid of 7 x 9 cells: a character is at most 7 cells wide, right-aligned, its strokes one or two
cells thick.
"""

from __future__ import annotations

from PIL import ImageDraw

TRANSIT, ON_US, AMOUNT, DASH = "A", "C", "B", "D"

_SHAPES = {
    "0": "XXXXXXX X.....X X.....X X.....X X.....X X.....X X.....X X.....X XXXXXXX",
    "1": "..XXX.. ....X.. ....X.. ....X.. ....X.. ..XXXXX ..XXXXX ..XXXXX ..XXXXX",
    "2": "...XXXX ......X ......X ......X ...XXXX ...X... ...X... ...X... ...XXXX",
    "3": "..XXXX. .....X. .....X. .....X. ..XXXXX .....XX .....XX .....XX ..XXXXX",
    "4": "XX..... XX..... XX..... XX..XX. XX..XX. XXXXXXX ....XX. ....XX. ....XX.",
    "5": "..XXXXX ..X.... ..X.... ..X.... ..XXXXX ......X ......X ......X ..XXXXX",
    "6": "XXX.... X.X.... X...... X...... XXXXXXX X.....X X.....X X.....X XXXXXXX",
    "7": "..XXXXX ..X...X ......X ......X ....XXX ....X.. ....X.. ....X.. ....X..",
    "8": ".XXXXX. .X...X. .X...X. .X...X. XXXXXXX XX...XX XX...XX XX...XX XXXXXXX",
    "9": "XXXXXXX X.....X X.....X X.....X XXXXXXX .....XX .....XX .....XX .....XX",
    TRANSIT: "....... ....XXX X...XXX X...XXX X...... X...XXX X...XXX ....XXX .......",
    ON_US: "....... ...X... XX.X... XX.X.XX XX.X.XX XX.X.XX XX.X.XX .....XX .......",
    AMOUNT: "....... .....XX .....XX ...X.XX ...X... XX.X... XX..... XX..... .......",
    DASH: "....... ....... ....... XX.X.XX XX.X.XX XX.X.XX ....... ....... .......",
    " ": "....... ....... ....... ....... ....... ....... ....... ....... .......",
}
CELL_WIDTH, CELL_HEIGHT = 7, 9
PITCH = 0.125 / 0.117
"""Distance of characters per height: 0.125 by 0.117 inch."""


def write_line(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, height: int) -> tuple[int, int]:
    """Draw `text` with its top left corner at `at`; returns the bottom right corner."""
    x, y = at
    cell = height / CELL_HEIGHT
    for index, character in enumerate(text):
        left = x + index * height * PITCH
        for row, bits in enumerate(_SHAPES[character].split()):
            for column, bit in enumerate(bits):
                if bit == "X":
                    draw.rectangle(
                        [
                            left + column * cell * 0.9,
                            y + row * cell,
                            left + (column + 1) * cell * 0.9 - 0.5,
                            y + (row + 1) * cell - 0.5,
                        ],
                        (24, 24, 28),
                    )
    return round(x + len(text) * height * PITCH), y + height


def routing_check_digit(first_eight: str) -> str:
    """Ninth digit of an ABA routing number: weights 3, 7, 1 sum to a multiple of ten."""
    total = sum(int(digit) * weight for digit, weight in zip(first_eight, (3, 7, 1) * 3, strict=False))
    return str(-total % 10)
