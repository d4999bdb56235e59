"""Labelled pictures of identity documents, rendered from the QuickSign/docxpand templates (MIT).

    .venv/bin/python tests/bench/id_documents.py --out DIR [--documents 13] [--boxes]

A template is an SVG whose fields carry ids, a PNG with the template's own fonts and placeholder values, and a
generator.json that says what each field is. A picture is the PNG, with every placeholder replaced by the same spot of
the SVG rendered without its fields, and the new values drawn there as the SVG's styles say, in DejaVu Sans. So labels,
guilloches and holograms are the template's own; and each field's ink is known pixel by pixel, because it was drawn
alone first. The same seed gives the same picture on the same fonts. Every second round has another portrait than
the template's. Two sides lie in the data without their SVG and are left out.

Needs `resvg-py` and `faker` (both MIT) and Debian's fonts-dejavu-core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import zxingcpp
from PIL import Image, ImageDraw, ImageOps

sys.path.insert(0, str(Path(__file__).parent))

from id_templates import SVG, TEMPLATES, Side, as_rectangle, background, fields_of, layer_of, sides, tree, with_text
from id_values import KINDS, make_values

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box
from guardedvlm.evaluation.samples import Label, Sample, write_labels

ROOT = Path(__file__).parents[2]
INK_ALPHA = 64
"""Least alpha, of 255, at which a pixel counts as ink: below a quarter it is the soft edge of a stroke."""
BLACK = 128
"""Grey level below which a pixel of a code is dark."""
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
        return self.kind not in {None, Kind.ORGANIZATION}


@dataclass(frozen=True, slots=True)
class Document:
    """One side of a document."""

    template: str
    side: str
    picture: Image.Image = field(repr=False)
    fields: tuple[Field, ...]


def documents(count: int, seed: int = 0) -> Iterator[Document]:
    """`count` sides in turn. Front and back of one document are of one person."""
    every = sides()
    templates = sorted({side.template for side in every})
    for number in range(count):
        side, turn = every[number % len(every)], number // len(every)
        yield render(side, seed + 1000 * turn + templates.index(side.template), own_photo=turn % 2 == 0)


def render(side: Side, seed: int, *, own_photo: bool = True) -> Document:
    """One side with the values of `seed`."""
    root = tree(side.svg)
    picture = background(side)
    values = make_values(side.generator, seed)
    fields = []
    for name, elements in fields_of(root).items():
        if elements[0].tag == f"{SVG}image":
            fields.append(_image_field(picture, side, elements[0], name, values, own_photo=own_photo))
            continue
        for element, line in zip(elements, ("",) if name.endswith("signature") else values[name], strict=False):
            layer = layer_of(root, with_text(element, line, name, seed), picture.size)
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
    layer = layer_of(tree(side.svg), as_rectangle(element), picture.size)
    x0, y0, x1, y1 = layer.getbbox() or (0, 0, 1, 1)
    width, height = x1 - x0, y1 - y0
    if name in {"Datamatrix", "Barcode"}:
        # As the template's generator does: what the zone holds, in two dimensions; the number alone in one.
        text = "".join(values["mrz"]) if name == "Datamatrix" else values["document_number"][0]
        code = _code(text, name)
        code = ImageOps.pad(code, (width, height), Image.Resampling.NEAREST, color="white")
        picture.paste(code, (x0, y0))
        return Field(name, text, Box(x0, y0, x1, y1), KINDS[name], np.asarray(code.convert("L")) < BLACK)
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


def main() -> None:
    """Write the pictures, and labels for `guardedvlm eval docs`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=len(sides()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--boxes", action="store_true", help="with the boxes in red, to look at")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for number, document in enumerate(documents(options.documents, options.seed)):
        pen = ImageDraw.Draw(document.picture)
        for one in document.fields if options.boxes else ():
            pen.rectangle((one.box.x0, one.box.y0, one.box.x1 - 1, one.box.y1 - 1), outline="red")
        path = options.out / f"{number:03d}-{document.template}-{document.side}.png"
        document.picture.save(path)
        labels = tuple(Label(one.box, one.kind, one.name, one.text) for one in document.fields)
        found.append(Sample(path, labels, {"template": document.template}))
    write_labels(options.out, found)


if __name__ == "__main__":
    if not TEMPLATES.is_dir():
        sys.exit("no labelled data at ../shared/data")
    main()
