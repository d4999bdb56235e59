"""Pictures made to get something past the guard: each is hidden or refused.

A case gives a file and, for each page, the mask of the ink that must not be seen, in pixels of the decoded page.
"""

import io

import numpy as np
import pytest
import pytest_asyncio
import zxingcpp
from PIL import Image, ImageDraw, ImageFont, ImageOps

from guardedvlm.audit.facts import Method
from guardedvlm.cli import pictures
from guardedvlm.cli.settings import find_policy
from guardedvlm.core.region import Box, Fit, Geometry, Size
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.evaluation.coverage import filled_mask
from guardedvlm.evaluation.leak.adversary import LOOK, AdversaryEngine, Heard
from guardedvlm.evaluation.session import measured_guard, request_of
from guardedvlm.evaluation.text import pages
from guardedvlm.guard.outcome import Redaction
from guardedvlm.guard.pipeline import Question

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

NAME = "Johanna Quillfeather"
SQUASHED = Geometry(Fit.SQUASH, 1344, 1344)
EXPECTED_REFUSALS = {Reason.RESIDUAL_FOUND}
"""What a case may be refused for; any other refusal would hide that nothing was looked at."""
COVERED = 0.95
FONT = ImageFont.load_default(26)
PORTRAIT = next(iter(pictures.__path__)) + "/portrait.jpg"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guard():
    async with measured_guard(engine=AdversaryEngine(SQUASHED)) as started:
        yield started


def png(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, options.pop("format", "PNG"), **options)
    return stream.getvalue()


def form(size=(900, 500), paper="white", ink="black"):
    """A harmless form: what is hidden on it is the case's own."""
    picture = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(("Findings", "No change since", "Total 12.40")):
        pen.text((60, 40 + 60 * row), line, ink, FONT)
    return picture


def text_mask(size, at, text=NAME, font=FONT, turn=0):
    """(H, W): where the text's ink is when its box starts at `at`."""
    left, top, right, bottom = map(round, font.getbbox(text))
    alone = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(alone).text((-left, -top), text, 255, font)
    mask = Image.new("L", size)
    mask.paste(alone.rotate(turn, expand=True), at)
    return np.asarray(mask)


def printed(picture, mask, colour=(0, 0, 0)):
    picture.paste(colour, mask=Image.fromarray(mask))
    return picture


def at_the_last_row():
    picture = form()
    _, top, _, bottom = map(round, FONT.getbbox(NAME))
    mask = text_mask(picture.size, (300, 500 - (bottom - top)))
    assert mask[-1].max() > 128
    return png(printed(picture, mask)), [mask]


def at_the_last_column():
    picture = form()
    _, top, _, bottom = map(round, FONT.getbbox(NAME))
    mask = text_mask(picture.size, (900 - (bottom - top), 100), turn=90)
    assert mask[:, -1].max() > 128
    return png(printed(picture, mask)), [mask]


def small_print_all_over_a_large_page():
    """Wherever a scaled tile ends, a name runs across its border."""
    picture = Image.new("RGB", (2400, 1700), "white")
    font, whole = ImageFont.load_default(14), np.zeros((1700, 2400), np.uint8)
    for row in range(9):
        for column in range(7):
            at = (60 + 330 * column + 17 * row, 60 + 180 * row)
            whole |= text_mask(picture.size, at, f"{NAME} {row}{column}", font)
    return png(printed(picture, whole)), [whole]


def in_the_alpha_channel():
    picture = form().convert("RGBA")
    mask = text_mask(picture.size, (420, 300))
    dark = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    dark.putalpha(Image.fromarray(mask))
    pixels = np.asarray(picture).copy()
    pixels[mask > 0] = np.asarray(dark)[mask > 0]
    pixels[mask == 0, 3] = 255
    return png(Image.fromarray(pixels)), [mask]


def in_the_second_frame():
    first, second = form(), form()
    mask = text_mask(second.size, (420, 300))
    frames = png(first, format="GIF", save_all=True, append_images=[printed(second, mask)], duration=90)
    return frames, [np.zeros_like(mask), mask]


def as_a_negative():
    picture = form(paper="black", ink="white")
    mask = text_mask(picture.size, (420, 300))
    return png(printed(picture, mask, (255, 255, 255))), [mask]


def in_cmyk():
    picture = form()
    mask = text_mask(picture.size, (420, 300))
    return png(printed(picture, mask).convert("CMYK"), format="JPEG", quality=92), [mask]


def in_a_code():
    picture = form((900, 700))
    code = Image.fromarray(np.array(zxingcpp.create_barcode(NAME, zxingcpp.BarcodeFormat.QRCode).to_image(scale=5)))
    mask = Image.new("L", picture.size)
    mask.paste(ImageOps.invert(code.convert("L")), (500, 300))
    return png(printed(picture, np.asarray(mask))), [np.asarray(mask)]


def as_microprint():
    """Nine pixels high, as a line under a signature field."""
    picture = form()
    font = ImageFont.load_default(9)
    mask = text_mask(picture.size, (60, 400), f"{NAME} 12 Elm Road Springfield " * 3, font)
    return png(printed(picture, mask)), [mask]


def portrait(side):
    with Image.open(PORTRAIT) as picture:
        return picture.convert("RGB").resize((side, side * picture.height // picture.width))


def face_mask(size, at, shown):
    """The face within the shipped portrait, from brow to chin."""
    mask = np.zeros(size[::-1], np.uint8)
    x0, y0, x1, y1 = 0.26, 0.30, 0.59, 0.62
    box = Box(*(round(at[0] + shown.width * x0), round(at[1] + shown.height * y0)),
              *(round(at[0] + shown.width * x1), round(at[1] + shown.height * y1)))  # fmt: skip
    mask[box.y0 : box.y1, box.x0 : box.x1] = 255
    return mask


def a_face_in_a_mirror():
    picture = form((900, 700))
    shown = portrait(260)
    mirrored = ImageOps.mirror(shown)
    picture.paste(mirrored, (560, 60))
    mask = ImageOps.mirror(Image.fromarray(face_mask(picture.size, (900 - 560 - 260, 60), shown)))
    return png(picture), [np.asarray(mask)]


def a_face_on_a_shirt():
    """Small, tinted, and on woven cloth."""
    noise = np.random.default_rng(3).normal(0, 9, (700, 900, 1))
    cloth = np.clip(np.array((150, 60, 70)) + noise, 0, 255).astype(np.uint8)
    picture = Image.fromarray(cloth)
    shown = portrait(120)
    picture.paste(Image.blend(shown, Image.new("RGB", shown.size, (150, 60, 70)), 0.35), (400, 250))
    return png(picture), [face_mask(picture.size, (400, 250), shown)]


CASES = [
    at_the_last_row, at_the_last_column, small_print_all_over_a_large_page, in_the_alpha_channel, in_the_second_frame,
    as_a_negative, in_cmyk, in_a_code, as_microprint, a_face_in_a_mirror, a_face_on_a_shirt,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_it_is_hidden_or_refused(guard, case):
    content, masks = case()
    policy = find_policy("healthcare")
    try:
        redaction = await guard.pipeline.redact(request_of(content, policy, Method.REDACT_IMAGE, want_image=True))
    except GuardedVLMError as refusal:
        if refusal.reason not in EXPECTED_REFUSALS:
            raise
        return
    before, after = await pages(guard, content, policy), await pages(guard, redaction.file.content, policy)
    assert len(before) == len(after) == len(masks)
    for page, source, redacted, mask in zip(redaction.pages, before, after, masks, strict=True):
        ink = mask >= 64
        filled = filled_mask(source, redacted, [region.box for region in page.regions])
        assert not ink.any() or filled[ink].mean() >= COVERED


async def test_a_thumbnail_with_the_name_does_not_survive(guard):
    picture, thumbnail = form(), io.BytesIO()
    printed(form((160, 120)), text_mask((160, 120), (2, 60), font=ImageFont.load_default(12))).save(thumbnail, "JPEG")
    exif = Image.Exif()
    exif[0x010E] = NAME
    content = png(picture, format="JPEG", exif=exif, comment=NAME.encode()) + thumbnail.getvalue()
    policy = find_policy("healthcare")
    redaction = await guard.pipeline.redact(request_of(content, policy, Method.REDACT_IMAGE, want_image=True))
    with Image.open(io.BytesIO(redaction.file.content)) as redacted:
        assert not redacted.getexif()
        assert set(redacted.info) <= {"dpi"}
    assert NAME.encode() not in redaction.file.content


def appears_when_made_smaller():
    """Each pixel of a chequerboard is black or light; only their mean, which the resize takes, shows the name."""
    size = (2688, 2688)
    mask = text_mask(size, (500, 1200), font=ImageFont.load_default(150))
    light = np.where(mask > 127, 150.0, 255.0)
    light[(np.add.outer(np.arange(size[1]), np.arange(size[0])) % 2) == 0] = 0
    return png(Image.fromarray(light.astype(np.uint8)).convert("RGB")), mask


async def test_what_appears_only_when_the_picture_is_made_smaller_is_hidden_or_refused(guard):
    content, mask = appears_when_made_smaller()
    seen = []

    def look(raster):
        seen.append(raster)
        return Heard({}, {"nobody": "nothing to say"})

    LOOK.set(look)
    request = request_of(content, find_policy("healthcare"), Method.ANALYZE_IMAGE, want_image=False)
    try:
        events = [event async for event in guard.pipeline.analyze(request, Question("What is the total?"))]
    except GuardedVLMError as refusal:
        if refusal.reason not in EXPECTED_REFUSALS:
            raise
        return
    page = next(event for event in events if isinstance(event, Redaction)).pages[0]
    (raster,) = seen
    assert raster.shape == (1344, 1344, 3)
    whole = np.array(Image.open(io.BytesIO(content)).convert("RGB").resize((1344, 1344), Image.Resampling.BICUBIC))
    ink = np.asarray(Image.fromarray(mask).resize((1344, 1344), Image.Resampling.BOX)) >= 64
    assert abs(whole[ink].mean() - whole[~ink].mean()) > 30  # the trick works: there is a name to be seen
    boxes = [region.box.scaled(page.size, Size(1344, 1344)) for region in page.regions]
    assert filled_mask(whole, raster, boxes, resampled=True)[ink].mean() >= COVERED
