"""Several hundred hostile files through the real decode worker: in time, within its memory, with a documented code."""

import dataclasses
import math
import os

import pytest
from hostile_documents import HOSTILE
from hostile_files import DECODED
from sound_documents import SOUND

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.admit import admit
from guardedvlm.guard.decode import decode_in_worker, decode_worker_spec
from guardedvlm.guard.decode.isolated import PAGE_SECONDS
from guardedvlm.guard.image import RawImage
from guardedvlm.policy.model import Limits
from guardedvlm.worker import WorkerPool

LIMITS = Limits()
EVERY = 9
COSTLY = ("bomb", "many", "most", "slow", "doubling", "nested", "-20000", "deep", "long", "itself", "other-", "dashes",
          "steps", "zero", "huge", "components", "too-large", "laughs", "frames")  # fmt: skip
CHEAP = [name for name in HOSTILE if not any(word in name for word in COSTLY)]
FAST = frozenset(CHEAP[::EVERY])
DOCUMENTED = {str(reason) for reason in Reason}


PATIENCE = 300.0
"""Seconds of the clock, of a machine that may be busy: what is held to here is processor time (`test_decode_worker` has
the other limit)."""


@pytest.fixture(scope="module")
def pool():
    started = WorkerPool(dataclasses.replace(decode_worker_spec(), call_seconds=PATIENCE))
    started.start()
    yield started
    started.stop()


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_memory(pid):
    """Address space at its largest, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmPeak"))


async def outcome(pool, content):
    """DECODED or the reason; any other exception fails the test."""
    try:
        image = await decode_in_worker(pool, admit(RawImage(content), LIMITS), LIMITS, Deadline.after(PATIENCE))
    except InvalidInput as refused:
        return str(refused.reason)
    assert sum(math.prod(page.raster.shape[:2]) for page in image.pages) <= 4 * LIMITS.max_pixels
    return DECODED


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in HOSTILE]
)
async def test_a_hostile_file_costs_nothing_but_its_own_request(pool, name):
    file = HOSTILE[name]
    content = file.make()
    assert file.make() == content, "not the same at every run"
    if pool.workers[0].pid is None:
        pool.start()
    pid = pool.workers[0].pid
    used = processor_seconds(pid)
    found = await outcome(pool, content)
    assert found in file.expected
    assert found == DECODED or found in DOCUMENTED
    if pool.workers[0].pid == pid:
        assert processor_seconds(pid) - used < PAGE_SECONDS + 1
        assert most_memory(pid) <= pool.spec.memory_bytes
    assert await outcome(pool, SOUND["png"]) == DECODED


def test_there_are_enough_of_them_and_of_every_kind():
    assert len(HOSTILE) >= 300
    assert len(FAST) >= 40
    for kind in ("png-", "apng-", "jpeg-", "mpo-", "gif-", "webp-", "tiff-", "bmp-", "pdf-", "dicom-", "other-"):
        assert any(name.startswith(kind) for name in HOSTILE)
        assert kind in {"other-", "mpo-", "apng-"} or any(name.startswith(kind) for name in FAST)
