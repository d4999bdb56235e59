"""Worker processes: typed answers, own failures, no content, replacement."""

import asyncio
import os
import signal
import time

import numpy as np
import pytest

from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.errors import InvalidInput, Reason, Refused, TimedOut, Unavailable
from guardedvlm.worker import Challenge, Worker, WorkerPool, WorkerSpec

ROLE = """
import os, time
from guardedvlm.core.finding import Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.worker import WithArrays

class Role:
    def __init__(self, fail=""):
        if fail == "import": raise ImportError("canary-4711")
        if fail == "other": raise RuntimeError("canary-4711")
    def find(self, raster, n): return (Finding(Kind.FACE, Box(0, 0, int(raster.shape[1]), n), 0.5, "test", secret="s"),)
    def twice(self, raster): return WithArrays({"n": 2}, [raster, 255 - raster])
    def refuse(self): raise InvalidInput(Reason.IMAGE_CORRUPT, page=3)
    def raise_content(self): raise ValueError("canary-4711")
    def die(self): os._exit(3)
    def hang(self): time.sleep(60)
    def nap(self): time.sleep(0.4)
    def grab(self): return len(bytearray(3 * 2**30))
    def wrong(self): return "not findings"
    def environment(self): return dict(os.environ)
    def dumpable(self):
        import resource
        return resource.getrlimit(resource.RLIMIT_CORE)
"""


@pytest.fixture(scope="module")
def role_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("role")
    (folder / "worker_test_role.py").write_text(ROLE)
    old = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    yield
    if old is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = old


@pytest.fixture
def worker(role_path):
    worker = Worker(WorkerSpec("test", "worker_test_role:Role", call_seconds=1.5))
    yield worker
    worker.stop()
    assert worker.pid is None


def call(worker, method, result=object, *arrays, **args):
    return worker.call_sync(method, result, *arrays, **args)


def test_values_and_arrays_go_and_come_back(worker):
    raster = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    found, arrays = call(worker, "find", tuple[Finding, ...], raster, n=7)
    assert found == (Finding(Kind.FACE, Box(0, 0, 30, 7), 0.5, "test", secret="s"),)
    assert arrays == []
    value, (same, inverted) = call(worker, "twice", dict[str, int], raster)
    assert value == {"n": 2}
    assert np.array_equal(same, raster)
    assert np.array_equal(inverted, 255 - raster)


def test_an_empty_array_is_carried(worker):
    _, (same, _) = call(worker, "twice", dict[str, int], np.zeros((0,), np.uint8))
    assert same.shape == (0,)


def test_pixels_that_are_taken_back_while_they_are_read_end_the_worker_and_not_the_guard(worker, monkeypatch):
    worker.start()
    pixels = np.ones((400, 300, 3), np.uint8)
    measure = os.fstat

    def measured_and_cut(descriptor):
        found = measure(descriptor)
        os.ftruncate(descriptor, 7)
        return found

    monkeypatch.setattr(os, "fstat", measured_and_cut)
    with pytest.raises(Unavailable) as failure:
        call(worker, "twice", dict[str, int], pixels)
    monkeypatch.undo()
    assert failure.value.reason is Reason.WORKER_DIED
    assert worker.pid is None
    _, (same, _) = call(worker, "twice", dict[str, int], pixels)
    assert np.array_equal(same, pixels)


def test_our_errors_come_back_as_they_are_and_the_process_lives(worker):
    worker.start()
    pid = worker.pid
    with pytest.raises(InvalidInput) as failure:
        call(worker, "refuse")
    assert (failure.value.reason, failure.value.details) == (Reason.IMAGE_CORRUPT, {"page": 3})
    assert worker.pid == pid


def test_other_errors_lose_their_text(worker):
    with pytest.raises(Refused) as failure:
        call(worker, "raise_content")
    assert failure.value.reason is Reason.DETECTOR_FAILED
    assert "canary" not in str(failure.value)
    assert failure.value.details == {"error": "ValueError"}


@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        ("die", Unavailable, Reason.WORKER_DIED),
        ("hang", TimedOut, Reason.STAGE_TIMEOUT),
        ("wrong", Unavailable, Reason.WORKER_DIED),
    ],
)
def test_a_bad_worker_is_replaced(worker, method, error, reason):
    worker.start()
    pid = worker.pid
    with pytest.raises(error) as failure:
        call(worker, method, tuple[Finding, ...])
    assert failure.value.reason is reason
    assert worker.pid is None
    assert call(worker, "find", tuple[Finding, ...], np.zeros((1, 1, 3), np.uint8), n=1)
    assert worker.pid not in (None, pid)
    assert worker.restarts == 1


def test_a_killed_worker_is_noticed(worker):
    worker.start()
    os.kill(worker.pid, signal.SIGKILL)
    while worker.pid is not None:  # the signal needs a moment
        time.sleep(0.01)
    assert call(worker, "environment", dict[str, str])
    assert worker.restarts == 1


async def test_a_callers_deadline_does_not_cost_the_worker(role_path):
    """Else a caller with short deadlines could keep every role loading its weights."""
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20))
    pool.start()
    with pytest.raises(TimedOut) as failure:
        await pool.call("nap", object, deadline=Deadline.after(0.1))
    assert failure.value.reason is Reason.DEADLINE_EXCEEDED
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert (await pool.call("find", tuple[Finding, ...], pixel, deadline=Deadline.after(30), n=1))[0]
    assert pool.restarts == 0
    pool.stop()


async def test_calls_that_wait_are_counted(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20))
    pool.start()
    naps = [asyncio.ensure_future(pool.call("nap", object, deadline=Deadline.after(30))) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert pool.waiting == 2
    naps[2].cancel()
    await asyncio.gather(*naps, return_exceptions=True)
    assert pool.waiting == 0
    pool.stop()


def test_memory_is_limited(role_path):
    worker = Worker(WorkerSpec("test", "worker_test_role:Role", memory_bytes=2 * 2**30))
    with pytest.raises(InvalidInput) as failure:
        call(worker, "grab")
    assert failure.value.reason is Reason.IMAGE_TOO_LARGE
    worker.stop()


@pytest.mark.parametrize(("fail", "reason"), [("import", Reason.DETECTOR_MISSING), ("other", Reason.DETECTOR_FAILED)])
def test_a_role_that_cannot_be_built_says_why_without_content(role_path, fail, reason):
    worker = Worker(WorkerSpec("test", "worker_test_role:Role", {"fail": fail}))
    with pytest.raises((Unavailable, Refused)) as failure:
        worker.start()
    assert failure.value.reason is reason
    assert "canary" not in str(failure.value)
    worker.stop()


def test_a_child_inherits_no_secrets_and_dumps_no_core(worker, monkeypatch):
    monkeypatch.setenv("GUARDEDVLM_TOKEN", "canary-4711")
    environment, _ = call(worker, "environment", dict[str, str])
    assert "canary-4711" not in environment.values()
    assert call(worker, "dumpable", list[int])[0] == [0, 0]


async def test_a_pool_runs_calls_side_by_side(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20), 2)
    pool.start()
    assert len({worker.pid for worker in pool.workers}) == 2
    started = time.monotonic()
    await asyncio.gather(*(pool.call("nap", object, deadline=Deadline.after(30)) for _ in range(2)))
    assert time.monotonic() - started < 0.79  # one after the other would take 0.8 s or more
    pool.stop()


async def test_a_cancelled_caller_gives_its_worker_back(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20))
    task = asyncio.ensure_future(pool.call("nap", object, deadline=Deadline.after(30)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert (await pool.call("find", tuple[Finding, ...], pixel, deadline=Deadline.after(30), n=1))[0]
    assert pool.restarts == 0
    pool.stop()


async def test_waiting_for_a_worker_counts_against_the_deadline(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20))
    pool.start()
    busy = asyncio.ensure_future(pool.call("nap", object, deadline=Deadline.after(30)))
    await asyncio.sleep(0.05)
    with pytest.raises(TimedOut) as failure:
        await pool.call("nap", object, deadline=Deadline.after(0.05))
    assert failure.value.reason is Reason.DEADLINE_EXCEEDED
    await busy
    pool.stop()


async def test_a_role_that_misses_its_challenge_is_refused_and_replaced(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20))
    pixel = np.zeros((1, 1, 3), np.uint8)
    known = Challenge("environment", dict[str, str], {}, bool)
    missed = Challenge("environment", dict[str, str], {}, lambda found: not found)
    assert (await pool.call("find", tuple[Finding, ...], pixel, deadline=Deadline.after(30), challenges=(known,), n=1))[
        0
    ]
    with pytest.raises(Refused) as failure:
        await pool.call(
            "find", tuple[Finding, ...], pixel, deadline=Deadline.after(30), challenges=(known, missed), n=1
        )
    assert failure.value.reason is Reason.DETECTOR_FAILED
    assert pool.workers[0].pid is None
    assert (await pool.call("find", tuple[Finding, ...], pixel, deadline=Deadline.after(30), n=1))[0]
    pool.stop()


async def test_every_process_of_a_role_is_asked_also_while_one_is_busy(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=20), 2)
    busy = asyncio.ensure_future(pool.call("nap", object, deadline=Deadline.after(30)))
    await asyncio.sleep(0.05)
    assert len(await pool.call_each("environment", dict[str, str], deadline=Deadline.after(30))) == 2
    assert {worker.pid for worker in pool.workers} != {None}
    await busy
    pool.stop()


async def test_a_worker_that_hangs_does_not_hold_up_the_end(role_path):
    pool = WorkerPool(WorkerSpec("test", "worker_test_role:Role", call_seconds=60))
    pool.start()
    hung = asyncio.ensure_future(pool.call("hang", object, deadline=Deadline.after(60)))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await asyncio.to_thread(pool.stop)
    assert time.monotonic() - began < 10
    with pytest.raises(Unavailable):
        await hung
