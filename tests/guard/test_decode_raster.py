"""Still pictures: each format and mode gives the pixels that a viewer shows, and nothing that it hides."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin, features
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.image import Format, RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits()
RNG = np.random.default_rng(4711)
RGB = RNG.integers(0, 256, (40, 60, 3), np.uint8)


def encoded(image, name, **options):
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def decoded(content, limits=LIMITS):
    image = decode(admit(RawImage(content), limits), limits)
    assert image.secrets == ()
    for page in image.pages:
        assert page.raster.dtype == np.uint8
        assert page.raster.flags.c_contiguous
        assert not page.raster.flags.writeable
    return image


def single(content, limits=LIMITS):
    (page,) = decoded(content, limits).pages
    return page.raster


def refused(content, limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        decoded(content, limits)
    return caught.value.reason


LOSSLESS = {
    "png": ("PNG", {}),
    "png-interlaced-like": ("PNG", {"compress_level": 0}),
    "webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff-raw": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff-packbits": ("TIFF", {"compression": "packbits"}),
    "tiff-big": ("TIFF", {"big_tiff": True}),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_lossless_formats_give_every_pixel_back(case):
    name, options = LOSSLESS[case]
    assert np.array_equal(single(encoded(Image.fromarray(RGB), name, **options)), RGB)


@pytest.mark.parametrize(
    ("name", "options"), [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("WEBP", {})]
)
def test_lossy_formats_come_close(name, options):
    smooth = np.asarray(Image.fromarray(RGB[:5, :8]).resize((200, 120), Image.Resampling.BICUBIC))
    assert np.abs(single(encoded(Image.fromarray(smooth), name, **options)).astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_and_gray(name):
    bits = Image.fromarray(RGB[:, :, 0] > 127)
    image = decoded(encoded(bits, name))
    assert image.format is Format(name)
    assert np.array_equal(image.pages[0].raster[:, :, 1], np.where(RGB[:, :, 0] > 127, 255, 0))
    gray = single(encoded(Image.fromarray(RGB[:, :, 0]), name))
    assert np.array_equal(gray, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "GIF"])
def test_palettes(name):
    palette = Image.fromarray(RGB).quantize(64)
    assert np.array_equal(single(encoded(palette, name)), np.asarray(palette.convert("RGB")))


# ---------------------------------------------------------------- orientation


def _marked():
    image = Image.new("RGB", (48, 32), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 15, 7), fill="black")  # top left
    ImageDraw.Draw(image).rectangle((40, 24, 47, 31), fill="red")  # bottom right
    return image


STORED = {  # what a camera stores so that EXIF orientation n turns it upright
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_pictures_are_turned_upright(name, orientation):
    turn = STORED[orientation]
    stored = _marked() if turn is None else _marked().transpose(turn)
    if name == "TIFF":
        tags = ImageFileDirectory_v2()
        tags[274] = orientation
        content = encoded(stored, name, tiffinfo=tags)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        content = encoded(stored, name, exif=exif, **({"lossless": True} if name == "WEBP" else {}))
    raster = single(content).astype(int)
    assert raster.shape == (32, 48, 3)
    assert np.abs(raster - np.asarray(_marked())).mean() < (6 if name == "JPEG" else 1e-9)


def test_compressed_tiffs_are_turned_once():
    tags = ImageFileDirectory_v2()
    tags[274] = 6
    content = encoded(_marked().transpose(STORED[6]), "TIFF", tiffinfo=tags, compression="tiff_lzw")
    assert np.array_equal(single(content), np.asarray(_marked()))


def test_orientation_in_xmp_is_applied():
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    content = encoded(_marked().transpose(STORED[3]), "PNG", pnginfo=chunk)
    assert np.array_equal(single(content), np.asarray(_marked()))


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage-garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"x"])
def test_damaged_exif_leaves_the_picture_as_it_is(exif):
    assert np.array_equal(single(encoded(Image.fromarray(RGB), "PNG", exif=exif)), RGB)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_unknown_orientations_are_upright(value):
    exif = Image.Exif()
    exif[274] = value
    assert np.array_equal(single(encoded(Image.fromarray(RGB), "PNG", exif=exif)), RGB)


# ---------------------------------------------------------------- depth, colour, alpha


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bits_are_stretched_over_what_they_use(name):
    deep = np.linspace(500, 1520, 40 * 60).astype(np.uint16).reshape(40, 60)
    raster = single(encoded(Image.fromarray(deep), name))
    assert raster[0, 0].tolist() == [0, 0, 0]
    assert raster[-1, -1].tolist() == [255, 255, 255]
    assert len(np.unique(raster)) == 256


def test_byte_order_and_white_is_zero_of_sixteen_bits():
    deep = np.linspace(500, 1520, 40 * 60).astype(np.uint16).reshape(40, 60)
    expected = single(encoded(Image.fromarray(deep), "PNG"))
    for order, photometric, pixels in ((">", 1, expected), ("<", 1, expected), ("<", 0, 255 - expected)):
        content = tiff(deep.astype(f"{order}u2").tobytes(), 60, 40, bits=16, photometric=photometric, order=order)
        assert np.array_equal(single(content), pixels)


def test_a_sound_tiff_of_a_kind_that_pillow_does_not_know_is_unsupported():
    assert refused(tiff(bytes(4800), 60, 40, bits=16, photometric=0, order=">")) is Reason.FORMAT_UNSUPPORTED
    assert refused(tiff(bytes(4800), 60, 40, bits=13, photometric=1, order="<")) is Reason.FORMAT_UNSUPPORTED


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_wide_samples(kind):
    wide = np.linspace(-70_000, 70_000, 40 * 60).astype(kind).reshape(40, 60)
    wide[0, 0] = wide.min()
    raster = single(encoded(Image.fromarray(wide), "TIFF"))
    assert raster.min() == 0
    assert raster.max() == 255
    assert np.all(np.diff(raster[:, :, 0].reshape(-1).astype(int)) >= 0)


def test_sixteen_bit_colour_keeps_its_upper_bits():
    deep = RNG.integers(0, 65_536, (20, 30, 3)).astype(">u2")
    assert np.array_equal(single(png(30, 20, 16, 2, b"".join(b"\x00" + row.tobytes() for row in deep))), deep >> 8)


def test_cmyk_and_ycck_jpegs_are_not_inverted():
    cmyk = Image.new("CMYK", (32, 32), (0, 0, 0, 0))  # white paper
    cmyk.paste((0, 0, 0, 255), (0, 0, 16, 32))  # black ink
    cmyk.paste((255, 0, 0, 0), (16, 16, 32, 32))  # cyan
    adobe = encoded(cmyk, "JPEG", quality=95)  # libjpeg writes Adobe's inverted values
    assert b"Adobe" in adobe
    for raster in (single(adobe), single(encoded(cmyk, "TIFF"))):
        assert raster[8, 24].min() > 240
        assert raster[8, 4].max() < 15
        assert raster[24, 24, 0] < 30 < 200 < raster[24, 24, 2]


def test_ycbcr_tiff():
    content = encoded(Image.new("RGB", (32, 32), (200, 40, 60)).convert("YCbCr"), "TIFF")
    assert np.abs(single(content)[5, 5].astype(int) - (200, 40, 60)).max() < 4


def test_transparent_pixels_become_white_and_what_they_hid_is_gone():
    layered = np.zeros((20, 40, 4), np.uint8)
    layered[:, :10] = (10, 20, 30, 255)
    layered[:, 10:20] = (10, 20, 30, 0)  # hidden under full transparency
    layered[:, 20:30] = (0, 0, 0, 128)
    layered[:, 30:] = (250, 0, 0, 1)
    for name, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        raster = single(encoded(Image.fromarray(layered), name, **options))
        assert raster[0, 0].tolist() == [10, 20, 30]
        assert raster[0, 15].tolist() == [255, 255, 255]
        assert abs(int(raster[0, 25, 0]) - 127) <= 1
        assert raster[0, 35].min() >= 253


def test_text_in_the_alpha_channel_is_drawn_on_white_or_gone():
    # Black everywhere, the text only in the alpha channel: a viewer shows it, so the page shows it.
    alpha = np.zeros((20, 40), np.uint8)
    alpha[5:15, 5:15] = 255
    raster = single(encoded(Image.fromarray(np.dstack([np.zeros((20, 40, 3), np.uint8), alpha])), "PNG"))
    assert raster[10, 10].max() == 0
    assert raster[0, 0].min() == 255
    # White on transparent: on white paper there is nothing, and nothing goes on.
    raster = single(encoded(Image.fromarray(np.dstack([np.full((20, 40, 3), 255, np.uint8), alpha])), "PNG"))
    assert raster.min() == 255


def test_gray_alpha_palette_transparency_and_colour_keys():
    alpha = np.where(np.arange(20) < 10, 0, 255) * np.ones((10, 1))
    gray = np.dstack([np.full((10, 20), 50, np.uint8), alpha.astype(np.uint8)])
    raster = single(encoded(Image.fromarray(gray, "LA"), "PNG"))
    assert (raster[0, 0].tolist(), raster[0, 19].tolist()) == ([255] * 3, [50] * 3)
    palette = Image.new("P", (20, 10), 0)
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.paste(1, (10, 0, 20, 10))
    for options in ({"transparency": 0}, {"transparency": b"\x00\xff"}):
        raster = single(encoded(palette, "PNG", **options))
        assert (raster[0, 0].tolist(), raster[0, 19].tolist()) == ([255] * 3, [0, 0, 200])
    assert single(encoded(palette, "GIF", transparency=0))[0, 0].tolist() == [255] * 3
    key = Image.new("RGB", (20, 10), (1, 2, 3))
    assert single(encoded(key, "PNG", transparency=(1, 2, 3)))[0, 0].tolist() == [255] * 3
    for mode in ("1", "L"):
        assert single(encoded(Image.new(mode, (20, 10), 0), "PNG", transparency=0))[0, 0].tolist() == [255] * 3


def test_colour_profiles_change_no_pixel_and_never_break():
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (swapped, b"no profile at all", b"\xff" * 500):
        for name, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
            assert np.array_equal(single(encoded(Image.fromarray(RGB), name, icc_profile=profile, **options)), RGB)


def test_lab_is_refused():
    assert refused(encoded(Image.new("LAB", (20, 20)), "TIFF")) is Reason.FORMAT_UNSUPPORTED


def test_metadata_goes_nowhere():
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Comment", "canary-4711", zip=True)
    image = decoded(encoded(Image.fromarray(RGB), "PNG", pnginfo=chunk))
    assert "canary" not in repr(image)
    assert {field: getattr(image, field) for field in ("format", "secrets")} == {"format": Format.PNG, "secrets": ()}
    assert np.array_equal(image.pages[0].raster, RGB)


def test_the_codecs_that_the_formats_need_are_built_in():
    for codec in ("jpg", "zlib", "libtiff", "webp"):
        assert features.check(codec)


# ---------------------------------------------------------------- size


def test_small_and_large_pictures():
    assert refused(encoded(Image.new("RGB", (1, 1)), "PNG")) is Reason.IMAGE_TOO_SMALL
    assert refused(encoded(Image.new("RGB", (500, 7)), "PNG")) is Reason.IMAGE_TOO_SMALL
    assert single(encoded(Image.new("RGB", (8, 8)), "PNG")).shape == (8, 8, 3)
    assert refused(encoded(Image.new("L", (30_000, 10)), "PNG")) is Reason.IMAGE_TOO_LARGE
    assert single(encoded(Image.new("L", (20_000, 10)), "PNG")).shape == (10, 20_000, 3)
    limits = Limits(max_pixels=100 * 100)
    assert single(encoded(Image.new("RGB", (100, 100)), "PNG"), limits).shape == (100, 100, 3)
    for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        assert refused(encoded(Image.new("RGB", (101, 100)), name), limits) is Reason.IMAGE_TOO_LARGE
        assert refused(encoded(Image.new("RGB", (900, 900)), name), limits) is Reason.IMAGE_TOO_LARGE


def test_a_picture_above_pillows_own_bound_is_the_policys_business(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert single(encoded(Image.fromarray(RGB), "PNG")).shape == RGB.shape
    assert Image.MAX_IMAGE_PIXELS == 100  # and it is put back


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (100_000, 8)])
def test_decompression_bombs_are_refused_by_their_header(width, height):
    assert refused(png(width, height, 8, 0, zeros=2**20)) is Reason.IMAGE_TOO_LARGE
    bmp = bytearray(encoded(Image.new("RGB", (9, 9)), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    assert refused(bytes(bmp)) is Reason.IMAGE_TOO_LARGE
    gif = bytearray(encoded(Image.new("L", (9, 9)), "GIF"))
    gif[6:10] = struct.pack("<HH", min(width, 65_535), min(height, 65_535))
    assert refused(bytes(gif)) is Reason.IMAGE_TOO_LARGE


def test_a_text_chunk_bomb_is_refused():
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(80 * 2**20)))
    assert refused(png(20, 20, 8, 0, zeros=21 * 20, before=bomb)) is Reason.IMAGE_CORRUPT


# ---------------------------------------------------------------- files made by hand


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, rows=b"", zeros=0, before=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(rows or bytes(zeros))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff(strip, width, height, bits, photometric, order):
    """A TIFF with one uncompressed strip."""
    entries = [
        (256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8 + 2 + 9 * 12 + 4), (277, 1),
        (278, height), (279, len(strip)),
    ]  # fmt: skip
    directory = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    head = (b"MM\x00*" if order == ">" else b"II*\x00") + struct.pack(order + "IH", 8, len(entries))
    return head + directory + struct.pack(order + "I", 0) + strip
