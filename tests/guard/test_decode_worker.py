"""Decoding in a process with limits: the same result, and a hostile document costs its own request only."""

import asyncio
import dataclasses
import io
import os
import signal
import struct

import numpy as np
import pytest
from PIL import Image

from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Kind
from guardedvlm.errors import InvalidInput, Reason, TimedOut
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode, decode_in_worker, decode_worker_spec, document
from guardedvlm.guard.decode.isolated import Beside, Decoder
from guardedvlm.guard.image import Format, RawImage, Secret
from guardedvlm.policy.model import Limits
from guardedvlm.worker import WorkerPool

LIMITS = Limits()
HIJACKED = """
import numpy as np
from guardedvlm.core.finding import Kind
from guardedvlm.guard.image import Secret
from guardedvlm.worker import WithArrays

class Decoder:
    def decode(self, content, *, format, limits):
        answer = content.tobytes().rpartition(b"IEND")[2][4:].decode()
        shape = {"flat": (30, 40), "four": (30, 40, 4), "wide": (8, 30000, 3), "tiny": (3, 40, 3)}
        page = np.zeros(shape.get(answer, (30, 40, 3)), np.uint8)
        def told(pages, secrets=(), dpi=None, header=None):
            dpi = [None] * len(pages) if dpi is None else dpi
            return WithArrays({"secrets": list(secrets), "dpi": dpi, "header": header}, pages)
        if answer == "none": return told([])
        if answer == "many": return told([page] * 60)
        if answer == "kind": return told([page], [{"kind": "NONSENSE", "text": "x"}])
        if answer == "long": return told([page], [Secret(Kind.PERSON, "x" * 2000)])
        if answer == "secrets": return told([page], [Secret(Kind.PERSON, "xy")] * 5001)
        if answer == "dpi": return told([page], dpi=[(1.0, 300.0)])
        if answer == "dpis": return told([page], dpi=[None, None])
        if answer == "header": return told([page], header={"codes": [("Modality", "DOE")]})
        if answer == "value": return WithArrays("text", [page])
        return told([page])
"""


def encoded(image, name="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


SMALL = encoded(Image.new("RGB", (40, 30), (1, 2, 3)))


@pytest.fixture(scope="module")
def shared():
    pool = WorkerPool(decode_worker_spec())
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def pool_with():
    pools = []

    def make(**changes):
        spec = decode_worker_spec()
        options = dict(spec.options) | changes.pop("options", {})
        pools.append(WorkerPool(dataclasses.replace(spec, options=options, **changes)))
        pools[-1].start()
        return pools[-1]

    yield make
    for pool in pools:
        pool.stop()


async def ask(pool, content, limits=LIMITS, seconds=60.0):
    return await decode_in_worker(pool, admit(RawImage(content), limits), limits, Deadline.after(seconds))


async def refused(pool, content, limits=LIMITS):
    with pytest.raises(InvalidInput) as caught:
        await ask(pool, content, limits)
    return caught.value.reason


async def works(pool):
    (page,) = (await ask(pool, SMALL)).pages
    assert page.raster.shape == (30, 40, 3)
    assert page.raster[0, 0].tolist() == [1, 2, 3]
    assert not page.raster.flags.writeable


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PDF"])
async def test_the_worker_gives_what_decoding_here_gives(shared, name):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())]
    more = {"save_all": True, "append_images": frames[1:]} if name in {"WEBP", "TIFF", "GIF", "PDF"} else {}
    content = encoded(frames[0], name, **more)
    there, here = await ask(shared, content), decode(admit(RawImage(content), LIMITS), LIMITS)
    assert there.format is here.format is Format(name)
    assert len(there.pages) == len(here.pages) == (2 if more else 1)
    for page, same in zip(there.pages, here.pages, strict=True):
        assert page.index == same.index
        assert np.array_equal(page.raster, same.raster)
        assert page.raster.flags.c_contiguous
        assert not page.raster.flags.writeable


async def test_secrets_of_a_dicom_header_come_back(shared):
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    ds.PatientName, ds.SpecificCharacterSet = "Müller^Jürgen", "ISO_IR 192"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 20, 20, 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(range(200)) * 2
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    image = await ask(shared, stream.getvalue())
    assert image.format is Format.DICOM
    assert Secret(Kind.PERSON, "Jürgen Müller") in image.secrets


async def test_refusals_come_through_and_the_worker_stays(shared):
    pid = shared.workers[0].pid
    assert await refused(shared, SMALL[:-30]) is Reason.IMAGE_CORRUPT
    assert await refused(shared, encoded(Image.new("L", (30_000, 8)))) is Reason.IMAGE_TOO_LARGE
    assert await refused(shared, encoded(Image.new("L", (1, 1)))) is Reason.IMAGE_TOO_SMALL
    assert await refused(shared, SMALL, Limits(max_pixels=1199)) is Reason.IMAGE_TOO_LARGE
    await works(shared)
    assert shared.workers[0].pid == pid


def test_the_role_without_limits_decodes_in_this_process():
    answer = Decoder().decode(np.frombuffer(SMALL, np.uint8), format="PNG", limits=LIMITS.model_dump(mode="json"))
    assert answer.value == Beside((), (None,), None)
    assert answer.arrays[0].shape == (30, 40, 3)


def test_memory_that_runs_out_here_is_the_documents_fault(monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr(document, "decode_raster", out_of_memory)
    with pytest.raises(InvalidInput) as caught:
        decode(admit(RawImage(SMALL), LIMITS), LIMITS)
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE


# ---------------------------------------------------------------- death


async def test_a_worker_that_is_killed_costs_one_request(pool_with):
    pool = pool_with()
    pid = pool.workers[0].pid
    os.kill(pid, signal.SIGSTOP)
    request = asyncio.create_task(refused(pool, SMALL))
    await asyncio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    assert await request is Reason.IMAGE_CORRUPT
    await works(pool)
    assert pool.workers[0].pid != pid
    assert pool.restarts == 1


async def test_a_document_that_needs_too_much_memory_costs_one_request(pool_with):
    pool = pool_with(memory_bytes=400 * 2**20)
    large = encoded(Image.new("L", (6000, 6000)), "PNG")
    assert await refused(pool, large) in {Reason.IMAGE_TOO_LARGE, Reason.IMAGE_CORRUPT}
    await works(pool)


async def test_a_document_that_takes_too_long_costs_one_request(pool_with):
    pool = pool_with(call_seconds=0.5)
    os.kill(pool.workers[0].pid, signal.SIGSTOP)
    assert await refused(pool, SMALL) is Reason.IMAGE_TOO_LARGE
    await works(pool)


def slow_bitmap(side=2500):
    """Run-length encoded in runs of one pixel: Pillow decodes it in Python, a second or more for a few megapixels."""
    rows = (b"\x01\x07" * side + b"\x00\x00") * side + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


async def test_processor_time_is_bounded_for_each_page_not_for_the_worker(pool_with):
    pool = pool_with(options={"cpu_seconds": 1})
    content = slow_bitmap()
    assert await refused(pool, content) is Reason.IMAGE_TOO_LARGE
    await works(pool)
    pid, quick = pool.workers[0].pid, slow_bitmap(700)
    for _ in range(6):  # more than a second together
        assert (await ask(pool, quick)).pages[0].raster.shape == (700, 700, 3)
    assert pool.workers[0].pid == pid


async def test_the_worker_can_write_no_more_than_a_page(pool_with):
    pool = pool_with(options={"written_bytes": 40 * 30 * 3})
    await works(pool)
    assert await refused(pool, encoded(Image.new("RGB", (41, 30)))) is Reason.IMAGE_CORRUPT
    await works(pool)


async def test_the_callers_deadline_is_the_callers(shared):
    with pytest.raises(TimedOut) as caught:
        await ask(shared, SMALL, seconds=0.0)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    await works(shared)


# ---------------------------------------------------------------- a worker that was taken over


@pytest.fixture(scope="module")
def hijacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hijacked")
    (folder / "decode_test_hijacked.py").write_text(HIJACKED)
    pool = WorkerPool(dataclasses.replace(decode_worker_spec(), target="decode_test_hijacked:Decoder", options={}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        pool.start()
        yield pool
    pool.stop()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("flat", Reason.IMAGE_CORRUPT),
        ("four", Reason.IMAGE_CORRUPT),
        ("wide", Reason.IMAGE_TOO_LARGE),
        ("tiny", Reason.IMAGE_TOO_SMALL),
        ("none", Reason.NO_PIXELS),
        ("many", Reason.TOO_MANY_PAGES),
        ("kind", Reason.IMAGE_CORRUPT),
        ("value", Reason.IMAGE_CORRUPT),
        ("dpi", Reason.IMAGE_CORRUPT),
        ("dpis", Reason.IMAGE_CORRUPT),
        ("long", Reason.IMAGE_CORRUPT),
        ("secrets", Reason.IMAGE_CORRUPT),
        ("sound", None),
    ],
)
async def test_its_answer_is_checked(hijacked, answer, reason):
    content = SMALL + answer.encode()  # bytes after the end of a PNG, which the false decoder obeys
    if reason is None:
        assert len((await ask(hijacked, content)).pages) == 1
    else:
        assert await refused(hijacked, content) is reason


# ---------------------------------------------------------------- the limits are wide enough


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF"])
async def test_forty_megapixels_decode(pool_with, name):
    noise = np.random.default_rng(0).integers(0, 256, (625, 1000, 4), np.uint8)
    large = Image.fromarray(noise).resize((8000, 5000), Image.Resampling.NEAREST)
    options = {"lossless": True, "method": 0, "quality": 0} if name == "WEBP" else {}
    content = encoded(large.convert("RGB") if name == "JPEG" else large, name, **options)
    limits = Limits(max_bytes=512 * 2**20)
    assert (await ask(pool_with(call_seconds=100.0), content, limits, 100.0)).pages[0].raster.shape == (5000, 8000, 3)


@pytest.mark.slow
async def test_a_document_of_four_times_forty_megapixels_decodes(pool_with):
    pages = [Image.new("RGBA", (8000, 5000), (index, 9, 9, 200)) for index in range(4)]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert len((await ask(pool_with(call_seconds=100.0), content, seconds=100.0)).pages) == 4
