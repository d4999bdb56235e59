"""Hostile files through the real service: a documented code, nothing released, and the next request is served."""

import pytest
from hostile_documents import HOSTILE
from hostile_files import DECODED
from running_service import start_service, stop_service
from sound_documents import SOUND

from guardedvlm.errors import GuardedVLMError, Reason

pytestmark = pytest.mark.slow
NAMES = (
    "png-2147483647x2147483647", "png-data-bomb", "png-text-bomb", "png-0x0", "apng-many", "jpeg-scans-many",
    "jpeg-exif-loop", "jpeg-xmp-laughs", "gif-frames-many", "gif-65535x65535", "webp-riff-alone", "tiff-loop",
    "tiff-bytes-huge", "tiff-lab", "bmp-runs-slow", "pdf-box-huge", "pdf-forms-doubling-12", "pdf-pages-billion",
    "pdf-encrypted", "pdf-no-end", "pdf-content-bomb", "dicom-deflated-bomb", "dicom-frames-billion",
    "dicom-sequences-open-3000", "dicom-j2k-huge", "dicom-names-many", "dicom-without-pixels", "png-then-zip",
    "other-svg", "other-zip-bomb", "other-empty",
)  # fmt: skip
STRAIN = {Reason.RESIDUAL_FOUND, Reason.KIND_REFUSED}
"""What the guard may say of a picture that came out of such a file."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    started = start_service(tmp_path_factory.mktemp("hostile"))
    yield started
    stop_service(started)


def outcome(service, content):
    """DECODED where the picture came out and was looked at; else the reason."""
    try:
        with service.client() as client:
            client.redact(content)
    except GuardedVLMError as refused:
        return DECODED if refused.reason in STRAIN else str(refused.reason)
    return DECODED


def test_the_service_outlives_them_all(service):
    before = service.process.pid
    found = {name: outcome(service, HOSTILE[name].make()) for name in NAMES}
    assert {name: reason for name, reason in found.items() if reason not in HOSTILE[name].expected} == {}
    assert len(set(found.values())) >= 8
    assert service.process.poll() is None
    assert service.process.pid == before
    assert outcome(service, SOUND["png"]) == DECODED
    assert not list(service.scratch.rglob("*.made"))
    for content in ("Traceback", "canary", "Doe"):
        assert content not in service.log.read_text()
