"""Typefaces of this machine for drawing: those of installed font packages, of the system, and Pillow's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from PIL import ImageFont

SYSTEM = Path("/usr/share/fonts")
GROUPS = ("fonts_ttf", "fonts_otf")
"""Entry points by which font packages name their files."""
BUILT_IN = "Aileron"
"""Pillow's own."""
BY_HAND = ("Amatic", "Intuitive", "Dancing", "Caveat", "Handwriting", "Script")
"""Parts of names of faces that look written by hand."""
SYMBOLS = ("Math", "Symbol", "Emoji", "Dingbats")
"""Parts of names of faces without letters."""


@cache
def typefaces() -> Mapping[str, str]:
    """Name -> file of every typeface, sorted; BUILT_IN has no file."""
    found = {BUILT_IN: ""}
    for group in GROUPS:
        for entry in entry_points(group=group):
            found.update({Path(file).stem: str(file) for file in entry.load().values()})
    if SYSTEM.is_dir():
        found.update({path.stem: str(path) for path in SYSTEM.rglob("*.[to]tf")})
    return {name: found[name] for name in sorted(found) if not any(mark in name for mark in SYMBOLS)}


def by_hand(name: str) -> bool:
    """Whether a typeface looks written by hand."""
    return any(part in name for part in BY_HAND)


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A typeface at `size` pixels."""
    file = typefaces()[name]
    if file:
        # The basic layout draws the same everywhere; with Raqm some of these files fail.
        return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return loaded


def x_height(name: str, size: int) -> float:
    """Height of a small x in pixels."""
    _, top, _, bottom = font(name, size).getbbox("x")
    return float(bottom - top)
