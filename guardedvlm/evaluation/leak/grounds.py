"""What canaries are drawn on: receipts, forms, films, photographs, cards, tables. RGB, float32, 0..255."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

Canvas = npt.NDArray[np.float32]
Drawn = np.random.Generator


def receipt(drawn: Drawn) -> Canvas:
    """Thermal paper: nearly white, narrow, a slow shade."""
    return _paper(drawn, 760, 1300, drawn.uniform(225, 252)) + _shade(drawn, 760, 1300, 10)


def form(drawn: Drawn) -> Canvas:
    """A printed form: boxes and rules on white or pale paper."""
    canvas = _paper(drawn, 1000, 1300, drawn.uniform(235, 255))
    ink = float(drawn.uniform(0, 190))
    for y in range(60, 1260, int(drawn.integers(90, 150))):
        if drawn.random() < 0.5:
            cv2.line(canvas, (40, y), (960, y), (ink,) * 3, int(drawn.integers(1, 3)))
        else:
            cv2.rectangle(canvas, (40, y), (960, y + 70), (ink,) * 3, 1)
    return canvas


def film(drawn: Drawn) -> Canvas:
    """Like an X-ray: black around, soft bright shapes, grain."""
    canvas = np.full((1100, 1000, 3), drawn.uniform(0, 18), np.float32)
    for _ in range(7):
        centre = (int(drawn.integers(200, 800)), int(drawn.integers(200, 900)))
        axes = (int(drawn.integers(60, 260)), int(drawn.integers(80, 320)))
        cv2.ellipse(
            canvas, centre, axes, float(drawn.uniform(0, 180)), 0, 360, (float(drawn.uniform(40, 190)),) * 3, -1
        )
    soft: Canvas = cv2.GaussianBlur(canvas, (0, 0), 35) + _grain(drawn, 1100, 1000, 6)
    return soft


def photograph(drawn: Drawn) -> Canvas:
    """Like a photograph: soft coloured shapes and texture at every scale."""
    canvas = np.full((900, 1200, 3), 0, np.float32) + drawn.uniform(60, 190, 3).astype(np.float32)
    for scale in (8, 16, 40, 100):
        noise = drawn.normal(0, 1, (900 // scale + 2, 1200 // scale + 2, 3)).astype(np.float32)
        canvas += 16 * cv2.resize(noise, (1200, 900), interpolation=cv2.INTER_CUBIC)
    return canvas


def card(drawn: Drawn) -> Canvas:
    """Like an identity card: a pale gradient under fine waves of lines."""
    height, width = 720, 1140
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    first, second = drawn.uniform(170, 250, 3), drawn.uniform(170, 250, 3)
    canvas = first + (second - first) * (x / width)[:, :, None]
    phase = y + 14 * np.sin(x / drawn.uniform(25, 70)) + 8 * np.sin(x / drawn.uniform(8, 20) + y / 30)
    lines = (np.sin(phase * drawn.uniform(0.5, 1.2)) > 0.75)[:, :, None] * drawn.uniform(-45, -15, 3)
    engraved: Canvas = (canvas + cv2.GaussianBlur(lines.astype(np.float32), (0, 0), 0.7)).astype(np.float32)
    return engraved


def table(drawn: Drawn) -> Canvas:
    """A statement: rows of two shades."""
    canvas = _paper(drawn, 1100, 1200, 250)
    pitch, shade = int(drawn.integers(40, 80)), drawn.uniform(-45, -5, 3).astype(np.float32)
    for y in range(0, 1200, 2 * pitch):
        canvas[y : y + pitch] += shade
    return canvas


def negative(drawn: Drawn) -> Canvas:
    """A dark screen or a negative."""
    return _paper(drawn, 1100, 900, 0) + drawn.uniform(0, 50, 3).astype(np.float32) + _shade(drawn, 1100, 900, 12)


def _paper(drawn: Drawn, width: int, height: int, level: float) -> Canvas:
    tint = drawn.uniform(-6, 0, 3)
    return np.full((height, width, 3), 0, np.float32) + np.maximum(0, level + tint).astype(np.float32)


def _shade(drawn: Drawn, width: int, height: int, strength: float) -> Canvas:
    coarse = drawn.normal(0, strength, (4, 4, 1)).astype(np.float32)
    shade: Canvas = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, None]
    return shade


def _grain(drawn: Drawn, height: int, width: int, strength: float) -> Canvas:
    return drawn.normal(0, strength, (height, width, 1)).astype(np.float32)


GROUNDS: Mapping[str, Callable[[Drawn], Canvas]] = {
    ground.__name__: ground for ground in (receipt, form, film, photograph, card, table, negative)
}
