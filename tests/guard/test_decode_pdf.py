"""PDF: every page as it would be printed, or a refusal."""

import io

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode
from guardedvlm.guard.image import Format, RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits()


def decoded(content, limits=LIMITS):
    image = decode(admit(RawImage(content, "application/pdf"), limits), limits)
    assert image.format is Format.PDF
    assert image.secrets == ()
    return image


def refused(content, limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        decoded(content, limits)
    return caught.value.reason


def document(*objects, trailer=b""):
    """A PDF of numbered objects (the first is the catalogue), with its cross-reference table."""
    content, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    content += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return content + b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, trailer, start,
    )  # fmt: skip


def stream(data, head=b""):
    return b"<<%b/Length %d>>\nstream\n%b\nendstream" % (head, len(data), data)


CATALOGUE = b"<</Type/Catalog/Pages 2 0 R>>"
PAGES = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
RED_SQUARE = b"1 0 0 rg 72 72 72 72 re f"


def page(box=b"0 0 288 144", extra=b"/Contents 4 0 R"):
    return b"<</Type/Page/Parent 2 0 R/MediaBox[%b]%b>>" % (box, extra)


def with_form():
    """A page without content: an annotation with a blue appearance and a form field with a green one."""
    look = b"/Subtype/Form/BBox[0 0 50 50]"
    return document(
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]>>>>",
        PAGES,
        page(extra=b"/Annots[4 0 R 6 0 R]"),
        b"<</Type/Annot/Subtype/Stamp/Rect[10 10 60 60]/F 4/AP<</N 5 0 R>>>>",
        stream(b"0 0 1 rg 0 0 50 50 re f", look),
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/F 4/Rect[110 10 160 60]/AP<</N 7 0 R>>>>",
        stream(b"0 1 0 rg 0 0 50 50 re f", look),
    )


def pictures(count, size=(200, 100), resolution=200):
    frames = [Image.new("RGB", size, (index * 40 % 256, 90, 200)) for index in range(count)]
    target = io.BytesIO()
    frames[0].save(target, "PDF", save_all=True, append_images=frames[1:], resolution=resolution, quality=95)
    return target.getvalue()


def test_a_page_is_rendered_at_200_dpi_on_white():
    (only,) = decoded(document(CATALOGUE, PAGES, page(), stream(RED_SQUARE))).pages
    assert only.raster.shape == (400, 800, 3)
    assert only.raster[100, 300].tolist() == [255, 0, 0]  # PDF's y runs upwards: 72..144 of 144 points
    assert only.raster[300, 300].tolist() == [255, 255, 255]
    assert only.raster[100, 700].tolist() == [255, 255, 255]
    assert not only.raster.flags.writeable


def test_every_page_comes_in_order():
    pages = decoded(pictures(5)).pages
    assert [page.index for page in pages] == [0, 1, 2, 3, 4]
    for page_, red in zip(pages, (0, 40, 80, 120, 160), strict=True):
        assert np.abs(page_.raster[50, 100].astype(int) - (red, 90, 200)).max() < 6


def test_annotations_and_form_fields_are_rendered():
    (only,) = decoded(with_form()).pages
    assert only.raster[400 - 100, 100].tolist() == [0, 0, 255]
    assert only.raster[400 - 100, 375, 1] == 255
    assert only.raster[400 - 100, 375].max() - only.raster[400 - 100, 375].min() > 50  # PDFium tints fields


def test_rotation_and_crop_box_are_followed():
    turned = document(CATALOGUE, PAGES, page(extra=b"/Rotate 90/Contents 4 0 R"), stream(RED_SQUARE))
    assert decoded(turned).pages[0].raster.shape == (800, 400, 3)
    cropped = document(CATALOGUE, PAGES, page(extra=b"/CropBox[144 0 288 144]/Contents 4 0 R"), stream(RED_SQUARE))
    raster = decoded(cropped).pages[0].raster
    assert raster.shape == (400, 400, 3)
    assert raster.min() == 255  # the square lies outside, so it is gone


def test_the_resolution_falls_to_150_dpi_and_no_further():
    content = document(CATALOGUE, PAGES, page(), stream(RED_SQUARE))
    assert decoded(content, Limits(max_pixels=400 * 800)).pages[0].raster.shape == (400, 800, 3)
    assert decoded(content, Limits(max_pixels=400 * 800 - 1)).pages[0].raster.shape == (300, 600, 3)
    assert decoded(content, Limits(max_side=799)).pages[0].raster.shape == (300, 600, 3)
    assert refused(content, Limits(max_pixels=300 * 600 - 1)) is Reason.IMAGE_TOO_LARGE
    assert refused(document(CATALOGUE, PAGES, page(b"0 0 14400 14400"), stream(b""))) is Reason.IMAGE_TOO_LARGE


def test_fifty_pages_of_a4_fit_and_fifty_one_do_not():
    small = Limits(max_pixels=2_300_000, max_pages=50)  # 8.7 megapixels a document at 200 DPI, 4.9 at 150
    assert len(decoded(pictures(2, (1240, 1754), 150), small).pages) == 2
    assert refused(pictures(51, (20, 20))) is Reason.TOO_MANY_PAGES
    assert len(decoded(pictures(50, (20, 20))).pages) == 50


def test_tiny_and_missing_pages():
    assert refused(document(CATALOGUE, PAGES, page(b"0 0 2 2"), stream(b""))) is Reason.IMAGE_TOO_SMALL
    assert refused(document(CATALOGUE, b"<</Type/Pages/Kids[]/Count 0>>")) is Reason.NO_PIXELS


def encrypted(owner_only=False):
    """Standard security handler, revision 2, RC4 of 40 bits (ISO 32000-1, 7.6.3): the password is "secret"."""
    import hashlib

    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    user = padding if owner_only else (b"secret" + padding)[:32]
    owner = rc4(hashlib.md5((b"owner" + padding)[:32]).digest()[:5], user)
    permissions, identifier = (-4).to_bytes(4, "little", signed=True), b"0123456789abcdef"
    key = hashlib.md5(user + owner + permissions + identifier).digest()[:5]
    handler = b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P -4>>" % (
        owner.hex().encode(), rc4(key, padding).hex().encode(),
    )  # fmt: skip
    mixed = hashlib.md5(key + bytes([4, 0, 0, 0, 0])).digest()[:10]  # the key of object 4
    return document(
        CATALOGUE,
        PAGES,
        page(),
        stream(rc4(mixed, RED_SQUARE)),
        trailer=b"/Encrypt %b/ID[<%b><%b>]" % (handler, identifier.hex().encode(), identifier.hex().encode()),
    )


def rc4(key, data):
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)


def test_a_document_that_needs_a_password_is_refused():
    with pdfium.PdfDocument(encrypted(), password="secret") as sound:
        assert len(sound) == 1
    assert refused(encrypted()) is Reason.DOCUMENT_ENCRYPTED


def test_an_unknown_security_handler_is_refused_as_encrypted():
    assert refused(encrypted().replace(b"/Filter/Standard", b"/Filter/Nonsense")) is Reason.DOCUMENT_ENCRYPTED


def test_a_document_that_only_restricts_editing_is_decoded():
    assert decoded(encrypted(owner_only=True)).pages[0].raster[100, 300].tolist() == [255, 0, 0]


def test_the_reason_is_this_documents_and_not_the_last_ones():
    empty = document(CATALOGUE, b"<</Type/Pages/Kids[]/Count 0>>")
    for before in (encrypted(), b"%PDF-1.7\nnothing\n%%EOF"):
        refused(before)
        assert refused(empty) is Reason.NO_PIXELS


def test_damaged_documents():
    sound = pictures(3)
    assert refused(sound[: len(sound) // 2]) is Reason.IMAGE_CORRUPT
    assert refused(sound.replace(b"%%EOF", b"")) is Reason.IMAGE_CORRUPT
    assert refused(b"%PDF-1.7\nnothing\n%%EOF") is Reason.IMAGE_CORRUPT


def test_scripts_do_not_run():
    script = b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\);)>>>>"
    (only,) = decoded(document(script, PAGES, page(), stream(RED_SQUARE))).pages
    assert only.raster[100, 300].tolist() == [255, 0, 0]


def test_a_page_tree_that_bites_its_tail_ends():
    loop = document(CATALOGUE, b"<</Type/Pages/Kids[2 0 R]/Count 5>>")
    assert refused(loop) in {Reason.IMAGE_CORRUPT, Reason.NO_PIXELS}
