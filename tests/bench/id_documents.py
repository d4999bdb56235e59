"""Labelled pictures of identity documents, rendered from the QuickSign/docxpand templates (MIT).

    .venv/bin/python tests/bench/id_documents.py --out DIR [--documents 13]     # look at them: boxes in red

A template is an SVG whose fields carry ids, a PNG with the template's own fonts and placeholder values, and a
generator.json that says what each field is. A picture is the PNG, with every placeholder replaced by the same spot of
the SVG rendered without its fields, and the new values drawn there as the SVG's styles say, in DejaVu Sans. So labels,
guilloches and holograms are the template's own; and each field's ink is known pixel by pixel, because it was drawn
alone first. The same seed gives the same picture on the same fonts. Every second document gets another portrait than
the template's. Two sides lie in the data without their SVG and are left out.

Needs `resvg-py` and `faker` (both MIT) and Debian's fonts-dejavu-core.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import os
import random
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import resvg_py
import zxingcpp
from PIL import Image, ImageDraw, ImageOps

sys.path.insert(0, str(Path(__file__).parent))

from id_values import KINDS, make_values

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT.parent / "shared" / "data" / "id_documents"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
SANS, MONO = FONTS / "DejaVuSansCondensed.ttf", FONTS / "DejaVuSansMono.ttf"
SVG = "{http://www.w3.org/2000/svg}"
INK_ALPHA = 64
"""Least alpha, of 255, at which a pixel counts as ink: below a quarter it is the soft edge of a stroke."""
PLACEHOLDER_MARGIN = 3
"""Pixels around a placeholder that are replaced with it."""
PLACEHOLDER_LENGTH = 0.3
"""Share of a placeholder's length that is replaced beyond its end: it is measured in DejaVu Condensed, and most of the
templates' fonts are wider."""
FACES: Mapping[str, tuple[float, float, float, float]] = {
    "id_card_td1_a": (0.22, 0.30, 0.80, 0.88),
    "id_card_td1_b": (0.21, 0.27, 0.74, 0.78),
    "rp_card_td1": (0.16, 0.25, 0.86, 0.92),
}
"""The face (brow to chin, cheek to cheek) in the template's own photograph, as shares of its width and height."""
COMMON_FACE = (0.20, 0.30, 0.80, 0.89)
"""The same of the photograph that the other templates share."""
PORTRAIT = ROOT / "guardedvlm" / "cli" / "pictures" / "portrait.jpg"
PORTRAIT_FACE = (0.22, 0.26, 0.63, 0.66)
SIGNATURE_TIMES = 7
"""The margin's multiple around a placeholder in a handwriting font, whose loops reach far out."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Field:
    """A field as drawn. `ink` is the mask of its pixels within `box`; of a photograph, the face."""

    name: str
    text: str = field(repr=False)
    box: Box
    kind: Kind | None
    ink: Mask = field(repr=False)

    @property
    def personal(self) -> bool:
        """Whether it says something about the holder."""
        return self.kind is not None


@dataclass(frozen=True, slots=True)
class Document:
    """One side of a document."""

    template: str
    side: str
    picture: Image.Image = field(repr=False)
    fields: tuple[Field, ...]


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


def documents(count: int, seed: int = 0) -> Iterator[Document]:
    """`count` sides in turn. Front and back of one document are of one person."""
    every = sides()
    templates = sorted({side.template for side in every})
    for number in range(count):
        side, turn = every[number % len(every)], number // len(every)
        yield render(side, seed + 1000 * turn + templates.index(side.template), own_photo=turn % 2 == 0)


def render(side: Side, seed: int, *, own_photo: bool = True) -> Document:
    """One side with the values of `seed`."""
    root = _tree(side.svg)
    picture = _background(side)
    values = make_values(side.generator, seed)
    fields = []
    for name, elements in _fields(root).items():
        if elements[0].tag == f"{SVG}image":
            fields.append(_image_field(picture, side, elements[0], name, values, own_photo=own_photo))
            continue
        for element, line in zip(elements, ("",) if name.endswith("signature") else values[name], strict=False):
            layer = _layer(root, _with_text(element, line, name, seed), picture.size)
            picture.alpha_composite(layer)
            fields += _inked(name, line, layer)
    return Document(side.template, side.name, picture.convert("RGB"), tuple(fields))


def _inked(name: str, text: str, layer: Image.Image) -> list[Field]:
    """The field that a layer shows; none where it shows nothing."""
    ink = np.asarray(layer)[:, :, 3] >= INK_ALPHA
    around = Image.fromarray(ink).getbbox()
    if around is None:
        return []
    box = Box(*around)
    return [Field(name, text, box, KINDS.get(name), ink[box.y0 : box.y1, box.x0 : box.x1])]


def _image_field(
    picture: Image.Image,
    side: Side,
    element: ElementTree.Element,
    name: str,
    values: Mapping[str, tuple[str, ...]],
    *,
    own_photo: bool,
) -> Field:
    """Put a code or a portrait into its place, or leave the template's own portrait there."""
    layer = _layer(_tree(side.svg), _as_rectangle(element), picture.size)
    x0, y0, x1, y1 = layer.getbbox() or (0, 0, 1, 1)
    width, height = x1 - x0, y1 - y0
    if name in {"Datamatrix", "Barcode"}:
        # As the template's generator does: what the zone holds, in two dimensions; the number alone in one.
        text = "".join(values["mrz"]) if name == "Datamatrix" else values["document_number"][0]
        code = _code(text, name)
        picture.paste(ImageOps.pad(code, (width, height), Image.Resampling.NEAREST, color="white"), (x0, y0))
        return Field(name, text, Box(x0, y0, x1, y1), KINDS[name], np.ones((height, width), np.bool_))
    face = FACES.get(side.template, COMMON_FACE)
    if not own_photo:
        face = PORTRAIT_FACE
        portrait = Image.open(PORTRAIT).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        if name == "ghost":
            portrait = ImageOps.grayscale(portrait).convert("RGB")
            portrait = Image.blend(picture.crop((x0, y0, x1, y1)).convert("RGB"), portrait, 0.6)
        picture.paste(portrait, (x0, y0))
    left, top, right, bottom = (round(s * n) for s, n in zip(face, (width, height, width, height), strict=True))
    box = Box(x0 + left, y0 + top, x0 + right, y0 + bottom)
    return Field(name, "", box, KINDS[name], np.ones((box.height, box.width), np.bool_))


def _code(text: str, name: str) -> Image.Image:
    form = zxingcpp.BarcodeFormat.DataMatrix if name == "Datamatrix" else zxingcpp.BarcodeFormat.Code128
    return Image.fromarray(np.array(zxingcpp.create_barcode(text, form).to_image(scale=3))).convert("RGBA")


# ---------------------------------------------------------------- the SVG


@cache
def _tree(svg: Path) -> ElementTree.Element:
    """The SVG with our two fonts and no filters' or masks' urls that a part alone could not follow."""
    text = svg.read_text("utf-8")
    text = re.sub(r"font-family:\s*'?OCRB'?", "font-family: DejaVu Sans Mono", text)
    text = re.sub(r"font-family:(?! DejaVu)[^;}\"]*", "font-family: DejaVu Sans; font-stretch: condensed", text)
    text = re.sub(r'font-family="[^"]*OCRB[^"]*"', 'font-family="DejaVu Sans Mono"', text)
    text = re.sub(r'font-family="(?!DejaVu)[^"]*"', 'font-family="DejaVu Sans" font-stretch="condensed"', text)
    return ElementTree.fromstring(text)


def _fields(root: ElementTree.Element) -> dict[str, list[ElementTree.Element]]:
    """The elements of each field, one a line, in the order in which they are drawn: pictures first."""
    found: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter():
        name = re.fullmatch(r"(\w+?)_(?:field(?:_\d)?|image)", element.get("id") or "")
        if name and element.tag in {f"{SVG}text", f"{SVG}image"}:
            found.setdefault(name[1], []).append(element)
    return dict(sorted(found.items(), key=lambda item: item[1][0].tag != f"{SVG}image"))


def _with_text(element: ElementTree.Element, line: str, name: str, seed: int) -> tuple[ElementTree.Element, ...]:
    """The chain element, replacement: the same style and place with another text, or strokes for a signature."""
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


def _as_rectangle(element: ElementTree.Element) -> tuple[ElementTree.Element, ...]:
    kept = {key: value for key, value in element.items() if key in {"x", "y", "width", "height", "transform"}}
    return element, ElementTree.Element(f"{SVG}rect", kept)


def _layer(root: ElementTree.Element, change: tuple[ElementTree.Element, ...], size: tuple[int, int]) -> Image.Image:
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


def _background(side: Side) -> Image.Image:
    """The template's PNG without its placeholders, on white. Making it takes 5-40 s a side, so it is kept."""
    picture = _template_picture(side)
    made_of = (side.svg.read_bytes(), picture.tobytes(), f"{PLACEHOLDER_MARGIN} {PLACEHOLDER_LENGTH}".encode())
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in made_of)).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guardedvlm-bench"
    kept = folder / f"{digest[:32]}.png"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _erase_placeholders(picture, side).save(kept)
    with Image.open(kept) as found:
        return found.convert("RGBA")


def _erase_placeholders(picture: Image.Image, side: Side) -> Image.Image:
    root = _tree(side.svg)
    bare = Image.new("RGBA", picture.size, "white")
    bare.alpha_composite(_rasterise(_without_fields(root), picture.size))
    for name, elements in _fields(root).items():
        if elements[0].tag == f"{SVG}image":
            continue
        for element in elements:
            placeholder = _with_text(element, " ".join("".join(element.itertext()).split()), "", 0)
            ink = _layer(root, placeholder, picture.size).getbbox()
            if ink is not None:
                area = _around(Box(*ink), name, picture.size)
                picture.paste(bare.crop(area), area)
    return picture


def _around(ink: Box, name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The area of a placeholder whose ink, in our font, is `ink`."""
    margin = PLACEHOLDER_MARGIN * (SIGNATURE_TIMES if name.endswith("signature") else 1)
    box = ink.grown(margin)
    longer = round(PLACEHOLDER_LENGTH * max(ink.width, ink.height))
    along = (longer, 0) if ink.width >= ink.height else (0, longer)
    return max(box.x0, 0), max(box.y0, 0), min(box.x1 + along[0], size[0]), min(box.y1 + along[1], size[1])


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


def main() -> None:
    """Write the pictures with their boxes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=len(sides()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without the boxes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for number, document in enumerate(documents(options.documents, options.seed)):
        pen = ImageDraw.Draw(document.picture)
        for one in () if options.plain else document.fields:
            pen.rectangle((one.box.x0, one.box.y0, one.box.x1 - 1, one.box.y1 - 1), outline="red")
        document.picture.save(options.out / f"{number:03d}-{document.template}-{document.side}.png")


if __name__ == "__main__":
    if not TEMPLATES.is_dir():
        sys.exit("no labelled data at ../shared/data")
    main()
