"""A document, a question and metadata full of canaries, and whether any of them is in what left."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from guardedvlm.cli.pictures.page import FACE, portrait

IN_PICTURE = ("Quillfeather", "4716-0923-71", "quill@canary.example", "VAULT-88201")
IN_QUESTION = ("Farquharson", "quentin@canary.example")
IN_METADATA = ("BROUGHSHANE", "Ballymarlow")
ALL = IN_PICTURE + IN_QUESTION + IN_METADATA
QUESTION = "What is the total for Quentin Farquharson, quentin@canary.example?"
REQUEST_ID = "BROUGHSHANE"
HEADERS = (("x-patient", "Ballymarlow"), ("x-file-name", "BROUGHSHANE.png"))
LEAST_STRUCTURE = 4.0
"""Standard deviation of luminance below which a place shows nothing."""
SAME = 0.5
"""Correlation of a place with what stood there from which on it still shows it."""


@dataclass(frozen=True)
class Planted:
    """The document, its pixels, and where something personal stands on it."""

    content: bytes
    pixels: np.ndarray
    places: dict


def planted():
    """A form with a name, a number, an address, a code and a face; more in its metadata."""
    picture = Image.new("RGB", (860, 420), "white")
    pen, font, places = ImageDraw.Draw(picture), ImageFont.load_default(28), {}
    lines = (("Patient name: Orla ", "Quillfeather"), ("MRN: ", "4716-0923-71"), ("E-mail: ", "quill@canary.example"))
    for row, (label, value) in enumerate(lines):
        at = (30 + pen.textlength(label, font), 30 + 70 * row)
        pen.text((30, at[1]), label + value, "black", font)
        places[value] = tuple(map(round, pen.textbbox(at, value, font)))
    pen.text((30, 250), "Total 12.00", "black", font)
    code = zxingcpp.create_barcode("VAULT-88201", zxingcpp.BarcodeFormat.QRCode).to_image()
    code = Image.fromarray(np.array(code)).resize((120, 120), Image.Resampling.NEAREST)
    picture.paste(code.convert("RGB"), (30, 295))
    places["VAULT-88201"] = (30, 295, 150, 415)
    picture.paste(portrait(), (530, 10))
    places["the face"] = (530 + FACE.x0, 10 + FACE.y0, 530 + FACE.x1, 10 + FACE.y1)
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "BROUGHSHANE")
    told.add_itxt("Author", "Ballymarlow")
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=told)
    return Planted(stream.getvalue(), np.asarray(picture), places)


def strings_in(content):
    """Canaries that stand in bytes: as they are, in UTF-16, in base64 and in hex."""
    low = content.lower()
    return [canary for canary in ALL if any(needle in low for needle in _needles(canary)) or _encoded(canary, content)]


def _needles(canary):
    plain = canary.lower().encode()
    return plain, canary.lower().encode("utf-16-le"), canary.encode().hex().encode(), plain.replace(b"@", b"%40")


def _encoded(canary, content):
    """In base64 it depends on what stands before it."""
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + canary.encode())
        part = whole[4 if shift else 0 :].rstrip(b"=")[:-1]
        if len(part) >= 6 and part in content:
            return True
    return False


def places_in(raster, original):
    """Canaries that a raster of the original's size still shows, pixel by pixel; one of another size shows what it
    correlates with when it is brought to that size."""
    if raster.shape != original.pixels.shape:
        size = (original.pixels.shape[1], original.pixels.shape[0])
        raster = np.asarray(Image.fromarray(raster).resize(size))
    return [name for name, (x0, y0, x1, y1) in original.places.items()
            if _same(original.pixels[y0:y1, x0:x1], raster[y0:y1, x0:x1])]  # fmt: skip


def _same(before, after):
    one, other = (part.mean(axis=2).astype(float) - part.mean() for part in (before, after))
    if other.std() < LEAST_STRUCTURE:
        return False
    return abs((one * other).mean()) > SAME * one.std() * other.std()
