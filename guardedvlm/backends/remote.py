"""Reach an InferenceService over gRPC. When it does not answer the request fails: there is no fallback."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, SignedClearance
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Evidence, FinishReason, Reading, Sampling
from guardedvlm.core.region import Box, Fit, Geometry
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Internal, Reason, Unavailable
from guardedvlm.transport.listen import CHANNEL_OPTIONS, RECEIVE_LIMIT
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.v1 import inference_pb2 as pb
from guardedvlm.v1 import inference_pb2_grpc

CAPACITY_SECONDS = 10.0
"""An engine that does not say within this what it takes is not up."""
RECONNECT_MS = 1_000
"""Longest wait between attempts to reach an engine that was gone; gRPC's own is two minutes."""
RENEW_SECONDS = 600.0
"""For calls on a channel whose credentials were replaced: the longest request that a policy may allow."""
OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
)
ROOT = 0
_FITS = {pb.FIT_SQUASH: Fit.SQUASH, pb.FIT_WITHIN: Fit.WITHIN}
_LOCAL = ("unix:", "127.0.0.1:", "localhost:", "[::1]:")


class RemoteBackend:
    """`core.ports.Backend` over a channel to `target` ("unix:PATH" or "HOST:PORT"). Make it inside the event loop.

    Raises ConfigurationError(SETTINGS_INVALID) without `credentials`, unless the target is a socket or the loopback
    interface: cleared pixels are still a tenant's pixels.
    """

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        if credentials is None and not target.startswith(_LOCAL):
            explanation = "an inference service on another machine needs TLS"
            raise ConfigurationError(Reason.SETTINGS_INVALID, place="inference", explanation=explanation)
        self._target = target
        self._socket = Path(target.removeprefix("unix:").removeprefix("//")) if target.startswith("unix:") else None
        self._closing: set[asyncio.Task[None]] = set()
        self._connect(credentials)

    def _connect(self, credentials: grpc.ChannelCredentials | None) -> None:
        self._channel = (
            grpc.aio.insecure_channel(self._target, OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(self._target, credentials, OPTIONS)
        )
        self._stub = inference_pb2_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def renew(self, credentials: grpc.ChannelCredentials) -> None:
        """Ask with other credentials from now on; calls that run end with those that they began with."""
        old = self._channel
        self._connect(credentials)
        closing = asyncio.ensure_future(old.close(RENEW_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the channel; calls that run on it are cancelled."""
        for closing in self._closing:
            closing.cancel()
        await self._channel.close(None)

    async def capacity(self) -> Capacity:
        """What the engine declares, asked anew each time: after a restart it names another audience.

        Raises Unavailable(INFERENCE_UNAVAILABLE), also for a socket of another user's, TimedOut, or
        Internal(INFERENCE_FAILED) for what is no declaration.
        """
        if self._socket is not None and not await asyncio.to_thread(_is_ours, self._socket):
            raise Unavailable(Reason.INFERENCE_UNAVAILABLE)
        try:
            answer = await self._stub.GetCapacity(pb.GetCapacityRequest(), timeout=CAPACITY_SECONDS)
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure, Reason.INFERENCE_UNAVAILABLE) from None
        return _capacity(answer)

    async def generate(
        self,
        image: ClearedImage,
        prompt: ClearedPrompt,
        clearance: SignedClearance,
        sampling: Sampling,
        deadline: Deadline,
    ) -> AsyncIterator[Draft]:
        """Drafts of the engine. Closing the iterator cancels the call there.

        Raises what the service raised (Refused for a clearance that does not hold), Unavailable(INFERENCE_UNAVAILABLE),
        TimedOut, and Internal(INFERENCE_FAILED) for an answer that is malformed or breaks off.
        """
        call = self._stub.GenerateText(_request(image, prompt, clearance, sampling), timeout=deadline.remaining())
        finished = False
        try:
            async for answer in call:
                draft = _draft(answer)
                finished = finished or draft.finish is not None
                yield draft
        except grpc.aio.AioRpcError as failure:
            raise _told(failure) from None
        finally:
            call.cancel()
        if not finished:
            raise Internal(Reason.INFERENCE_FAILED)


def _told(failure: grpc.aio.AioRpcError) -> GuardedVLMError:
    """What the service says; of one that fails without a reason of ours, that it failed."""
    error = error_from_rpc(failure, Reason.INFERENCE_UNAVAILABLE)
    return Internal(Reason.INFERENCE_FAILED) if error.reason is Reason.INTERNAL else error


def _is_ours(path: Path) -> bool:
    """Whether a socket, and the folder in which another could take its place, are this user's or the administrator's:
    whoever else puts one there would be sent pixels."""
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    ours = {os.geteuid(), ROOT}
    # In a sticky folder (/tmp) others cannot replace what is ours.
    is_closed = folder.st_mode & stat.S_ISVTX or not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISSOCK(found.st_mode) and found.st_uid in ours and folder.st_uid in ours and bool(is_closed)


def _request(
    image: ClearedImage, prompt: ClearedPrompt, clearance: SignedClearance, sampling: Sampling
) -> pb.GenerateTextRequest:
    return pb.GenerateTextRequest(
        clearance=clearance.encoded,
        signature=clearance.signature,
        raster=pb.ClearedRaster(width=image.size.width, height=image.size.height, pixels=image.raster.tobytes()),
        prompt=pb.ClearedPrompt(
            question=prompt.question,
            history=[pb.ClearedTurn(question=turn.question, answer=turn.answer) for turn in prompt.history],
            answer_schema=prompt.schema,
            quoted=prompt.quoted,
        ),
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
    )


def _draft(answer: pb.GenerateTextResponse) -> Draft:
    try:
        finish = FinishReason(answer.finish_reason) if answer.finish_reason else None
        evidence = tuple(Evidence(Box(item.x0, item.y0, item.x1, item.y1), item.score) for item in answer.evidence)
        readings = tuple(map(_reading, answer.readings))
    except ValueError:
        raise Internal(Reason.INFERENCE_FAILED) from None
    return Draft(answer.text, finish, answer.input_tokens, answer.output_tokens, evidence, readings)


def _reading(item: pb.DraftReading) -> Reading:
    """One value's reading. Raises ValueError for what is none."""
    confidence = item.confidence if item.HasField("confidence") else None
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError
    return Reading(item.pointer, confidence, tuple(Box(at.x0, at.y0, at.x1, at.y1) for at in item.places))


def _capacity(answer: pb.GetCapacityResponse) -> Capacity:
    fit, width, height = _FITS.get(answer.geometry.fit), answer.geometry.width, answer.geometry.height
    # What is larger could not be sent, and would be made here for nothing.
    sendable = 0 < width * height * 3 < RECEIVE_LIMIT and width > 0
    limits = min(answer.max_output_tokens, answer.max_prompt_chars, answer.max_concurrent)
    if fit is None or not sendable or not answer.audience or limits < 1:
        raise Internal(Reason.INFERENCE_FAILED)
    return Capacity(
        engine=answer.engine,
        model=answer.model,
        model_digest=answer.model_digest,
        audience=answer.audience,
        geometry=Geometry(fit, width, height),
        max_prompt_chars=answer.max_prompt_chars,
        max_output_tokens=answer.max_output_tokens,
        max_concurrent=answer.max_concurrent,
    )
