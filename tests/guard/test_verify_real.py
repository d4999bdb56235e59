"""The real networks: what was hidden cannot be read on the cleared pixels, by either reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box, Fit, Geometry, Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.detect.codes import CodesVerifier
from guardedvlm.guard.detect.personal import PersonalData
from guardedvlm.guard.redact import Labels, redact
from guardedvlm.guard.verify import Cleared, Verdict, Verifiers, verify
from guardedvlm.guard.verify.verifiers import FillMap
from guardedvlm.policy.model import Mode, Policy, TextRules
from guardedvlm.reading.ppocr import PageReader
from guardedvlm.reading.ppocr_v4 import IndependentReader

pytestmark = pytest.mark.slow

KEPT = frozenset({Kind.AMOUNT, Kind.DATE, Kind.ORGANIZATION})
FINANCE = Policy(
    name="test",
    version="2025-01-01",
    description="for tests",
    hide=dict.fromkeys(set(Kind) - RESERVED_KINDS - KEPT, Action.LABEL),
    keep=KEPT,
    text=TextRules(mode=Mode.BALANCED),
)
ROWS = [
    ("Name:", "Jane Kowalczyk"),
    ("Account number:", "4485 0031 7742"),
    ("Card number:", "4111 1111 1111 1111"),
    ("Email:", "jane.kowalczyk@example.com"),
    ("Total amount:", "$ 1,284.50"),
]
SECRETS = ("kowalczyk", "jane", "448500317742", "41111111", "example.com")
GEOMETRIES = [None, Geometry(Fit.SQUASH, 1344, 1344), Geometry(Fit.WITHIN, 800, 800)]


def form() -> Raster:
    image = Image.new("RGB", (1000, 700), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for at, row in enumerate(ROWS):
        for x, text in zip((60, 400), row, strict=True):
            pen.text((x, 80 + at * 90), text, fill="black", font=font)
    pen.line((60, 560, 940, 560), fill="black", width=2)
    return np.array(image)


@pytest.fixture(scope="module")
def readers() -> tuple[PageReader, IndependentReader, PersonalData]:
    return PageReader(), IndependentReader(), PersonalData()


def verifiers(readers: tuple[PageReader, IndependentReader, PersonalData]) -> Verifiers:
    _, reader, personal = readers
    codes_verifier = CodesVerifier()

    async def text_regions(raster: Raster, fills: FillMap, places: Sequence[Box]) -> tuple[TextLine, ...]:
        return reader.regions(raster, fills, [astuple(place) for place in places])

    async def read_regions(raster: Raster, quads: Sequence[object]) -> tuple[TextLine, ...]:
        return reader.read_regions(raster, quads)  # type: ignore[arg-type]

    async def faces(raster: Raster) -> tuple[Finding, ...]:
        return ()  # the form has none; MTCNN has tests of its own

    async def codes(raster: Raster) -> tuple[Finding, ...]:
        return codes_verifier.detect(raster)

    async def page(lines: tuple[TextLine, ...], size: Size) -> tuple[Finding, ...]:
        return personal.page(lines, width=size.width, height=size.height, known=(), languages=("en",))

    return Verifiers(text_regions, read_regions, faces, codes, page)


async def cleared_form(
    readers: tuple[PageReader, IndependentReader, PersonalData], geometry: Geometry | None, lose: str = ""
) -> Cleared:
    """The form through the guard. `lose`: text that the first reader does not see, and so nobody hides."""
    raster = form()
    lines = [line for line in readers[0].read(raster) if not lose or lose not in line.text]
    size = Size.of(raster)
    found = readers[2].page(lines, width=size.width, height=size.height, known=(), languages=("en",))
    text = clear_text(lines, found, FINANCE, size)
    findings = (*found, *text.findings)
    redacted = redact(raster, findings, text.visible, FINANCE, geometry, Labels(findings, FINANCE))
    return await verify(redacted, verifiers(readers), FINANCE)


def read_by_both(readers: tuple[PageReader, IndependentReader, PersonalData], raster: Raster) -> str:
    independent = readers[1]
    quads = tuple(line.quad for line in independent.regions(raster))
    lines = (*readers[0].read(raster), *independent.read_regions(raster, quads))
    return " ".join(line.text for line in lines).casefold().replace(" ", "")


def test_the_form_is_legible_before(readers: tuple[PageReader, IndependentReader, PersonalData]) -> None:
    text = read_by_both(readers, form())
    assert all(secret in text for secret in SECRETS)


@pytest.mark.parametrize("geometry", GEOMETRIES)
async def test_hidden_strings_cannot_be_read_on_the_cleared_pixels(
    readers: tuple[PageReader, IndependentReader, PersonalData], geometry: Geometry | None
) -> None:
    cleared = await cleared_form(readers, geometry)
    text = read_by_both(readers, cleared.image.raster)
    assert not [secret for secret in SECRETS if secret in text]
    assert "1,284.50" in text
    assert "person-" in text


@pytest.mark.parametrize("lost", ["Kowalczyk", "4111"])
async def test_what_the_first_reader_misses_is_found_and_hidden(
    readers: tuple[PageReader, IndependentReader, PersonalData], lost: str
) -> None:
    cleared = await cleared_form(readers, None, lost)
    assert cleared.report.verdict is Verdict.WIDENED
    assert lost.casefold() not in read_by_both(readers, cleared.image.raster)
