"""Decoding in a process of its own, with limits: one hostile picture must not take another request with it.

The worker's memory (RLIMIT_AS), its processor time a page (RLIMIT_CPU) and what it writes (RLIMIT_FSIZE, which
holds for the memory files that carry the pixels) are bounded, and it can only read, compute and answer (`sandbox`, in
its tightest form). When it dies on a document, that document is at fault: the request is refused and the worker
replaced. Its answer is checked against the limits again on this side.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass
from typing import Any

import numpy as np

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import InvalidInput, Reason, TimedOut, Unavailable
from guardedvlm.guard.decode.budget import Budget
from guardedvlm.guard.decode.codecs import load_codecs
from guardedvlm.guard.decode.document import decode, number_pages
from guardedvlm.guard.decode.identifiers import MAX_SECRET_CHARS, MAX_SECRETS
from guardedvlm.guard.decode.kept import check_kept
from guardedvlm.guard.image import (
    AdmittedImage,
    DecodedImage,
    DicomHeader,
    Format,
    Frame,
    Resolution,
    Secret,
    checked_resolution,
)
from guardedvlm.policy.model import Limits
from guardedvlm.sandbox import Confinement
from guardedvlm.worker import Array, WithArrays, WorkerPool, WorkerSpec

CALL_SECONDS = 20
"""For one document, waiting for a worker not included."""
PAGE_SECONDS = 10
"""Of processor time until the next page is there: what hangs, or takes a scan a thousand times, ends here."""
BASE_BYTES = 768 * 2**20
"""Address space of interpreter and libraries (162 MB measured), copies of the document, an inflated data set."""
BYTES_PER_PIXEL = 40
"""Address space a pixel of `max_pixels`: one page took at most 22 (WebP; of 40 megapixels, measured with 13 kinds of
file), the finished pages of a document take up to three each."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What the worker tells beside the pixels: the header's identifiers, a resolution a page, what is kept."""

    secrets: tuple[Secret, ...]
    dpi: tuple[Resolution | None, ...]
    header: DicomHeader | None


class Decoder:
    """The role's object in the worker. `cpu_seconds` and `written_bytes` a page; 0 = no limit of its own."""

    def __init__(self, cpu_seconds: int = 0, written_bytes: int = 0) -> None:
        self._cpu_seconds = cpu_seconds
        load_codecs()
        if written_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (written_bytes, written_bytes))

    def decode(self, content: Array, *, format: str, limits: dict[str, Any]) -> WithArrays:
        """Decode the bytes of a document; the value is a `Beside`, the arrays are its pages."""
        self._allow()
        admitted = AdmittedImage(content.tobytes(), Format(format))
        image = decode(admitted, Limits.model_validate(limits), self._allow)
        beside = Beside(image.secrets, tuple(page.dpi for page in image.pages), image.header)
        return WithArrays(beside, [page.raster for page in image.pages])

    def _allow(self) -> None:
        """Let the process use the time of another page; then the kernel ends it, whatever native code it is in."""
        if self._cpu_seconds:
            used = resource.getrusage(resource.RUSAGE_SELF)
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            soft = math.ceil(used.ru_utime + used.ru_stime) + self._cpu_seconds
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def decode_worker_spec(max_pixels: int = Limits().max_pixels) -> WorkerSpec:
    """The worker for pages of up to `max_pixels`; larger ones, where a policy allows them, are refused as too large."""
    return WorkerSpec(
        role="decode",
        target="guardedvlm.guard.decode.isolated:Decoder",
        options={"cpu_seconds": PAGE_SECONDS, "written_bytes": 3 * max_pixels},
        memory_bytes=BASE_BYTES + BYTES_PER_PIXEL * max_pixels,
        call_seconds=CALL_SECONDS,
        confinement=Confinement.DECODER,
    )


async def decode_in_worker(
    pool: WorkerPool, admitted: AdmittedImage, limits: Limits, deadline: Deadline
) -> DecodedImage:
    """Decode a document in a worker of `pool` (made with `decode_worker_spec`).

    Raises InvalidInput as `decode` does; IMAGE_CORRUPT also when the document killed its worker, IMAGE_TOO_LARGE when
    it took longer than the worker may; TimedOut(DEADLINE_EXCEEDED).
    """
    content = np.frombuffer(admitted.content, np.uint8)
    try:
        beside, arrays = await pool.call(
            "decode",
            Beside,
            content,
            deadline=deadline,
            format=admitted.format.value,
            limits=limits.model_dump(mode="json"),
        )
    except Unavailable:
        raise InvalidInput(Reason.IMAGE_CORRUPT) from None
    except TimedOut as late:
        if late.reason is Reason.STAGE_TIMEOUT:
            raise InvalidInput(Reason.IMAGE_TOO_LARGE) from None
        raise
    _check_answer(beside, arrays, limits)
    header = beside.header if admitted.format is Format.DICOM else None
    return DecodedImage(number_pages(map(Frame, arrays, beside.dpi)), admitted.format, beside.secrets, header)


def _check_answer(beside: Beside, arrays: list[Array], limits: Limits) -> None:
    """A worker that a document took over may send anything. Raises InvalidInput."""
    secrets = beside.secrets
    budget = Budget(limits)
    budget.announce(len(arrays))
    for array in arrays:
        if array.ndim != 3 or array.shape[2] != 3:
            raise InvalidInput(Reason.IMAGE_CORRUPT)
        budget.add(array.shape[1], array.shape[0])
    if len(secrets) > MAX_SECRETS or any(len(secret.text) > MAX_SECRET_CHARS for secret in secrets):
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    if len(beside.dpi) != len(arrays) or any(dpi and checked_resolution(dpi) is None for dpi in beside.dpi):
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    if beside.header is not None:
        check_kept(beside.header)
