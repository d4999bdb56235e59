"""The templates of id_documents.py: what their SVGs say of each field, layers of one field alone, and backgrounds."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import resvg_py
from PIL import Image

from guardedvlm.core.region import Box

TEMPLATES = Path(__file__).parents[3] / "shared" / "data" / "id_documents"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
SANS, MONO = FONTS / "DejaVuSansCondensed.ttf", FONTS / "DejaVuSansMono.ttf"
Change = tuple[ElementTree.Element, ElementTree.Element]
"""An element of the tree and what is drawn in its place."""
SVG = "{http://www.w3.org/2000/svg}"
BACKGROUND_VERSION = b"1"
"""Part of a kept background's name: raise it when the way of making them changes."""
PLACEHOLDER_MARGIN = 3
"""Pixels around a placeholder that are replaced with it."""
PLACEHOLDER_LENGTH = 0.3
"""Share of a placeholder's length that is replaced beyond its end: it is measured in DejaVu Condensed, and most of the
templates' fonts are wider."""
SIGNATURE_TIMES = 7
"""The margin's multiple around a placeholder in a handwriting font, whose loops reach far out."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a template."""

    template: str
    name: str
    svg: Path
    generator: Mapping[str, object]


def sides() -> tuple[Side, ...]:
    """Every side whose SVG is there, in the order of their names."""
    found = []
    for path in sorted(TEMPLATES.glob("*/generator.json")):
        generator = json.loads(path.read_text())
        for svg in sorted(path.parent.glob("*.svg")):
            found.append(Side(path.parent.name, svg.stem, svg, generator))
    return tuple(found)


# ---------------------------------------------------------------- the SVG


@cache
def tree(svg: Path) -> ElementTree.Element:
    """The SVG with our two fonts in place of its own, which are not installed."""
    text = svg.read_text("utf-8")
    text = re.sub(r"font-family:\s*'?OCRB'?", "font-family: DejaVu Sans Mono", text)
    text = re.sub(r"font-family:(?! DejaVu)[^;}\"]*", "font-family: DejaVu Sans; font-stretch: condensed", text)
    text = re.sub(r'font-family="[^"]*OCRB[^"]*"', 'font-family="DejaVu Sans Mono"', text)
    text = re.sub(r'font-family="(?!DejaVu)[^"]*"', 'font-family="DejaVu Sans" font-stretch="condensed"', text)
    return ElementTree.fromstring(text)


def fields_of(root: ElementTree.Element) -> dict[str, list[ElementTree.Element]]:
    """The elements of each field, one a line, in the order in which they are drawn: pictures first."""
    found: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter():
        name = re.fullmatch(r"(\w+?)_(?:field(?:_\d)?|image)", element.get("id") or "")
        if name and element.tag in {f"{SVG}text", f"{SVG}image"}:
            found.setdefault(name[1], []).append(element)
    return dict(sorted(found.items(), key=lambda item: item[1][0].tag != f"{SVG}image"))


def with_text(element: ElementTree.Element, line: str, name: str, seed: int) -> Change:
    """The same style and place with another text, or strokes for a signature."""
    changed = copy.deepcopy(element)
    if name.endswith("signature"):
        stroke = ElementTree.Element(f"{SVG}path", {"d": _scribble(seed), "style": SCRIBBLE_STYLE})
        return element, _moved(stroke, changed)
    for part in changed.iter():
        part.text = part.tail = None  # indentation would be drawn as a space before the value
    next(changed.iter(f"{SVG}tspan"), changed).text = line
    return element, changed


GOLD = "#a8901e"
SCRIBBLE_STYLE = "fill:none;stroke:#101828;stroke-width:.7;stroke-linecap:round"


def _scribble(seed: int) -> str:
    """A signature: loops to the right, about 36 wide and 10 high, in the SVG's units."""
    chance = random.Random(seed)
    parts, x = ["M 0 0"], 0.0
    while x < 34:
        step = chance.uniform(2.5, 6)
        rise, fall = chance.uniform(2, 9), chance.uniform(0, 4)
        parts.append(f"C {x + step:.1f} {-rise:.1f} {x - 1:.1f} {-rise:.1f} {x + step / 2:.1f} {fall:.1f}")
        x += step / 2
    return " ".join(parts)


def _moved(stroke: ElementTree.Element, text: ElementTree.Element) -> ElementTree.Element:
    """`stroke` at the start of `text`."""
    span = next(text.iter(f"{SVG}tspan"), text)
    place = f"translate({span.get('x', '0')} {span.get('y', '0')})"
    stroke.set("transform", f"{text.get('transform', '')} {place}".strip())
    return stroke


def as_rectangle(element: ElementTree.Element) -> Change:
    """The area of a picture, whose own content need not be drawn to know it."""
    kept = {key: value for key, value in element.items() if key in {"x", "y", "width", "height", "transform"}}
    return element, ElementTree.Element(f"{SVG}rect", kept)


def layer_of(root: ElementTree.Element, change: Change, size: tuple[int, int]) -> Image.Image:
    """One replaced element alone on a transparent page."""
    element, replacement = change
    parents = {child: parent for parent in root.iter() for child in parent}
    drawn, at = replacement, element
    while (at := parents[at]) is not root:
        group = ElementTree.Element(at.tag, {k: v for k, v in at.items() if k in {"class", "transform", "style"}})
        group.append(drawn)
        drawn = group
    page = ElementTree.Element(root.tag, dict(root.items()))
    classes = {name for part in drawn.iter() for name in (part.get("class") or "").split()}
    style = ElementTree.SubElement(page, f"{SVG}style")
    style.text = _plain_style("".join(part.text or "" for part in root.iter(f"{SVG}style")), classes)
    page.append(drawn)
    return _rasterise(ElementTree.tostring(page, "unicode"), size)


def _plain_style(style: str, classes: set[str]) -> str:
    """The rules of `classes` (thousands are for the guilloches), without what refers to parts that a layer lacks."""
    rules = []
    for selectors, declarations in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        wanted = [f".{name}" for name in classes if re.search(rf"\.{re.escape(name)}(?![\w-])", selectors)]
        if wanted:
            rules.append(f"{','.join(wanted)} {{{declarations}}}")
    # Gold embossing becomes flat gold.
    plain = re.sub(r"filter\s*:\s*url\([^;}]*", f"fill: {GOLD}", "\n".join(rules))
    plain = re.sub(r"(clip-path|mask|opacity|mix-blend-mode|isolation|enable-background)\s*:[^;}]*", "", plain)
    return re.sub(r"(fill|stroke)\s*:\s*url\([^;}]*", rf"\1: {GOLD}", plain)


def _rasterise(svg: str, size: tuple[int, int]) -> Image.Image:
    content = resvg_py.svg_to_bytes(
        svg_string=svg,
        width=size[0],
        height=size[1],
        skip_system_fonts=True,
        font_files=[str(SANS), str(MONO)],
        font_family="DejaVu Sans",
    )
    with Image.open(io.BytesIO(bytes(content))) as picture:
        return picture.convert("RGBA").resize(size)


# ---------------------------------------------------------------- the background


def background(side: Side) -> Image.Image:
    """The template's PNG without its placeholders, on white. Making it takes 5-40 s a side, so it is kept."""
    picture = _template_picture(side)
    made_of = (side.svg.read_bytes(), picture.tobytes(), BACKGROUND_VERSION)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in made_of)).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guardedvlm-bench"
    kept = folder / f"{digest[:32]}.png"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _erase_placeholders(picture, side).save(kept)
    with Image.open(kept) as found:
        return found.convert("RGBA")


def _erase_placeholders(picture: Image.Image, side: Side) -> Image.Image:
    root = tree(side.svg)
    bare = Image.new("RGBA", picture.size, "white")
    bare.alpha_composite(_rasterise(_without_fields(root), picture.size))
    for name, elements in fields_of(root).items():
        if elements[0].tag == f"{SVG}image":
            continue
        for element in elements:
            placeholder = with_text(element, " ".join("".join(element.itertext()).split()), "", 0)
            ink = layer_of(root, placeholder, picture.size).getbbox()
            if ink is not None:
                area = _around(Box(*ink), name, picture.size)
                picture.paste(bare.crop(area), area)
    return picture


def _around(ink: Box, name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The area of a placeholder whose ink, in our font, is `ink`."""
    margin = PLACEHOLDER_MARGIN * (SIGNATURE_TIMES if name.endswith("signature") else 1)
    box = ink.grown(margin)
    # Not upwards, where the label is; the zone's font is as wide as ours.
    top = ink.y0 - PLACEHOLDER_MARGIN
    longer = 0 if name == "mrz" else round(PLACEHOLDER_LENGTH * max(ink.width, ink.height))
    along = (longer, 0) if ink.width >= ink.height else (0, longer)
    return max(box.x0, 0), max(top, 0), min(box.x1 + along[0], size[0]), min(box.y1 + along[1], size[1])


def _template_picture(side: Side) -> Image.Image:
    with Image.open(side.svg.with_suffix(".png")) as found:
        picture = Image.new("RGBA", found.size, "white")
        picture.alpha_composite(found.convert("RGBA"))
        return picture


def _without_fields(root: ElementTree.Element) -> str:
    """The SVG without the text of fields and labels."""
    bare = copy.deepcopy(root)
    for parent in list(bare.iter()):
        for child in list(parent):
            if child.tag == f"{SVG}text" and any(re.search(r"_(field|label)", e.get("id") or "") for e in child.iter()):
                parent.remove(child)
    return ElementTree.tostring(bare, "unicode")
