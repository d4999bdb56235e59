"""Ink without a character is told, and nothing else is."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.word import UNREAD
from guardedvlm.reading.recognition import NOTHING, Reading
from guardedvlm.reading.unread import with_unread

FONT = ImageFont.load_default(32)


TRACKING = 4
"""Pixels between letters: where they touch, a run of ink has a character although one was skipped."""


def starts(text):
    """Where each character starts, and where the last one ends."""
    return np.cumsum([8, *(FONT.getlength(sign) + TRACKING for sign in text)])


def crop(text, level=0, paper=255):
    """A line as the reader cuts it out."""
    places = starts(text)
    picture = Image.new("RGB", (round(places[-1]) + 8, 44), (paper,) * 3)
    for x, sign in zip(places, text, strict=False):
        ImageDraw.Draw(picture).text((round(x), 2), sign, (level,) * 3, FONT)
    return np.array(picture)


def reading(text, shown):
    """`shown` as a recogniser reads it from a picture of `text`, each character in its place; "_" is skipped."""
    places = starts(text)
    centres = (places[:-1] + places[1:] - TRACKING) / 2 / (round(places[-1]) + 8)
    signs = [(sign, float(at)) for sign, at in zip(shown, centres, strict=True) if sign != "_"]
    return Reading("".join(sign for sign, _ in signs), 0.95, tuple(at for _, at in signs))


@pytest.mark.parametrize(("level", "paper"), [(0, 255), (255, 0), (150, 230), (60, 20)])
@pytest.mark.parametrize("text", ["Johanna Quill", "Total 12.40", "4111 1111", "i.l;'-", "WWWW"])
def test_what_was_read_is_left_as_it_is(text, level, paper):
    assert with_unread(crop(text, level, paper), reading(text, text)) == reading(text, text)


@pytest.mark.parametrize(
    ("text", "shown", "expected"),
    [
        ("Kuznev", "_uznev", f"{UNREAD}uznev"),
        ("Kuznev", "Kuzne_", f"Kuzne{UNREAD}"),
        ("KuzWMev", "Kuz__ev", f"Kuz{UNREAD}+ev"),
        ("Total Kuz", "Total ___", f"Total {UNREAD}+"),
    ],
)
def test_letters_that_were_skipped_are_marked_in_their_place(text, shown, expected):
    found = with_unread(crop(text), reading(text, shown))
    assert re.fullmatch(expected, found.text)
    assert len(found.centres) == len(found.text)
    assert list(found.centres) == sorted(found.centres)
    assert found.confidence == 0.95


def test_thin_rules_and_dust_are_no_letters():
    raster = crop("Total")
    raster[:, 2:5] = 0
    raster[20:22, 80:83] = 0
    assert with_unread(raster, reading("Total", "Total")).text == "Total"


def test_a_line_that_was_not_read_stays_unread():
    assert with_unread(crop("Total"), NOTHING) is NOTHING
    assert with_unread(np.full((20, 60, 3), 128, np.uint8), Reading("x", 0.9, (0.5,))).text == "x"
