"""A page to draw on that remembers where it wrote something personal.

Everything is drawn with Pillow's built-in typeface (Aileron), so that the pictures are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box

Colour = tuple[int, int, int]

INK: Colour = (28, 30, 34)
GREY: Colour = (112, 118, 126)
RULE: Colour = (198, 203, 210)
WHITE: Colour = (255, 255, 255)
PEN: Colour = (22, 34, 98)
PEN_SCALE = 4
BOLD = 0.028
"""Stroke of bold text per pixel of its size: the typeface comes in one weight."""


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """A picture, what is personal in it, and what one may ask about it.

    `personal`: kind, text ("" for faces, codes and signatures) and the box of its ink, in pixels of `image` (RGB).
    """

    name: str
    title: str
    tenant: str
    image: Image.Image = field(repr=False)
    personal: tuple[tuple[Kind, str, Box], ...] = field(repr=False)
    questions: tuple[str, ...]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The built-in typeface at `size` pixels."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return found


@cache
def portrait() -> Image.Image:
    """The portrait, 320 x 400 RGB."""
    with resources.files(__package__).joinpath("portrait.jpg").open("rb") as stream:
        return Image.open(stream).convert("RGB")


FACE = Box(70, 78, 214, 258)
"""Forehead to chin in the portrait."""


class Page:
    """A picture in the making."""

    def __init__(self, width: int, height: int, paper: Colour | Image.Image = WHITE) -> None:
        self.image = paper if isinstance(paper, Image.Image) else Image.new("RGB", (width, height), paper)
        self.draw = ImageDraw.Draw(self.image)
        self.personal: list[tuple[Kind, str, Box]] = []

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: int = 22,
        *,
        bold: bool = False,
        fill: Colour = INK,
        anchor: str = "ls",
        kind: Kind | None = None,
    ) -> float:
        """Write one line; returns the x at which it ends. `anchor` as Pillow's (left baseline)."""
        stroke = size * BOLD if bold else 0
        self.draw.text(at, text, fill, font(size), anchor, stroke_width=stroke)
        box = Box.around(_corners(self.draw.textbbox(at, text, font(size), anchor, stroke_width=stroke)))
        if kind is not None:
            self.personal.append((kind, text, box))
        return box.x1

    def pitched(
        self,
        at: tuple[float, float],
        text: str,
        size: int,
        pitch: float,
        *,
        kind: Kind | None = None,
        bold: bool = False,
        fill: Colour = INK,
    ) -> None:
        """Write one line with every character centred in a cell `pitch` pixels wide, as on cards and cheques."""
        x, y = at
        for index, character in enumerate(text):
            self.text((x + (index + 0.5) * pitch, y), character, size, bold=bold, fill=fill, anchor="ms")
        if kind is not None:
            ink = Box(round(x), round(y - 0.8 * size), round(x + pitch * len(text)), round(y + 0.1 * size))
            self.personal.append((kind, text, ink))

    def field(
        self,
        at: tuple[float, float],
        label: str,
        value: str,
        *,
        kind: Kind | None = None,
        size: int = 24,
        width: float = 0,
    ) -> None:
        """A small grey label with its value below, on a rule of `width` pixels where one is given."""
        x, y = at
        self.text((x, y), label, round(size * 0.68), fill=GREY)
        self.text((x, y + size * 1.28), value, size, kind=kind)
        if width:
            self.rule(x, y + size * 1.62, x + width)

    def rule(self, x0: float, y: float, x1: float, fill: Colour = RULE, width: int = 1) -> None:
        """A horizontal line."""
        self.draw.line([(x0, y), (x1, y)], fill, width)

    def columns(
        self, y: float, cells: Sequence[tuple[float, str, str, Kind | None]], size: int = 20, *, bold: bool = False
    ) -> None:
        """A table row with its baseline at `y`: (x, anchor, text, kind) a cell."""
        for x, anchor, text, kind in cells:
            if text:
                self.text((x, y), text, size, bold=bold, anchor=anchor, kind=kind)

    def checkbox(self, at: tuple[float, float], label: str, *, ticked: bool, size: int = 20) -> float:
        """A box with its label; returns the x at which the label ends."""
        x, y = at
        self.draw.rectangle([x, y - size + 2, x + size - 2, y], outline=GREY, width=2)
        if ticked:
            self.draw.line(
                [(x + 4, y - size * 0.5), (x + size * 0.4, y - 4), (x + size + 2, y - size - 2)], (20, 40, 110), 3
            )
        return self.text((x + size + 8, y), label, size)

    def paste_portrait(self, at: tuple[int, int], width: int, *, grey: bool = False) -> None:
        """The portrait, `width` pixels wide, in a thin frame."""
        scale = width / portrait().width
        size = (width, round(portrait().height * scale))
        picture = portrait().resize(size, Image.Resampling.LANCZOS)
        self.image.paste(picture.convert("L").convert("RGB") if grey else picture, at)
        self.draw.rectangle([at[0] - 1, at[1] - 1, at[0] + size[0], at[1] + size[1]], outline=GREY)
        face = [(at[0] + x * scale, at[1] + y * scale) for x, y in ((FACE.x0, FACE.y0), (FACE.x1, FACE.y1))]
        self.personal.append((Kind.FACE, "", Box.around(face)))

    def paste_code(self, content: str, at: tuple[int, int], side: int) -> None:
        """A QR code of `content`, at most `side` pixels square, its modules whole pixels."""
        modules = np.asarray(zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode).to_image(), np.uint8)
        code = Image.fromarray(modules)
        scale = max(1, side // code.width)
        code = code.resize((code.width * scale, code.height * scale), Image.Resampling.NEAREST)
        self.image.paste(code.convert("RGB"), at)
        self.personal.append((Kind.CODE, "", Box(at[0], at[1], at[0] + code.width, at[1] + code.height)))

    def length(self, text: str, size: int) -> float:
        """Width of a line of plain text in pixels."""
        return float(self.draw.textlength(text, font(size)))

    def signature(self, at: tuple[float, float], width: float, seed: int) -> None:
        """A pen stroke that looks signed; nobody's hand."""
        points = _scribble(width, seed) + np.array(at)
        box = Box.around([(float(x), float(y)) for x, y in points]).grown(3)
        # Drawn four times as large and scaled down: Pillow's lines have hard edges.
        stroke = Image.new("L", (box.width * PEN_SCALE, box.height * PEN_SCALE))
        pen = ImageDraw.Draw(stroke)
        marks = (points - np.array([box.x0, box.y0])) * PEN_SCALE
        for (x, y), radius in zip(marks, _pressure(len(marks), seed) * PEN_SCALE / 2, strict=True):
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], 255)
        self.image.paste(PEN, (box.x0, box.y0), stroke.resize((box.width, box.height), Image.Resampling.LANCZOS))
        self.personal.append((Kind.SIGNATURE, "", box))


def _corners(box: tuple[float, float, float, float]) -> Iterable[tuple[float, float]]:
    return ((box[0], box[1]), (box[2], box[3]))


def _scribble(width: float, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Points of a running hand: loops that move right and grow smaller, a capital first, a flourish last."""
    chance = np.random.default_rng(seed)
    t = np.linspace(0, 1, 1_600)
    height = width * (0.16 * np.exp(-5 * t) + 0.055 + 0.02 * np.sin(9 * t + chance.uniform(0, 6)))
    turns = 2 * np.pi * (9 + chance.uniform(-1, 1)) * t + chance.uniform(0, 6)
    x = width * t * 0.82 + 0.35 * height * np.cos(turns)
    y = -height * (0.55 + 0.75 * np.sin(turns)) + width * 0.03 * np.sin(5 * t)
    flourish = np.linspace(0, 1, 400)
    fx = x[-1] + (width - x[-1]) * np.sin(flourish * np.pi / 2) - width * 0.55 * flourish**3
    fy = y[-1] + width * 0.06 * flourish + width * 0.02 * np.sin(7 * flourish)
    return np.stack([np.concatenate([x, fx]), np.concatenate([y, fy])], axis=1)


def _pressure(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    t = np.linspace(0, 1, count)
    return np.clip(2.9 + 1.0 * np.sin(61 * t + seed) - 1.2 * t, 1.3, 4)
