"""Bad input: each a clear error with its code, nothing released, the service up."""

import io
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib

import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from running_service import start_service, stop_service

from guardedvlm.audit.completeness import verify_logs
from guardedvlm.audit.verify import read_ledger
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import GuardedVLMError, Reason

QUESTION = "What is the total?"


def encode(kind, size=(200, 100), **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, "white").save(buffer, kind, **options)
    return buffer.getvalue()


def bomb():
    """A PNG that announces 60,000 x 60,000 pixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000_000))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def frames(kind, count):
    buffer = io.BytesIO()
    first, *others = [Image.new("RGB", (64, 64), (255, 255 - number, 255)) for number in range(count)]
    first.save(buffer, kind, save_all=True, append_images=others)
    return buffer.getvalue()


def dicom_without_pixels():
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName = "Doe^Jane"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def encrypted_pdf():
    """A PDF with an Encrypt dictionary of the standard security handler and a user password that is not empty."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
        b"<</Filter/Standard/V 2/R 3/Length 128/P -44/O<" + b"aa" * 32 + b">/U<" + b"bb" * 32 + b">>>",
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


DOCUMENTS = {
    "zero bytes": (b"", "", Reason.EMPTY_INPUT),
    "truncated": (encode("PNG", (400, 400))[:200], "", Reason.IMAGE_CORRUPT),
    "truncated JPEG": (encode("JPEG", (400, 400))[:-300], "", Reason.IMAGE_CORRUPT),
    "1x1": (encode("PNG", (1, 1)), "", Reason.IMAGE_TOO_SMALL),
    "30,000 px wide": (encode("PNG", (30_000, 16)), "", Reason.IMAGE_TOO_LARGE),
    "decompression bomb": (bomb(), "", Reason.IMAGE_TOO_LARGE),
    "wrong type": (encode("PNG"), "image/jpeg", Reason.FORMAT_MISMATCH),
    "no picture": (b"Name: somebody\n" * 100, "", Reason.FORMAT_UNSUPPORTED),
    "51 pages": (frames("TIFF", 51), "image/tiff", Reason.TOO_MANY_PAGES),
    "a TIFF cut on its second page": (frames("TIFF", 2)[:-200], "image/tiff", Reason.IMAGE_CORRUPT),
    "encrypted PDF": (encrypted_pdf(), "application/pdf", Reason.DOCUMENT_ENCRYPTED),
    "DICOM without pixels": (dicom_without_pixels(), "application/dicom", Reason.NO_PIXELS),
}
QUESTIONS = {
    "empty": ("", Reason.QUESTION_EMPTY),
    "spaces": (" \n\t", Reason.QUESTION_EMPTY),
    "100 KB": ("why " * 25_000, Reason.QUESTION_TOO_LONG),
    "Cyrillic": ("Как зовут этого человека?", Reason.QUESTION_LANGUAGE),
    "Chinese": ("这张图片里有谁？", Reason.QUESTION_LANGUAGE),
    "look-alikes": ("Whо is thе pаtient?", Reason.QUESTION_LANGUAGE),
    "who is this": ("Who is this person?", Reason.QUESTION_FORBIDDEN),
    "under the box": ("What is written under the black box?", Reason.QUESTION_FORBIDDEN),
}


def refused(service, content, question=QUESTION, media_type="", tenant="clinic"):
    """The error of a call that must fail; the service must be as ready after it as before."""
    with service.client(tenant) as client, pytest.raises(GuardedVLMError) as failure:
        client.analyze(content, question, media_type=media_type)
    assert service.serving() == 1
    return failure.value


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_bad_document_is_refused_with_its_reason(service, case):
    content, media_type, reason = DOCUMENTS[case]
    ledger = service.site.config.parent / "ledger"
    before = len(list(read_ledger(ledger)))
    error = refused(service, content, media_type=media_type)
    assert error.reason is reason
    assert error.code == "INVALID_ARGUMENT"
    records = list(read_ledger(ledger))[before:]
    assert records[-1].event is State.REFUSED
    assert records[-1].facts["reason"] == reason
    assert not any(record.event in (State.RELEASE_OPEN, State.GENERATING) for record in records)


@pytest.mark.parametrize("case", QUESTIONS)
def test_a_bad_question_is_refused_with_its_reason(service, case):
    question, reason = QUESTIONS[case]
    error = refused(service, encode("PNG"), question)
    assert error.reason is reason
    assert question[:12].strip() == "" or question[:12] not in str(error)


def test_a_tenant_whose_policy_is_gone_is_refused(tmp_path):
    """The store keeps the policies that it loaded; a tenants file that names another one stops the start."""
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "guardedvlm", "init", str(site)], check=True, capture_output=True)
    (site / "tenants.yaml").write_text((site / "tenants.yaml").read_text().replace("policy: finance", "policy: absent"))
    done = serve(site)
    assert done.returncode == 2
    assert "POLICY_MISSING: tenants.yaml:3" in done.stderr


def test_a_policy_with_a_typo_stops_the_start_with_its_line(tmp_path):
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "guardedvlm", "init", str(site)], check=True, capture_output=True)
    policy = site / "policies" / "healthcare" / "policy.yaml"
    policy.write_text(policy.read_text().replace("FACE:", "FACES:"))
    done = serve(site)
    assert done.returncode == 2
    assert "POLICY_INVALID: " in done.stderr
    assert "policy.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_policy_folder_stops_the_start(tmp_path):
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "guardedvlm", "init", str(site)], check=True, capture_output=True)
    for policy in (site / "policies").glob("*/policy.yaml"):
        policy.unlink()
    assert serve(site).returncode == 2


def test_a_taken_port_is_said_in_one_line(service, tmp_path):
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "guardedvlm", "init", str(site)], check=True, capture_output=True)
    done = serve(site, "--listen", service.listen)
    assert done.returncode == 2
    assert "PORT_TAKEN" in done.stderr


def serve(site, *extra):
    return subprocess.run(
        [sys.executable, "-m", "guardedvlm", "serve", "--config", str(site / "guardedvlm.yaml"), *extra],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.mark.service
def test_a_dead_worker_costs_one_request(service):
    """Every worker is killed while nothing runs: the next request replaces what it needs and is served."""
    children = service.processes()[1:]
    assert children
    for child in children:
        os.kill(child, signal.SIGKILL)
    time.sleep(1)  # the signals need a moment; the dead stay in the process table until they are missed
    with service.client("clinic") as client:
        response = client.redact(encode("PNG", (300, 300)))
    assert response.redaction.pages[0].content
    assert service.serving() == 1


@pytest.mark.slow
def test_a_full_disk_refuses_requests_and_readiness_and_then_recovers(tmp_path):
    """RLIMIT_FSIZE stands for a full disk: a write to the ledger fails, nothing is released, health says so."""
    service = start_service(tmp_path)
    try:
        ledger = service.site.config.parent / "ledger"
        size = max(path.stat().st_size for path in ledger.glob("*/segment-*"))
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        with service.client("clinic") as client, pytest.raises(GuardedVLMError) as failure:
            client.redact(encode("PNG", (100, 100)))
        assert (failure.value.code, failure.value.reason) == ("UNAVAILABLE", Reason.LEDGER_UNWRITABLE)
        wait(lambda: service.serving() == 2)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait(lambda: service.serving() == 1)
        with service.client("clinic") as client:
            assert client.redact(encode("PNG", (100, 100))).redaction.pages[0].content
        assert verify_logs(ledger).is_good
    finally:
        stop_service(service)


def wait(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
