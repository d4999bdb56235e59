"""Documents of more than one frame: all of them, composed, or a refusal; never only the first."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.decode.frames import count_frames
from guardedvlm.guard.image import Format, RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits()
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def encoded(frames, name, **options):
    stream = io.BytesIO()
    frames[0].save(stream, name, save_all=True, append_images=frames[1:], **options)
    return stream.getvalue()


def decoded(content, limits=LIMITS):
    return decode(admit(RawImage(content), limits), limits)


def refused(content, limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        decoded(content, limits)
    return caught.value.reason


def plain(count=4, size=(30, 20)):
    return [Image.new("RGB", size, COLOURS[index % 5]) for index in range(count)]


def steps(count=4):
    """A film in which a small black square walks over a coloured page: encoders store only what changes."""
    frames = []
    for index in range(count):
        frame = Image.new("RGB", (60, 40), (200, 220, 240))
        ImageDraw.Draw(frame).rectangle((index * 12, 8, index * 12 + 7, 15), fill=(0, 0, 0))
        frames.append(frame)
    return frames


ANIMATED = {
    "gif": ("GIF", {"duration": 50}),
    "apng": ("PNG", {"duration": 50}),
    "webp": ("WEBP", {"duration": 50, "lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-big": ("TIFF", {"big_tiff": True}),
}


@pytest.mark.parametrize("case", ANIMATED)
@pytest.mark.parametrize("film", [plain, steps])
def test_every_frame_is_a_whole_page(case, film):
    name, options = ANIMATED[case]
    image = decoded(encoded(film(), name, **options))
    assert [page.index for page in image.pages] == [0, 1, 2, 3]
    for page, frame in zip(image.pages, film(), strict=True):
        assert np.abs(page.raster.astype(int) - np.asarray(frame)).max() <= (8 if name == "GIF" else 0)


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_disposal_of_gif_frames_is_followed(disposal):
    base = Image.new("P", (40, 40), 0)
    base.putpalette([255, 255, 255, 200, 0, 0, 0, 0, 200])
    first, second = base.copy(), base.copy()
    first.paste(1, (0, 0, 20, 20))
    second.paste(2, (20, 20, 40, 40))
    content = encoded([first, second], "GIF", disposal=disposal, transparency=0, duration=10)
    pages = decoded(content).pages
    assert len(pages) == 2
    assert pages[0].raster[5, 5].tolist() == [200, 0, 0]
    assert pages[1].raster[30, 30].tolist() == [0, 0, 200]
    assert pages[1].raster[5, 35].tolist() == [255, 255, 255]


@pytest.mark.parametrize("blend", [0, 1])
@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_apng_blending_and_disposal_are_followed(blend, disposal):
    first = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    second = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    second.paste((0, 0, 200, 255), (20, 20, 40, 40))
    pages = decoded(encoded([first, second], "PNG", blend=blend, disposal=disposal)).pages
    assert pages[1].raster[30, 30].tolist() == [0, 0, 200]
    through = blend == 1 and disposal == 0  # the first frame has no previous one to go back to: it is cleared
    assert pages[1].raster[5, 5].tolist() == ([200, 0, 0] if through else [255, 255, 255])


def test_the_default_image_of_an_apng_is_a_page_too():
    pages = decoded(encoded(plain(3), "PNG", default_image=True)).pages
    assert [page.raster[0, 0].tolist() for page in pages] == [list(colour) for colour in COLOURS[:3]]


def test_a_multi_picture_jpeg_has_all_its_pictures():
    pages = decoded(encoded(plain(3), "MPO")).pages
    assert len(pages) == 3
    for page, colour in zip(pages, COLOURS, strict=False):
        assert np.abs(page.raster[0, 0].astype(int) - colour).max() < 4


def test_pages_of_different_sizes_and_modes():
    frames = [Image.new("1", (30, 20), 1), Image.new("RGB", (90, 15), COLOURS[1]), Image.new("I;16", (16, 50), 7)]
    pages = decoded(encoded(frames, "TIFF")).pages
    assert [page.raster.shape for page in pages] == [(20, 30, 3), (15, 90, 3), (50, 16, 3)]


def test_each_tiff_page_is_turned_by_its_own_orientation():
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[274] = 6
    turned = encoded([Image.new("RGB", (30, 20)), Image.new("RGB", (30, 20))], "TIFF", tiffinfo=tags)
    assert [page.raster.shape for page in decoded(turned).pages] == [(30, 20, 3)] * 2


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_too_many_frames(name):
    limits = Limits(max_pages=3)
    assert len(decoded(encoded(plain(3), name), limits).pages) == 3
    assert refused(encoded(plain(4), name), limits) is Reason.TOO_MANY_PAGES


def test_one_page_policies_refuse_animations():
    for name in ("GIF", "PNG", "WEBP", "TIFF"):
        assert refused(encoded(plain(2), name), Limits(max_pages=1)) is Reason.TOO_MANY_PAGES


def test_no_more_pages_than_fit_into_one_message():
    assert refused(encoded(plain(201, (8, 8)), "TIFF"), Limits(max_pages=500)) is Reason.TOO_MANY_PAGES


def test_pixels_of_all_pages_together_are_bounded():
    limits = Limits(max_pixels=30 * 20)
    assert len(decoded(encoded(plain(4), "TIFF"), limits).pages) == 4
    assert refused(encoded(plain(5), "TIFF"), limits) is Reason.IMAGE_TOO_LARGE


def test_a_later_page_may_not_be_too_large_or_too_small():
    large = [Image.new("RGB", (30, 20)), Image.new("RGB", (31, 20))]
    assert refused(encoded(large, "TIFF"), Limits(max_pixels=600)) is Reason.IMAGE_TOO_LARGE
    assert refused(encoded([large[0], Image.new("RGB", (3, 20))], "TIFF")) is Reason.IMAGE_TOO_SMALL


# ---------------------------------------------------------------- structures that lie


def test_a_gif_without_its_end_is_damaged():
    content = encoded(plain(3), "GIF")
    assert content.endswith(b";")
    assert refused(content[:-1]) is Reason.IMAGE_CORRUPT
    assert refused(content[:-1] + b"\x00\x00") is Reason.IMAGE_CORRUPT
    assert len(decoded(content + b"trailing bytes").pages) == 3


def test_a_gif_without_frames_holds_no_picture():
    assert refused(b"GIF89a" + struct.pack("<HHBBB", 20, 20, 0, 0, 0) + b";") is Reason.NO_PIXELS


def test_an_apng_that_announces_another_number_of_frames_is_damaged():
    content = encoded(plain(3), "PNG")
    at = content.index(b"acTL")
    for announced in (0, 1, 2, 4, 2**31 - 1):
        control = b"acTL" + struct.pack(">I", announced) + content[at + 8 : at + 12]
        lying = content[:at] + control + struct.pack(">I", zlib.crc32(control)) + content[at + 16 :]
        assert refused(lying) is Reason.IMAGE_CORRUPT


def test_pictures_behind_the_announced_ones_do_not_hide_in_a_png():
    content = encoded(plain(3), "PNG")
    at = content.index(b"acTL")
    still = content[: at - 4] + content[at + 16 :]  # frames that nothing announces: not shown, so not a page
    (page,) = decoded(still).pages
    assert page.raster[0, 0].tolist() == [255, 0, 0]


def test_a_tiff_whose_directories_run_in_a_circle_is_damaged():
    content = bytearray(encoded(plain(1), "TIFF"))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    assert refused(bytes(content)) is Reason.IMAGE_CORRUPT
    struct.pack_into("<I", content, first + 2 + 12 * entries, len(content) + 100)
    assert refused(bytes(content)) is Reason.IMAGE_CORRUPT
    struct.pack_into("<I", content, 4, 0)
    assert refused(bytes(content)) is Reason.NO_PIXELS


def test_counting_stops_at_the_limit():
    endless = b"GIF89a" + struct.pack("<HHBBB", 20, 20, 0, 0, 0) + (b"," + bytes(8) + b"\x00\x02\x00") * 100_000
    assert count_frames(endless, Format.GIF, 50) == 51
    assert refused(endless) is Reason.TOO_MANY_PAGES


def test_formats_that_their_decoder_counts():
    for form in (Format.JPEG, Format.WEBP, Format.BMP):
        assert count_frames(b"anything", form, 50) is None
