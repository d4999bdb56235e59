"""Both ways to inference, one contract: a real server and client over a unix socket, and the same host in process."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardedvlm.backends.local import LocalBackend
from guardedvlm.backends.remote import RemoteBackend
from guardedvlm.core.clearance import Clearance, ClearedImage, ClearedPrompt, SignedClearance, Turn, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Backend, Capacity, Draft, Evidence, FinishReason, Sampling
from guardedvlm.core.region import Box, Fit, Geometry, Raster
from guardedvlm.errors import (
    ConfigurationError,
    GuardedVLMError,
    Internal,
    InvalidInput,
    Reason,
    Refused,
    TimedOut,
    Unavailable,
)
from guardedvlm.inference.clearance import ClearanceChecker
from guardedvlm.inference.host import MOST_FAILURES, EngineHost
from guardedvlm.inference.service import InferenceService
from guardedvlm.transport.dev_pki import DevPki, write_dev_pki
from guardedvlm.transport.listen import SERVER_OPTIONS, bind
from guardedvlm.transport.tls import ServerCertificate, channel_credentials
from guardedvlm.v1 import inference_pb2 as pb
from guardedvlm.v1 import inference_pb2_grpc

AUDIENCE = "scripted/1"
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CAPACITY = Capacity(
    "scripted", "none", "00" * 32, AUDIENCE, Geometry(Fit.WITHIN, 64, 64), max_prompt_chars=200, max_output_tokens=8
)
PROMPT = ClearedPrompt("What is the total?", (Turn("When?", "In May."),), "")
ANSWER = (
    Draft("The total "),
    Draft("is 9.00."),
    Draft("", FinishReason.STOP, 12, 6, (Evidence(Box(1, 2, 3, 4), 0.5),)),
)


class ScriptedEngine:
    """An engine that notes what reached it and says what its script says; an Exception in the script is raised."""

    def __init__(self, script: tuple[Draft | Exception, ...] = ANSWER, seconds: float = 0.0) -> None:
        self.script, self.seconds = script, seconds
        self.seen: list[tuple[ClearedImage, ClearedPrompt, Sampling, str]] = []
        self.entered, self.left = asyncio.Event(), asyncio.Event()

    def capacity(self) -> Capacity:
        return CAPACITY

    async def generate(
        self, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling, scope: str, deadline: Deadline
    ) -> AsyncIterator[Draft]:
        self.seen.append((image, prompt, sampling, scope))
        self.entered.set()
        assert 0 < deadline.remaining() <= 600
        try:
            for step in self.script:
                await asyncio.sleep(self.seconds)
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.left.set()


Connect = Callable[[ScriptedEngine], AsyncIterator[Backend]]


def host(engine: ScriptedEngine) -> EngineHost:
    return EngineHost(engine, ClearanceChecker({"k1": KEY.public_key()}, AUDIENCE))


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/inference.sock"


@pytest.fixture(params=["local", "remote"])
async def connect(request, socket):
    """Make a backend for an engine; ended with the test."""
    ends = []

    async def _connect(engine: ScriptedEngine) -> Backend:
        if request.param == "local":
            return LocalBackend(host(engine))
        server = await served(InferenceService(host(engine)), socket)
        backend = RemoteBackend(socket)
        ends.extend([backend.close, lambda: server.stop(None)])
        return backend

    yield _connect
    for end in ends:
        await end()


async def served(
    service: inference_pb2_grpc.InferenceServiceServicer,
    address: str,
    credentials: grpc.ServerCredentials | None = None,
) -> grpc.aio.Server:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(service, server)
    server.port = bind(server, address, credentials)
    await server.start()
    return server


def image(seed: int = 1, side: int = 8) -> ClearedImage:
    raster: Raster = np.random.default_rng(seed).integers(0, 256, (side, side + 1, 3), np.uint8)
    raster.flags.writeable = False
    return ClearedImage(raster, raster_digest(raster))


def token(key: Ed25519PrivateKey = KEY, picture: ClearedImage | None = None, **changes) -> SignedClearance:
    plain = Clearance(
        raster_digest=(picture or image()).digest,
        prompt_digest=PROMPT.digest(),
        audience=AUDIENCE,
        nonce=str(time.monotonic_ns()),
        scope="scope",
        key_id="k1",
        expires_at=time.time_ns() // 1_000_000 + 30_000,
    )
    encoded = replace(plain, **changes).encode()
    return SignedClearance(encoded, key.sign(encoded))


async def test_a_socket_of_another_user_gets_no_pixels(socket, monkeypatch):
    server = await served(InferenceService(host(ScriptedEngine())), socket)
    backend = RemoteBackend(socket)
    try:
        assert (await backend.capacity()).audience == AUDIENCE
        folder = Path(socket.removeprefix("unix:")).parent
        for mode, is_taken in ((0o770, False), (0o777, False), (0o1777, True), (0o700, True)):
            folder.chmod(mode)
            with nullcontext() if is_taken else pytest.raises(Unavailable):
                await backend.capacity()
        monkeypatch.setattr("guardedvlm.backends.remote.ROOT", -1)
        monkeypatch.setattr("os.geteuid", lambda: os.stat(socket.removeprefix("unix:")).st_uid + 1)
        with pytest.raises(Unavailable) as refused:
            await backend.capacity()
        assert refused.value.reason is Reason.INFERENCE_UNAVAILABLE
    finally:
        await backend.close()
        await server.stop(None)


async def answer(backend: Backend, signed: SignedClearance, **more) -> list[Draft]:
    stream = backend.generate(
        more.get("picture", image()),
        more.get("prompt", PROMPT),
        signed,
        more.get("sampling", Sampling()),
        more.get("deadline", Deadline.after(20)),
    )
    return [draft async for draft in stream]


async def error(backend: Backend, signed: SignedClearance, **more) -> GuardedVLMError:
    with pytest.raises(GuardedVLMError) as caught:
        await answer(backend, signed, **more)
    return caught.value


async def test_cleared_values_arrive_as_they_were_sent_and_drafts_as_they_were_made(connect) -> None:
    engine = ScriptedEngine()
    backend = await connect(engine)
    assert await answer(backend, token(), sampling=Sampling(3, 0.5, 0.25, 7)) == list(ANSWER)
    ((picture, prompt, sampling, scope),) = engine.seen
    assert np.array_equal(picture.raster, image().raster)
    assert (prompt, sampling, scope) == (PROMPT, Sampling(3, 0.5, 0.25, 7), "scope")


async def test_capacity_is_the_engines(connect) -> None:
    assert await (await connect(ScriptedEngine())).capacity() == CAPACITY


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        (lambda: token(STRANGER), Reason.CLEARANCE_INVALID),
        (lambda: token(key_id="k2"), Reason.CLEARANCE_INVALID),
        (lambda: token(audience="reader/1"), Reason.CLEARANCE_INVALID),
        (lambda: token(picture=image(2)), Reason.CLEARANCE_INVALID),
        (lambda: token(prompt_digest=ClearedPrompt("?").digest()), Reason.CLEARANCE_INVALID),
        (lambda: token(expires_at=time.time_ns() // 1_000_000 - 60_000), Reason.CLEARANCE_EXPIRED),
        (lambda: SignedClearance(b"", b""), Reason.CLEARANCE_INVALID),
    ],
    ids=["forged", "unknown key", "other audience", "other pixels", "other prompt", "expired", "none"],
)
async def test_pixels_without_a_valid_clearance_never_reach_the_engine(connect, signed, reason) -> None:
    engine = ScriptedEngine()
    found = await error(await connect(engine), signed())
    assert (type(found), found.reason) == (Refused, reason)
    assert engine.seen == []


async def test_a_clearance_is_not_taken_twice(connect) -> None:
    engine = ScriptedEngine()
    backend, signed = await connect(engine), token()
    await answer(backend, signed)
    found = await error(backend, signed)
    assert (type(found), found.reason, len(engine.seen)) == (Refused, Reason.CLEARANCE_REPLAYED, 1)


@pytest.mark.parametrize(
    ("more", "reason", "details"),
    [
        ({"sampling": Sampling(0)}, Reason.FIELD_INVALID, {"field": "max_tokens"}),
        ({"sampling": Sampling(1, -0.5)}, Reason.FIELD_INVALID, {"field": "temperature"}),
        ({"sampling": Sampling(1, float("nan"))}, Reason.FIELD_INVALID, {"field": "temperature"}),
        ({"sampling": Sampling(1, 0.0, 0.0)}, Reason.FIELD_INVALID, {"field": "top_p"}),
        ({"picture": image(side=80)}, Reason.FIELD_INVALID, {"field": "raster"}),
        ({"prompt": ClearedPrompt("a" * 201)}, Reason.QUESTION_TOO_LONG, {"chars": 201, "limit": 200}),
    ],
)
async def test_what_the_engine_does_not_take_is_refused_with_its_field(connect, more, reason, details) -> None:
    backend = await connect(ScriptedEngine())
    changes = {"prompt_digest": more["prompt"].digest()} if "prompt" in more else {}
    found = await error(backend, token(picture=more.get("picture"), **changes), **more)
    assert (found.reason, found.details) == (reason, details)


async def test_no_more_tokens_are_asked_for_than_the_engine_gives(connect) -> None:
    engine = ScriptedEngine()
    await answer(await connect(engine), token(), sampling=Sampling(500))
    assert engine.seen[0][2].max_tokens == CAPACITY.max_output_tokens


async def test_the_engines_error_arrives_and_a_strangers_words_do_not(connect) -> None:
    backend = await connect(ScriptedEngine((ANSWER[0], Internal(Reason.INFERENCE_FAILED, engine="scripted"))))
    found = await error(backend, token())
    assert (found.reason, found.details) == (Reason.INFERENCE_FAILED, {"engine": "scripted"})


async def test_who_stops_reading_stops_the_engine(connect) -> None:
    engine = ScriptedEngine((Draft("a "),) * 1000, seconds=0.01)
    stream = (await connect(engine)).generate(image(), PROMPT, token(), Sampling(), Deadline.after(20))
    async with aclosing(stream):
        async for _ in stream:
            break
    async with asyncio.timeout(5):
        await engine.left.wait()


async def test_a_cancelled_caller_stops_the_engine(connect) -> None:
    engine = ScriptedEngine((Draft("a "),) * 1000, seconds=0.01)
    task = asyncio.create_task(answer(await connect(engine), token()))
    async with asyncio.timeout(5):
        await engine.entered.wait()
        task.cancel()
        await engine.left.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_deadline_travels_and_stops_the_engine(socket) -> None:
    engine = ScriptedEngine((Draft("a "),) * 1000, seconds=0.05)
    server, backend = await served(InferenceService(host(engine)), socket), RemoteBackend(socket)
    found = await error(backend, token(), deadline=Deadline.after(0.5))
    assert found.reason is Reason.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await engine.left.wait()
    await backend.close()
    await server.stop(None)


async def test_a_foreign_exception_crosses_without_its_words(socket, caplog) -> None:
    engine = ScriptedEngine((ValueError("Jane Roe"),))
    server, backend = await served(InferenceService(host(engine)), socket), RemoteBackend(socket)
    found = await error(backend, token())
    assert (found.reason, found.details) == (Reason.INFERENCE_FAILED, {})
    assert "Jane" not in str(found) + caplog.text
    await backend.close()
    await server.stop(None)


async def test_no_service_no_answer(socket) -> None:
    backend = RemoteBackend(socket)
    assert (await error(backend, token())).reason is Reason.INFERENCE_UNAVAILABLE
    with pytest.raises(GuardedVLMError) as caught:
        await backend.capacity()
    assert caught.value.reason is Reason.INFERENCE_UNAVAILABLE
    await backend.close()


class Malformed(inference_pb2_grpc.InferenceServiceServicer):
    """A service that does not keep to its own protocol."""

    def __init__(self, *responses: pb.GenerateTextResponse) -> None:
        self._responses = responses

    async def GenerateText(self, request, context):
        for response in self._responses:
            yield response

    async def GetCapacity(self, request, context) -> pb.GetCapacityResponse:
        return pb.GetCapacityResponse(engine="x")


@pytest.mark.parametrize(
    "responses",
    [
        (),
        (pb.GenerateTextResponse(text="The total "),),
        (pb.GenerateTextResponse(finish_reason="because"),),
        (pb.GenerateTextResponse(finish_reason="stop", evidence=[pb.DraftEvidence(x0=5, x1=5)]),),
    ],
    ids=["nothing", "broken off", "unknown reason", "empty box"],
)
async def test_a_malformed_answer_is_no_answer(socket, responses) -> None:
    server, backend = await served(Malformed(*responses), socket), RemoteBackend(socket)
    assert (await error(backend, token())).reason is Reason.INFERENCE_FAILED
    with pytest.raises(Internal):
        await backend.capacity()
    await backend.close()
    await server.stop(None)


async def test_pixels_that_are_fewer_than_declared_are_refused(socket) -> None:
    server = await served(InferenceService(host(ScriptedEngine())), socket)
    async with grpc.aio.insecure_channel(socket) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for raster in (pb.ClearedRaster(), pb.ClearedRaster(width=9, height=8, pixels=b"\0")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GenerateText(pb.GenerateTextRequest(raster=raster)).read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await server.stop(None)


@pytest.mark.parametrize("target", ["inference.example:443", "10.0.0.7:443", "localhost.example:1"])
async def test_another_machine_is_not_reached_in_clear_text(target) -> None:
    with pytest.raises(ConfigurationError):
        RemoteBackend(target)


async def test_an_engine_that_keeps_failing_is_not_healthy_until_it_answers() -> None:
    engine = ScriptedEngine((Internal(Reason.INFERENCE_FAILED),))
    behind = host(engine)
    backend = LocalBackend(behind)
    for _ in range(MOST_FAILURES):
        assert behind.healthy
        with pytest.raises(Internal):
            await answer(backend, token())
    assert not behind.healthy
    engine.script = (TimedOut(Reason.DEADLINE_EXCEEDED),)
    with pytest.raises(TimedOut):
        await answer(backend, token())
    assert not behind.healthy
    engine.script = ANSWER
    await answer(backend, token())
    assert behind.healthy


async def test_callers_who_ask_for_too_much_do_not_make_an_engine_unhealthy() -> None:
    behind = host(ScriptedEngine((InvalidInput(Reason.PROMPT_TOO_LONG), TimedOut(Reason.DEADLINE_EXCEEDED))))
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(InvalidInput):
            await answer(LocalBackend(behind), token())
    assert behind.healthy


async def test_a_guard_whose_certificate_was_replaced_asks_with_the_new_one(tmp_path: Path) -> None:
    """An answer that runs comes to its end; both sides change their authority meanwhile."""
    old, new = (write_dev_pki(tmp_path / name, ("guard",)) for name in ("old", "new"))
    here = Path(shutil.copytree(old.ca.parent, tmp_path / "here"))
    certificate = ServerCertificate(here / "server.pem", here / "server.key", here / "ca.pem")
    engine = ScriptedEngine(seconds=0.2)
    server = await served(InferenceService(host(engine)), "127.0.0.1:0", certificate.credentials())

    def shown(pki: DevPki) -> grpc.ChannelCredentials:
        return channel_credentials(pki.ca, pki.clients["guard"].certificate, pki.clients["guard"].key)

    backend = RemoteBackend(f"localhost:{server.port}", shown(old))
    try:
        picture = image()
        asked = backend.generate(picture, PROMPT, token(picture=picture), Sampling(), Deadline.after(20))
        async with aclosing(asked) as drafts:
            said = [(await anext(drafts)).text]
            shutil.copytree(new.ca.parent, here, dirs_exist_ok=True)
            certificate.take(certificate.load())
            backend.renew(shown(new))
            assert (await backend.capacity()).audience == AUDIENCE
            said += [draft.text async for draft in drafts]
        assert said == [draft.text for draft in ANSWER]
        backend.renew(shown(old))
        with pytest.raises(Unavailable):
            await backend.capacity()
    finally:
        await backend.close()
        await server.stop(None)
