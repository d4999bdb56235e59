"""Both clients against a real gRPC server: what is made again and what is not, under which id, until when."""

import asyncio
import subprocess
import sys
import time
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grpc
import pytest
from packaging.requirements import Requirement
from scripted_guard import HANG, ScriptedGuard, issuing, serving

from guardedvlm.client import UPLOAD_ABOVE, AsyncClient, Client, Retry, token_from_file
from guardedvlm.client.tokens import ExpiringToken
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import (
    ConfigurationError,
    InvalidInput,
    NotIdentified,
    Overloaded,
    Reason,
    Refused,
    TimedOut,
    Unavailable,
)

QUICK = Retry(first_seconds=0.001, longest_seconds=0.002)
WORKER_DIED = Unavailable(Reason.WORKER_DIED, retry_seconds=0)
KINDS = (Client, AsyncClient)
ROOT = Path(__file__).parents[2]
FOUND = {"_distutils_hack", "grpc_tools", "sniffio", "python_multipart"}
"""Loaded where they are: by every start of a Python with setuptools, by grpc, anyio and starlette, which do without."""


def call(kind, target, method, *arguments, make=None, **wishes):
    """A method of either client, its events as a list."""
    options = {"retry": QUICK, **(make or {})}

    async def asked():
        async with AsyncClient(target, **options) as client:
            found = getattr(client, method)(*arguments, **wishes)
            return [event async for event in found] if method.startswith("stream") else await found

    if kind is AsyncClient:
        return asyncio.run(asked())
    with Client(target, **options) as client:
        found = getattr(client, method)(*arguments, **wishes)
        return list(found) if method.startswith("stream") else found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [WORKER_DIED, grpc.StatusCode.UNAVAILABLE], ids=["ours", "bare"])
def test_unavailable_is_made_again_under_one_id(kind, step):
    guard = ScriptedGuard([step, step])
    with serving(guard) as target:
        assert call(kind, target, "analyze", b"x", "What?").answer == "What?"
    assert len(guard.requests) == 3
    assert len(set(guard.requests)) == 1
    assert len(guard.requests[0]) == 32


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_are_bounded(kind):
    guard = ScriptedGuard([WORKER_DIED] * 9)
    with serving(guard) as target, pytest.raises(Unavailable) as failure:
        call(kind, target, "redact", b"x", request_id="mine")
    assert guard.requests == ["mine"] * QUICK.attempts
    assert (failure.value.reason, failure.value.request_id) == (Reason.WORKER_DIED, "mine")
    assert "mine" not in str(failure.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [
        Refused(Reason.RESIDUAL_FOUND),
        InvalidInput(Reason.IMAGE_CORRUPT),
        Overloaded(Reason.QUOTA_EXCEEDED, retry_seconds=7),
        TimedOut(Reason.STAGE_TIMEOUT),
        Unavailable(Reason.DETECTOR_MISSING),
    ],
    ids=lambda error: error.reason,
)
def test_nothing_else_is_made_again(kind, error):
    guard = ScriptedGuard([error])
    with serving(guard) as target, pytest.raises(type(error)) as failure:
        call(kind, target, "extract", b"x", {"type": "object"})
    assert len(guard.requests) == 1
    assert failure.value.reason is error.reason
    assert failure.value.retry_after == (7 if isinstance(error, Overloaded) else None)
    assert failure.value.request_id == guard.requests[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_services_wish_is_respected(kind):
    guard = ScriptedGuard([Unavailable(Reason.WORKER_DIED, retry_seconds=0.5)])
    with serving(guard) as target:
        began = time.monotonic()
        call(kind, target, "analyze", b"x", "What?", make={"timeout": 9})
        assert time.monotonic() - began >= 0.5
    assert guard.left[1] < guard.left[0] - 0.4  # one deadline for all


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_past_the_deadline_is_not_begun(kind):
    guard = ScriptedGuard([Unavailable(Reason.WORKER_DIED, retry_seconds=600)])
    with serving(guard) as target:
        began = time.monotonic()
        with pytest.raises(Unavailable) as failure:
            call(kind, target, "analyze", b"x", "What?", make={"timeout": 30})
        assert time.monotonic() - began < 10
    assert failure.value.retry_after == 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_ends_a_call(kind):
    guard = ScriptedGuard([HANG])
    with serving(guard) as target:
        with pytest.raises(TimedOut) as failure:
            call(kind, target, "analyze", b"x", "What?", make={"timeout": 0.3})
        assert failure.value.reason is Reason.DEADLINE_EXCEEDED
        assert guard.cancelled.wait(5)
    assert len(guard.requests) == 1


async def test_a_cancelled_task_cancels_the_call():
    guard = ScriptedGuard([HANG])
    with serving(guard) as target:
        async with AsyncClient(target) as client:
            task = asyncio.create_task(client.analyze(b"x", "What?"))
            assert await asyncio.to_thread(guard.began.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(guard.cancelled.wait, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_made_again_only_before_something_is_released(kind):
    guard = ScriptedGuard([WORKER_DIED, None])
    guard.fails_after = 1  # after progress
    with serving(guard) as target:
        events = call(kind, target, "stream", b"x", "What?", with_progress=True)
    assert [event.WhichOneof("event") for event in events] == ["progress", "progress", "redaction", "text", "done"]
    assert len(set(guard.requests)) == 1
    guard = ScriptedGuard([WORKER_DIED])
    guard.fails_after = 2  # after the redaction
    with serving(guard) as target, pytest.raises(Unavailable):
        call(kind, target, "stream", b"x", "What?")
    assert len(guard.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_large_documents_are_uploaded_whole_each_time(kind):
    content = bytes(UPLOAD_ABOVE + 5)
    guard = ScriptedGuard([WORKER_DIED])
    with serving(guard) as target:
        assert call(kind, target, "analyze", content, "What?").answer == "uploaded"
    assert guard.contents == [content, content]


def test_a_service_that_is_not_there_is_unavailable():
    with pytest.raises(Unavailable) as failure:
        call(Client, "127.0.0.1:9", "policy")
    assert failure.value.reason is Reason.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_asked_for_before_every_attempt(kind, tmp_path):
    file = tmp_path / "token"
    given = []

    def next_token():
        given.append(f"t{len(given)}")
        return given[-1]

    guard = ScriptedGuard([WORKER_DIED])
    with serving(guard) as target:
        call(kind, target, "analyze", b"x", "What?", make={"token": next_token})
        file.write_text("from-file\n")
        call(kind, target, "policy", make={"token": token_from_file(file)})
        file.unlink()
        with pytest.raises(ConfigurationError):
            call(kind, target, "policy", make={"token": token_from_file(file)})
        with pytest.raises(NotIdentified):
            call(kind, target, "policy", make={"token": "line\nbreak"})
    assert guard.tokens == ["Bearer t0", "Bearer t1", "Bearer from-file"]


async def test_a_coroutine_may_give_the_token_and_calls_are_passed_on_under_others():
    async def token():
        return "later"

    guard = ScriptedGuard()
    with serving(guard) as target:
        async with AsyncClient(target, token=token) as client:
            await client.policy()
            await client.as_caller("theirs").policy()
    assert guard.tokens == ["Bearer later", "Bearer theirs"]


def test_an_expiring_token_is_fetched_before_it_expires():
    now, fetched = [0.0], []

    def fetch():
        fetched.append(now[0])
        return f"jwt-{len(fetched)}", 300.0

    token = ExpiringToken(fetch, lambda: now[0])
    assert [token(), token()] == ["jwt-1", "jwt-1"]
    now[0] = 271
    assert token() == "jwt-2"
    assert fetched == [0, 271]


def test_pictures_do_not_leave_the_machine_in_clear(tmp_path):
    for options in ({"target": "guard.example:8443"}, {"target": "localhost:1", "certificate": tmp_path}):
        with pytest.raises(ConfigurationError):
            Client(**options)
    Client(f"unix:{tmp_path}/socket").close()


def test_the_waits_grow_are_jittered_and_bounded():
    retry = Retry(first_seconds=1, longest_seconds=8)
    for made, bound in ((1, 1), (2, 2), (4, 8), (99, 8)):
        waits = [retry.wait(made, None) for _ in range(200)]
        assert min(waits) >= 0
        assert bound / 2 < max(waits) <= bound
    assert 5 <= retry.wait(1, 5.0) <= 6
    for wrong in ({"attempts": 0}, {"first_seconds": -1}, {"first_seconds": 9}):
        with pytest.raises(ValueError, match="attempt"):
            Retry(**wrong)


@pytest.mark.parametrize(
    ("modules", "more"),
    [("guardedvlm.client", ()), ("guardedvlm.openai_api.app", ("starlette", "uvicorn"))],
    ids=["client", "openai-api"],
)
def test_neither_guard_nor_model_is_needed(modules, more):
    """Every distribution of which something is loaded is one that pyproject asks for without an extra, or with that
    one."""
    script = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    of, allowed = packages_distributions(), _closure("guardedvlm")
    for name in more:
        allowed |= _closure(name) | {name}
    assert not more or more[0] in done.stdout.split()
    loaded = [name for name in done.stdout.split() if name in of and name not in FOUND]
    assert "grpc" in loaded
    assert "pydantic" in loaded
    assert [name for name in loaded if not {_plain(dist) for dist in of[name]} & allowed] == []


def _closure(name, seen=None):
    """A distribution and what it asks for without extras."""
    seen = set() if seen is None else seen
    for line in requires(name) or ():
        wanted = Requirement(line)
        if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and _plain(wanted.name) not in seen:
            seen.add(_plain(wanted.name))
            _closure(wanted.name, seen)
    return seen | {_plain(name)}


def _plain(name):
    return name.lower().replace("_", "-")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return issuing(tmp_path_factory.mktemp("evidence"))


@pytest.mark.parametrize("kind", KINDS)
def test_receipts_are_verified_before_the_response_is_given(kind, evidence):
    guard, got = ScriptedGuard([None, Refused(Reason.KIND_REFUSED)]), []
    guard.receipts, keys = evidence
    options = {"make": {"receipt_keys": keys}, "on_receipt": got.append}
    with serving(guard) as target:
        call(kind, target, "analyze", b"mine", "What?", **options)
        with pytest.raises(Refused) as failure:
            call(kind, target, "analyze", b"mine", "What?", **options)
        assert [receipt.statement.outcome for receipt in got] == ["released", "refused"]
        assert failure.value.audit_id == got[1].statement.audit_id
        guard.receipts = lambda document, end: evidence[0](b"another's", end)
        with pytest.raises(Unavailable) as failure:
            call(kind, target, "analyze", b"mine", "What?", **options)
        assert failure.value.reason is Reason.RECEIPT_BROKEN
        guard.receipts = lambda document, end: evidence[0](document, State.REFUSED)
        with pytest.raises(Unavailable):
            call(kind, target, "stream", b"mine", "What?", **options)
        guard.receipts = None
        with pytest.raises(Unavailable) as failure:
            call(kind, target, "redact", b"mine", make={"receipt_keys": keys})
        assert failure.value.reason is Reason.RECEIPT_MISSING
    assert len(got) == 2


def test_a_receipt_by_another_key_is_none(evidence, tmp_path):
    guard = ScriptedGuard([None, Refused(Reason.KIND_REFUSED)])
    guard.receipts, _ = evidence
    _, others = issuing(tmp_path)
    with serving(guard) as target:
        with pytest.raises(Unavailable) as failure:
            call(Client, target, "analyze", b"mine", "What?", make={"receipt_keys": others})
        assert failure.value.reason is Reason.RECEIPT_BROKEN
        with pytest.raises(Refused) as failure:
            call(Client, target, "analyze", b"mine", "What?", make={"receipt_keys": others})
        assert failure.value.audit_id == ""
