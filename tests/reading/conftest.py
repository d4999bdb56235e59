"""Pages drawn for the readers' tests, and one instance of each reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.region import Box, Raster
from guardedvlm.reading.ppocr import PageReader
from guardedvlm.reading.ppocr_v4 import IndependentReader

LINES = (
    "Patient: John Q. Smith",
    "MRN 4471-0093",
    "Date of birth 1962-03-04",
    "Total amount 118.40 USD",
)

Draw = Callable[..., tuple[Raster, tuple[Box, ...]]]


def drawn(
    lines: tuple[str, ...] = LINES,
    size: tuple[int, int] = (440, 420),
    height: int = 24,
    paper: int = 255,
    ink: int = 0,
    at: tuple[int, int] = (40, 40),
) -> tuple[Raster, tuple[Box, ...]]:
    """A page with `lines` below each other, and the box of each line's ink."""
    image = Image.new("RGB", size, (paper,) * 3)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(height)
    boxes = []
    for index, text in enumerate(lines):
        corner = (at[0], at[1] + index * 2 * height)
        pen.text(corner, text, font=font, fill=(ink,) * 3)
        x0, y0, x1, y1 = pen.textbbox(corner, text, font=font)
        boxes.append(Box(int(x0), int(y0), int(x1), int(y1)))
    return np.asarray(image), tuple(boxes)


@pytest.fixture(scope="session")
def draw() -> Draw:
    return drawn


@pytest.fixture(scope="session")
def page_reader() -> PageReader:
    return PageReader()


@pytest.fixture(scope="session")
def independent_reader() -> IndependentReader:
    return IndependentReader()


@pytest.fixture(scope="session")
def receipts() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "data" / "receipts"
    if not folder.is_dir():
        pytest.skip("the labelled receipts are not beside this checkout")
    return folder
