"""Draws the pictures of the shipped policies' cases. Made-up people and numbers only.

.venv/bin/python tests/policy/case_pictures.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from guardedvlm.cli.pictures.page import Page

POLICIES = Path(__file__).parents[2] / "policies"
COLOURS = 64
"""Of a palette: the portrait stays a face, and the file small."""


def badge() -> Image.Image:
    """A badge with a portrait and a name."""
    page = Page(640, 300)
    page.paste_portrait((30, 40), 170)
    page.field((240, 80), "Patient name", "Harriet Lindqvist", size=32)
    page.field((240, 180), "MRN", "00482913", size=32)
    return page.image


def wristband() -> Image.Image:
    """A strip with a name, a birth date and a QR code."""
    page = Page(720, 240)
    page.field((30, 50), "Name", "LINDQVIST, HARRIET", size=30)
    page.field((30, 140), "Date of birth", "03/14/1967", size=30)
    page.paste_code("MRN 00482913", (520, 20), 190)
    return page.image


def receipt() -> Image.Image:
    """A receipt whose merchant, date and amounts stay, with a code that leads to the customer's own copy."""
    page = Page(520, 560)
    page.text((40, 60), "RESTORAN WAN SHENG", 30, bold=True)
    page.text((40, 110), "12/03/2024", 26)
    page.columns(170, [(40, "ls", "Noodle soup", None), (480, "rs", "12.50", None)], 26)
    page.columns(220, [(40, "ls", "TOTAL", None), (480, "rs", "12.50", None)], 28, bold=True)
    page.text((40, 290), "Card number: 4111 1111 1111 1111", 26)
    page.paste_code("https://copy.example/7731", (150, 330), 210)
    return page.image


def card() -> Image.Image:
    """A customer's card with a portrait and an IBAN."""
    page = Page(760, 300)
    page.paste_portrait((30, 40), 170)
    page.field((240, 80), "Account holder", "Harriet Lindqvist", size=32)
    page.field((240, 180), "IBAN", "DE89 3704 0044 0532 0130 00", size=32)
    return page.image


PICTURES: Mapping[str, Callable[[], Image.Image]] = {
    "healthcare/cases/badge.png": badge,
    "healthcare/cases/wristband.png": wristband,
    "finance/cases/receipt.png": receipt,
    "finance/cases/card.png": card,
}


def drawn(name: str) -> Image.Image:
    """The picture as it is stored."""
    return PICTURES[name]().quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


if __name__ == "__main__":
    for name in PICTURES:
        drawn(name).save(POLICIES / name, optimize=True)
