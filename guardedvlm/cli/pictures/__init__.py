"""The demonstration's pictures: made-up documents of made-up people, drawn on the spot, each with its ground truth.

Nobody's data is in them. Telephone numbers are of the fictional range 555-01xx, domains of RFC 2606, the card number is
the schemes' test number, the SSN 219-09-9999 was printed on sample cards and is void, the IBAN is the registry's
example, the identity card is of Utopia, the country of ICAO's specimens.
The portrait (portrait.jpg, 320 x 400) is a crop of NASA's photograph of the astronaut Eileen Collins, in the public
domain: "astronaut.png" of scikit-image 0.26 (`skimage.data.astronaut`, from NASA's Great Images, flic.kr/p/r9qvLn),
columns 128-351 and rows 0-279 of it, enlarged.
Same bytes on every run: no clock, no system fonts, fixed seeds.
"""

from __future__ import annotations

from PIL import Image

from guardedvlm.cli.pictures.finance import cheque, invoice, statement
from guardedvlm.cli.pictures.identity import identity_card, photograph
from guardedvlm.cli.pictures.medical import chest_film, intake_form
from guardedvlm.cli.pictures.page import DemoPicture, Page
from guardedvlm.core.finding import Kind

__all__ = ["DemoPicture", "canary_picture", "demo_pictures"]


def demo_pictures() -> tuple[DemoPicture, ...]:
    """Every picture of the demonstration, drawn anew: about four seconds."""
    draw = (intake_form, chest_film, statement, cheque, identity_card, invoice, photograph)
    return tuple(make() for make in draw)


def canary_picture() -> Image.Image:
    """A small picture on which every detector must find something: a face, personal text, a code (900 x 640, RGB)."""
    page = Page(900, 640)
    page.paste_portrait((40, 60), 320)
    page.field((420, 100), "Name", "Harriet Lindqvist", kind=Kind.PERSON, size=30, width=420)
    page.field((420, 190), "Date of birth", "03/14/1967", kind=Kind.DATE_OF_BIRTH, size=30, width=420)
    page.field((420, 280), "Phone", "(212) 555-0142", kind=Kind.PHONE, size=30, width=420)
    page.paste_code("MRN 00482913", (420, 370), 220)
    return page.image
