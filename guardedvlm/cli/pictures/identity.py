"""Identity: a card with a machine-readable zone, and a photograph without text."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from guardedvlm.cli.pictures.page import FACE, INK, WHITE, Colour, DemoPicture, Page, portrait
from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box

INDIGO: Colour = (44, 50, 110)
LABEL: Colour = (86, 96, 128)
SURNAME, GIVEN = "VALKENBURG", "INGRID MAE"
NUMBER = "UT4820917"
_VALUES = {character: value for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}


def check_digit(text: str) -> str:
    """Check digit of a machine-readable zone: weights 7, 3, 1 modulo ten (ICAO Doc 9303-3, 4.9)."""
    return str(sum(_VALUES[character] * (7, 3, 1)[index % 3] for index, character in enumerate(text)) % 10)


def td1(number: str, birth: str, sex: str, expiry: str, surname: str, given: str) -> tuple[str, str, str]:
    """The three lines of a TD1 card of Utopia, the country of ICAO's specimens; dates as YYMMDD (Doc 9303-5, 4.2)."""
    first = f"I<UTO{number}{check_digit(number)}".ljust(30, "<")
    dates = f"{birth}{check_digit(birth)}{sex}{expiry}{check_digit(expiry)}"
    second = f"{dates}UTO".ljust(29, "<")
    composite = first[5:30] + second[:7] + second[8:15] + second[18:29]
    names = f"{surname}<<{given.replace(' ', '<')}".ljust(30, "<")
    return first, second + check_digit(composite), names


def identity_card() -> DemoPicture:
    """Front fields and machine-readable zone on one card."""
    page = Page(1100, 700, _guilloche(1100, 700))
    page.draw.rectangle([0, 0, 1100, 92], INDIGO)
    page.text((40, 44), "REPUBLIC OF UTOPIA", 32, bold=True, fill=WHITE)
    page.text((40, 76), "Identity card", 21, fill=(206, 210, 236))
    page.text((1060, 58), "UTO", 36, bold=True, fill=WHITE, anchor="rs")
    page.paste_portrait((44, 122), 268)
    left, right = 352, 730
    _field(page, (left, 144), "Surname", SURNAME, Kind.PERSON)
    _field(page, (left, 214), "Given names", GIVEN, Kind.PERSON)
    _field(page, (left, 284), "Date of birth", "09 NOV 1984", Kind.DATE_OF_BIRTH)
    _field(page, (left, 354), "Place of birth", "ZENITH", Kind.ATTRIBUTE)
    _field(page, (right, 144), "Document no.", NUMBER, Kind.DOCUMENT_NUMBER)
    _field(page, (right, 214), "Sex", "F", Kind.ATTRIBUTE)
    _field(page, (right, 284), "Date of expiry", "21 JUN 2031", Kind.DATE)
    _field(page, (right, 354), "Nationality", "UTOPIAN", Kind.ATTRIBUTE)
    page.text((left, 426), "Signature", 16, fill=LABEL)
    page.signature((left + 110, 448), 230, 23)
    page.draw.rectangle([0, 510, 1100, 700], (250, 250, 252))
    for row, line in enumerate(td1(NUMBER, "841109", "F", "310621", SURNAME, GIVEN)):
        page.pitched((46, 566 + 52 * row), line, 36, 33.6, kind=Kind.MRZ, fill=INK)
    questions = ("What kind of document is this?", "Which country issued the card?", "Is the card signed?")
    return DemoPicture("identity-card", "Identity card with MRZ", "bank", page.image, tuple(page.personal), questions)


def _field(page: Page, at: tuple[int, int], label: str, value: str, kind: Kind) -> None:
    page.text(at, label, 16, fill=LABEL)
    page.text((at[0], at[1] + 32), value, 26, kind=kind)


def _guilloche(width: int, height: int) -> Image.Image:
    """Rosettes in pale lines over a soft gradient."""
    across = np.linspace(0, 1, width)[None, :, None]
    down = np.linspace(0, 1, height)[:, None, None]
    tint = np.array([[[226, 232, 246]]]) * (1 - across) + np.array([[[246, 236, 240]]]) * across - 6 * down
    image = Image.fromarray(tint.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for ring in range(26):
        radius = 60 + 13 * ring
        rosette = [
            (
                780 + (radius + 18 * math.sin(11 * angle + ring / 3)) * math.cos(angle),
                310 + 0.8 * (radius + 18 * math.sin(11 * angle + ring / 3)) * math.sin(angle),
            )
            for angle in np.linspace(0, 2 * math.pi, 400)
        ]
        draw.line(rosette, (216, 220, 238), 1)
    return image


def photograph() -> DemoPicture:
    """A printed portrait that lies on a table: a face, no text."""
    width, height = 1000, 1200
    table = _table(width, height)
    print_size = (660, 825)
    picture = portrait().resize(print_size, Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))
    sheet = Image.new("RGB", (print_size[0] + 60, print_size[1] + 60), (247, 246, 242))
    sheet.paste(picture, (30, 30))
    at = ((width - sheet.width) // 2, (height - sheet.height) // 2)
    shadow = Image.new("L", (width, height), 0)
    ImageDraw.Draw(shadow).rectangle(
        [at[0] + 10, at[1] + 16, at[0] + sheet.width + 12, at[1] + sheet.height + 18], fill=150
    )
    table.paste((20, 14, 10), (0, 0), shadow.filter(ImageFilter.GaussianBlur(16)))
    table.paste(sheet, at)
    scale = print_size[0] / portrait().width
    face = [(at[0] + 30 + x * scale, at[1] + 30 + y * scale) for x, y in ((FACE.x0, FACE.y0), (FACE.x1, FACE.y1))]
    questions = ("Is there a person in the picture?", "Does the picture contain text?")
    personal = ((Kind.FACE, "", Box.around(face)),)
    return DemoPicture("photograph", "Portrait photograph", "clinic", table, personal, questions)


def _table(width: int, height: int) -> Image.Image:
    """Wood: a warm brown whose grain runs along x."""
    chance = np.random.default_rng(5)
    knots = chance.standard_normal((height // 3, 7)).astype(np.float32)
    grain = np.asarray(Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC))
    fine = np.asarray(
        Image.fromarray(chance.standard_normal((height, 25)).astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
    )
    light = 1 + 0.05 * grain + 0.03 * fine - 0.16 * np.linspace(0, 1, width)[None, :]
    wood = np.array([[[136, 98, 66]]]) * light[:, :, None]
    return Image.fromarray(np.clip(wood, 0, 255).astype(np.uint8))
