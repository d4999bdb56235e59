"""What is fuzzed: one function a target that takes bytes and raises where a promise is broken.

    decode   admit and decode: whatever the bytes, pages within the limits or InvalidInput
    dicom    the same, behind a DICOM preamble: every mutation is a header or pixels of DICOM
    policy   a policy, a tenants file, cases or a signature: a document, or refusals that say where
    proto    messages, uploads, schemas, clearances, receipts, credentials and a worker's reply

`cases/TARGET/` holds what was found; `test_fuzz_cases.py` runs it again.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

from fuzz_edges import proto
from fuzz_policy import policy

from guardedvlm.errors import InvalidInput
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode as decode_document
from guardedvlm.guard.decode.isolated import Beside, _check_answer
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Limits

LIMITS = Limits(max_pixels=250_000, max_side=2_000, max_pages=6, max_bytes=2**20)
"""Small, so that a header which survives its mutation costs little."""
MOST_CPU_SECONDS = 10.0
PREAMBLE = bytes(128) + b"DICM"


def decode(data: bytes) -> None:
    """Pages within the limits, and what the service's side of the worker takes; or InvalidInput."""
    try:
        image = decode_document(admit(RawImage(data), LIMITS), LIMITS)
    except InvalidInput:
        return
    beside = Beside(image.secrets, tuple(page.dpi for page in image.pages), image.header)
    _check_answer(beside, [page.raster for page in image.pages], LIMITS)


def dicom(data: bytes) -> None:
    """`decode` of a DICOM file without its first 132 bytes."""
    decode(PREAMBLE + data)


TARGETS: dict[str, Callable[[bytes], None]] = {"decode": decode, "dicom": dicom, "policy": policy, "proto": proto}


def timed(target: Callable[[bytes], None], data: bytes) -> None:
    """Run one input. Raises what the target raises, and AssertionError when it took too long."""
    began = _processor_seconds()
    target(data)
    assert _processor_seconds() - began < MOST_CPU_SECONDS, "took too long"


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
