"""A picture with canaries on it, and which of its pixels are whose ink.

Nothing here looks at what a reader could read: size, contrast and place are set, not recognised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from guardedvlm.core.region import Raster
from guardedvlm.evaluation.leak.canaries import Canary, canaries
from guardedvlm.evaluation.leak.fonts import by_hand, font, typefaces, x_height
from guardedvlm.evaluation.leak.grounds import GROUNDS, Canvas, Drawn
from guardedvlm.evaluation.leak.wear import Wear, worn

SMALLEST, LARGEST = 7, 80
"""Font sizes in pixels."""
LEAST_CONTRAST, MOST_CONTRAST = 1.2, 21.0
"""WCAG contrast ratios; 21 is black on white."""
WIDEST = 0.92
"""Share of the picture's width that a line may take."""
TRIES = 60
"""Places that are tried for a line before it is made smaller."""
SMALLER = 0.8
LEAST_INK = 0.05
"""Alpha from which a pixel belongs to a line's ink at all."""
HARMLESS = (
    "Total 12.40", "Quantity 3", "Invoice", "Please turn over", "Subtotal 8.00", "Findings", "No change since",
    "Page 1 of 2", "Thank you", "Description", "Amount", "5 mg twice daily", "Left lung clear", "Tax 1.20",
)  # fmt: skip
"""Lines that are about nobody; 6 a picture."""
HARMLESS_COUNT = 6


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A drawn line of text. `corners`: (4, 2) float x, y in reading order; `canary` is None for a harmless one.

    `x_height` in pixels of the picture; `conditions` are what the report groups by.
    """

    canary: Canary | None
    text: str = field(repr=False)
    corners: npt.NDArray[np.float64]
    x_height: float
    conditions: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """`owner` (H, W): index + 1 of the line whose ink a pixel has, 0 for none; `alpha` (H, W) uint8: how much ink."""

    raster: Raster = field(repr=False)
    owner: npt.NDArray[np.int16] = field(repr=False)
    alpha: npt.NDArray[np.uint8] = field(repr=False)
    lines: Sequence[Line]


def scene(seed: int, count: int) -> Scene:
    """The picture of a seed, with `count` canaries."""
    drawn = np.random.default_rng(seed)
    ground = list(GROUNDS)[seed % len(GROUNDS)]
    sketch = _Sketch(np.clip(GROUNDS[ground](drawn), 0, 255), drawn)
    for canary in canaries(seed, count):
        sketch.write_canary(canary)
    for text in drawn.choice(HARMLESS, HARMLESS_COUNT, replace=False):
        sketch.write(str(text), None, int(drawn.integers(14, 30)), float(drawn.uniform(4.5, 12)), 0.0, {})
    wear = Wear.drawn(drawn)
    raster, owner, alpha, matrix = worn(sketch.canvas, sketch.owner, sketch.alpha, wear, drawn)
    lines = [_moved(line, matrix, {"ground": ground, **wear.conditions()}) for line in sketch.lines]
    return Scene(raster, owner, alpha, lines)


class _Sketch:
    """A canvas on which lines are drawn one beside the other."""

    def __init__(self, canvas: Canvas, drawn: Drawn) -> None:
        self.canvas = np.ascontiguousarray(canvas, np.float32)
        self.owner = np.zeros(canvas.shape[:2], np.int16)
        self.alpha = np.zeros(canvas.shape[:2], np.uint8)
        self.lines: list[Line] = []
        self._taken: npt.NDArray[np.bool_] = np.zeros(canvas.shape[:2], np.bool_)
        self._drawn = drawn

    def write_canary(self, canary: Canary) -> None:
        """Draw a canary somewhere, its label before it as a line of its own, most of the time."""
        drawn = self._drawn
        size = round(SMALLEST * (LARGEST / SMALLEST) ** (drawn.random() ** 1.3))
        contrast = LEAST_CONTRAST * (MOST_CONTRAST / LEAST_CONTRAST) ** drawn.random()
        angle, way = 0.0, "level"
        if drawn.random() < 0.12:
            angle, way = float(drawn.uniform(-180, 180)), "any angle"
        elif drawn.random() < 0.08:
            angle, way = float(drawn.choice((90.0, -90.0))), "vertical"
        lead = f"{canary.label}: " if drawn.random() < 0.75 else ""
        conditions = {"way": way, "label": "with label" if lead else "alone"}
        if self.write(canary.text, canary, size, contrast, angle, conditions, lead) and drawn.random() < 0.08:
            self._occlude()

    def write(
        self,
        text: str,
        canary: Canary | None,
        size: int,
        contrast: float,
        angle: float,
        conditions: Mapping[str, str],
        lead: str = "",
    ) -> bool:
        """Draw `lead` and `text` where there is room, smaller where there is not; False where nothing fits."""
        face = str(self._drawn.choice(list(typefaces())))
        while size >= SMALLEST:
            mask, ink, corners = _drawn_text(lead, text, face, size, angle)
            place = self._place(mask.shape[0], mask.shape[1])
            if place is not None:
                break
            size = math.floor(size * SMALLER)
        else:
            return False
        y, x = place
        contrast = self._ink(mask, x, y, contrast)
        part = self.owner[y : y + mask.shape[0], x : x + mask.shape[1]]
        own = ink >= LEAST_INK * 255
        part[own] = len(self.lines) + 1
        self.alpha[y : y + mask.shape[0], x : x + mask.shape[1]][own] = ink[own]
        told = {
            **conditions,
            "size": _band(size, (9, 12, 16, 24, 40)),
            "contrast": _band(contrast, (1.5, 2, 3, 4.5, 8)),
            "typeface": "by hand" if by_hand(face) else "printed",
        }
        self.lines.append(Line(canary, text, corners + np.array((x, y)), x_height(face, size), told))
        return True

    def _place(self, height: int, width: int) -> tuple[int, int] | None:
        """A free place of that size, with a margin of a third of its height."""
        full_height, full_width = self._taken.shape
        if width > WIDEST * full_width or height > WIDEST * full_height:
            return None
        margin = 6
        for _ in range(TRIES):
            y = int(self._drawn.integers(0, full_height - height + 1))
            x = int(self._drawn.integers(0, full_width - width + 1))
            around = self._taken[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
            if not around.any():
                self._taken[y : y + height, x : x + width] = True
                return y, x
        return None

    def _ink(self, mask: npt.NDArray[np.uint8], x: int, y: int, contrast: float) -> float:
        """Put ink of that contrast to the ground on the canvas; the contrast that could be had."""
        part = self.canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
        ground = part.mean(axis=(0, 1))
        colour, reached = coloured(ground, contrast, self._drawn)
        weight = mask[:, :, None].astype(np.float32) / 255
        # Texture goes on below the ink: print takes the shade of what it is printed on.
        part += weight * (colour - ground)
        np.clip(part, 0, 255, out=part)
        return reached

    def _occlude(self) -> None:
        """Lay a stroke or a patch over a third of the line that was drawn last; what it covers is no ink any more."""
        line = self.lines[-1]
        left, right = line.corners[[0, 3]].mean(axis=0), line.corners[[1, 2]].mean(axis=0)
        start = self._drawn.uniform(0, 0.65)
        a, b = left + start * (right - left), left + (start + 0.3) * (right - left)
        height = np.linalg.norm(line.corners[3] - line.corners[0])
        picture = Image.fromarray(self.canvas.astype(np.uint8))
        stroke = Image.new("L", picture.size)
        width = max(2, round(height * self._drawn.uniform(0.3, 1.2)))
        ImageDraw.Draw(stroke).line([tuple(a), tuple(b)], fill=255, width=width)
        over = np.asarray(stroke) > 0
        self.canvas[over] = self._drawn.uniform(0, 255, 3)
        self.owner[over], self.alpha[over] = 0, 0
        self.lines[-1] = Line(
            line.canary, line.text, line.corners, line.x_height, {**line.conditions, "occluded": "in part"}
        )


def coloured(ground: npt.NDArray[np.floating], contrast: float, drawn: Drawn) -> tuple[npt.NDArray[np.float64], float]:
    """A colour (RGB, 0..255) of about that contrast ratio to the ground, lighter or darker, and the ratio it has.

    A random hue is mixed with black or white until its luminance is right.
    """
    own = luminance(ground)
    darker = (own + 0.05) / contrast - 0.05
    lighter = (own + 0.05) * contrast - 0.05
    possible = [end for end in (darker, lighter) if 0 <= end <= 1]
    wanted = float(drawn.choice(possible)) if possible else (0.0 if own > 0.18 else 1.0)
    hue = drawn.uniform(0, 255, 3)
    end = np.zeros(3) if luminance(hue) > wanted else np.full(3, 255.0)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        mixed = hue + middle * (end - hue)
        if (luminance(mixed) > wanted) == (end[0] == 0):
            low = middle
        else:
            high = middle
    return mixed, ratio(luminance(mixed), own)


def luminance(colour: npt.NDArray[np.floating]) -> float:
    """Relative luminance of sRGB (WCAG 2.2), 0..1; colour is (3,) of 0..255."""
    share = np.asarray(colour, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def ratio(first: float, second: float) -> float:
    """Contrast ratio of two luminances (WCAG 2.2), 1..21."""
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def _drawn_text(
    lead: str, text: str, face: str, size: int, angle: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Masks (h, w) of all the ink and of the text's own, turned, and the corners of the text in them."""
    chosen = font(face, size)
    start = chosen.getlength(lead)
    left, top, right, bottom = chosen.getbbox(lead + text)
    width, height = math.ceil(right - left) + 2, math.ceil(bottom - top) + 2
    whole, own = Image.new("L", (width, height)), Image.new("L", (width, height))
    ImageDraw.Draw(whole).text((1 - left, 1 - top), lead + text, fill=255, font=chosen)
    ImageDraw.Draw(own).text((1 - left + start, 1 - top), text, fill=255, font=chosen)
    x0 = 1 - left + start
    corners = np.array([(x0, 0), (width, 0), (width, height), (x0, height)], np.float64)
    if angle:
        turned = whole.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        own = own.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        centred = corners - (width / 2, height / 2)
        corners = centred @ np.array([(cosine, -sine), (sine, cosine)]) + (turned.width / 2, turned.height / 2)
        whole = turned
    return np.asarray(whole), np.asarray(own), corners


def _band(value: float, edges: Sequence[float]) -> str:
    """The name of the interval between `edges` that a value lies in."""
    below = [edge for edge in edges if edge <= value]
    above = [edge for edge in edges if edge > value]
    if not below:
        return f"below {above[0]:g}"
    return f"{below[-1]:g} to {above[0]:g}" if above else f"{below[-1]:g} and more"


def _moved(line: Line, matrix: npt.NDArray[np.float64], conditions: Mapping[str, str]) -> Line:
    """The line where the picture's wear has moved it."""
    points = np.column_stack([line.corners, np.ones(4)]) @ matrix.T
    corners = points[:, :2] / points[:, 2:]
    before, after = (np.linalg.norm(c[3] - c[0]) + np.linalg.norm(c[2] - c[1]) for c in (line.corners, corners))
    return Line(
        line.canary, line.text, corners, line.x_height * float(after / before), {**line.conditions, **conditions}
    )
