"""Several pages, through a real service: each is redacted, asked and recorded, and one that is refused refuses all."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from guardedvlm.audit.digest import Purpose, load_or_create_key
from guardedvlm.audit.verify import read_ledger
from guardedvlm.client import redacted_document
from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.evidence import AUDIT_KEY

pytestmark = pytest.mark.service

QUESTION = "What is the total?"
FONT = ImageFont.load_default(32)
PERSONAL = ("Orla Quillfeather", "QUILLFEATHER, ORLA", "7730419952", "Quillfeather")
FIRST = ("Name: Orla Quillfeather", "Account number: 7730419952", "Total 12.00")
SECOND = ("Paid by Quillfeather today", "Name: QUILLFEATHER, ORLA", "Total 17.00")


def sheet(lines):
    """A page with `lines`, and the boxes of what is personal on it."""
    picture = Image.new("RGB", (900, 80 + 80 * len(lines)), "white")
    draw, boxes = ImageDraw.Draw(picture), []
    for row, line in enumerate(lines):
        place = (40, 40 + 80 * row)
        draw.text(place, line, "black", FONT)
        for text in PERSONAL:
            if text in line:
                left = place[0] + draw.textlength(line[: line.index(text)], FONT)
                boxes.append(draw.textbbox((left, place[1]), text, FONT))
    return picture, [tuple(map(round, box)) for box in boxes]


def saved(pictures, kind="TIFF"):
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sheets():
    """The second page twice."""
    first, second = sheet(FIRST), sheet(SECOND)
    return [first, second, second]


@pytest.fixture(scope="module")
def tiff(sheets):
    return saved([picture for picture, _ in sheets])


def pdf(*pages):
    """A PDF of text pages with an author, an attachment and, on each page, a line that no reader shows."""
    fonts = b"/Resources<</Font<</F 5 0 R>>>>"
    attached = b"<</Type/Filespec/F(Quillfeather.txt)/EF<</F 4 0 R>>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(Quillfeather.txt)%b]>>>>>>" % attached,
        b"<</Type/Pages/Count %d/Kids[%b]>>"
        % (len(pages), b" ".join(b"%d 0 R" % (6 + 2 * n) for n in range(len(pages)))),
        b"<</Author(Orla Quillfeather)/Title(Account 7730419952)/CreationDate(D:20240503101500Z)>>",
        b"<</Type/EmbeddedFile/Length 12>>\nstream\nQuillfeather\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, lines in enumerate(pages):
        shown = b"".join(b"1 0 0 1 20 %d Tm (%b) Tj " % (110 - 40 * n, line.encode()) for n, line in enumerate(lines))
        content = b"BT /F 14 Tf %b 3 Tr (Hidden 7730419952 Quillfeather) Tj ET" % shown
        objects.append(b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 324 144]/Contents %d 0 R%b>>" % (7 + 2 * number, fonts))
        objects.append(b"<</Length %d>>\nstream\n%b\nendstream" % (len(content), content))
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R/Info 3 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


STATEMENT = pdf(FIRST, SECOND)


@pytest.fixture(scope="module")
def redacted(service, tiff):
    with service.client("bank") as client:
        return client.redact(tiff, request_id="pages")


@pytest.fixture(scope="module")
def rasters(redacted):
    """The pixels of the redacted TIFF."""
    document = redacted_document(redacted.redaction)
    assert document.media_type == "image/tiff"
    with Image.open(io.BytesIO(document.content)) as found:
        return [np.asarray(frame) for frame in ImageSequence.Iterator(found)]


def labels(page, kind):
    return {region.label for region in page.regions if region.kind == kind}


def test_what_is_personal_is_hidden_on_every_page(redacted, rasters, sheets):
    assert [page.page_index for page in redacted.redaction.pages] == [0, 1, 2]
    for page, raster, (picture, boxes) in zip(redacted.redaction.pages, rasters, sheets, strict=True):
        assert (page.width, page.height) == picture.size == (raster.shape[1], raster.shape[0])
        assert not page.content
        assert {region.page_index for region in page.regions} == {page.page_index}
        hidden = np.zeros(raster.shape[:2], bool)
        for region in page.regions:
            hidden[region.box.y0 : region.box.y1, region.box.x0 : region.box.x1] = True
        ink = np.asarray(picture.convert("L")) < 128
        for x0, y0, x1, y1 in boxes:
            place = (slice(y0, y1), slice(x0, x1))
            assert hidden[place][ink[place]].all()


def test_a_person_has_one_label_on_all_pages(redacted):
    """Also where nothing but the first page says that it is a name."""
    first, *others = redacted.redaction.pages
    (label,) = labels(first, "PERSON")
    for page in others:
        assert labels(page, "PERSON") == {label}
        assert sum(region.kind == "PERSON" for region in page.regions) == 2


def test_equal_pages_are_redacted_alike(redacted, rasters):
    _, second, third = redacted.redaction.pages
    assert np.array_equal(rasters[1], rasters[2])
    assert second.counts == third.counts


def test_the_ledger_tells_of_all_pages(service, redacted, rasters):
    site = service.site.config.parent
    records = {record.event: record.facts for record in read_ledger(site / "ledger", request=redacted.audit_id)}
    pages = redacted.redaction.pages
    facts = records[State.REDACTED]
    assert records[State.DECODED]["pages"] == len(facts["hidden"]) == 3
    assert sum(facts["regions"].values()) == sum(len(page.regions) for page in pages)
    assert facts["hidden"][1] == facts["hidden"][2] != facts["hidden"][0]
    assert records[State.CLEARED]["verification"]["passes"] == max(page.verification.passes for page in pages)
    key = load_or_create_key(site / "keys" / AUDIT_KEY)
    expected = key.digest(Purpose.IMAGE, *(raster_digest(raster) for raster in rasters))
    assert records[State.CLEARED]["image_digest"] == expected
    content = redacted_document(redacted.redaction).content
    left = records[State.RELEASED]
    assert (left["file_bytes"], left["file_digest"]) == (len(content), key.digest(Purpose.FILE, content))


def test_an_answer_names_its_pages(service, tiff):
    with service.client("bank") as client:
        analysis = client.analyze(tiff, QUESTION)
    first, second = analysis.answer.strip().splitlines()
    assert first.startswith("Page 1: ")
    assert "12.00" in first
    assert second.startswith("Pages 2-3: ")
    assert "17.00" in second
    assert {place.page_index for place in analysis.evidence} == {0, 1, 2}
    for secret in PERSONAL:
        assert secret.casefold() not in analysis.answer.casefold()
    assert analysis.usage.input_tokens > 0


def test_a_stream_tells_how_far_it_is_and_is_repeated_without(service, tiff):
    ask = {"request_id": "stream", "with_progress": True}
    with service.client("bank") as client:
        events = list(client.stream(tiff, QUESTION, **ask))
        again = list(client.stream(tiff, QUESTION, **ask))
    told = [(e.progress.stage, e.progress.page, e.progress.pages) for e in events if e.HasField("progress")]
    assert told == [
        *(("decode", 3, 3), ("read", 1, 3), ("read", 3, 3), ("verify", 1, 3), ("verify", 3, 3)),
        *(("infer", 1, 3), ("infer", 3, 3)),
    ]
    released = [event for event in events if not event.HasField("progress")]
    kinds = [event.WhichOneof("event") for event in released]
    assert (kinds[0], kinds[-1]) == ("redaction", "done")
    assert "".join(event.text for event in released) == released[-1].done.answer
    assert again == released


@pytest.fixture(scope="module")
def streamed(service):
    """The statement's redaction with what came before it."""
    with service.client("bank") as client:
        events = list(client.stream_redact(STATEMENT, request_id="statement"))
        again = list(client.stream_redact(STATEMENT, request_id="statement"))
    assert again == events[-1:]
    return events


def test_redaction_tells_how_far_it_is(streamed):
    told = [(event.progress.stage, event.progress.page) for event in streamed[:-1]]
    assert told == [("decode", 2), ("read", 1), ("read", 2), ("verify", 1), ("verify", 2)]
    assert streamed[-1].result.audit_id


def test_a_redacted_pdf_holds_pictures_alone(streamed):
    document = redacted_document(streamed[-1].result.redaction)
    assert document.media_type == "application/pdf"
    check_pdf(document.content)
    first, second = streamed[-1].result.redaction.pages
    (label,) = labels(first, "PERSON")
    assert labels(second, "PERSON") == {label}
    for page, found in zip(pdfium.PdfDocument(document.content), (first, second), strict=True):
        raster = page.render(scale=200 / 72, rev_byteorder=True, prefer_bgrx=False).to_numpy()
        assert raster.shape == (found.height, found.width, 3)
        for region in found.regions:
            box = region.box
            inside = raster[box.y0 : box.y1, box.x0 : box.x1]
            assert (inside[:2] == 0).all()  # above a label's plate there is fill


def check_pdf(content):
    document = pdfium.PdfDocument(content)
    assert len(document) == 2
    assert document.count_attachments() == 0
    assert not any(document.get_metadata_dict().values())
    for page in document:
        assert page.get_size() == pytest.approx((324, 144), rel=1e-4)
        assert page.get_textpage().get_text_range() == ""
    for secret in (b"Quillfeather", b"7730419952", b"2024"):
        assert secret not in content


def test_every_frame_of_an_animation_counts(service):
    with service.client("clinic") as client:
        for kind in ("GIF", "WEBP"):
            content = saved([Image.new("RGB", (64, 64), shade) for shade in ("white", "red")], kind)
            found = client.redact(content).redaction
            assert len(found.pages) == 2
            with Image.open(io.BytesIO(redacted_document(found).content)) as frames:
                assert (frames.format, frames.n_frames) == ("TIFF", 2)


def test_one_refused_page_refuses_the_document(service, sheets):
    content = saved([sheets[0][0], Image.new("RGB", (4, 4))])
    with service.client("bank") as client, pytest.raises(InvalidInput) as failure:
        client.redact(content)
    assert failure.value.reason is Reason.IMAGE_TOO_SMALL


@pytest.mark.slow
def test_the_command_line_gives_a_pdf_for_a_pdf(tmp_path):
    (tmp_path / "statement.pdf").write_bytes(STATEMENT)
    command = [sys.executable, "-m", "guardedvlm", "redact", tmp_path / "statement.pdf", "-o", tmp_path / "out"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [*command, "-p", "finance"], capture_output=True, text=True, env=environment, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    check_pdf((tmp_path / "out" / "statement.redacted.pdf").read_bytes())
    found = json.loads((tmp_path / "out" / "statement.findings.json").read_text())
    assert [(page["width"], page["height"]) for page in found["pages"]] == [(900, 400)] * 2
    assert all({"PERSON"} <= {region["kind"] for region in page["regions"]} for page in found["pages"])
