"""The gRPC edge of inference: messages to values and back. It decides nothing; the host checks every clearance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import grpc.aio
import numpy as np

from guardedvlm.core.clearance import SignedClearance, Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Reading, Sampling
from guardedvlm.core.region import Fit, Raster
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.inference.host import EngineHost
from guardedvlm.transport.status import abort
from guardedvlm.v1 import inference_pb2 as pb
from guardedvlm.v1 import inference_pb2_grpc

MAX_SECONDS = 600.0
"""The longest a call may run when the caller sends no deadline or a later one (`Limits.max_seconds` at its highest)."""
_FITS = {Fit.SQUASH: pb.FIT_SQUASH, Fit.WITHIN: pb.FIT_WITHIN}

Context = grpc.aio.ServicerContext


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """`guardedvlm.v1.InferenceService` over an engine host, for a `grpc.aio` server."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    async def GenerateText(
        self, request: pb.GenerateTextRequest, context: Context[Any, Any]
    ) -> AsyncIterator[pb.GenerateTextResponse]:
        """Yield the drafts. A caller who leaves ends the generator, and with it the engine's."""
        try:
            left = context.time_remaining()
            deadline = Deadline.after(MAX_SECONDS if left is None else min(left, MAX_SECONDS))
            drafts = self._host.generate(
                _raster(request.raster),
                request.prompt.question,
                tuple(Turn(turn.question, turn.answer) for turn in request.prompt.history),
                request.prompt.answer_schema,
                SignedClearance(request.clearance, request.signature),
                Sampling(request.max_tokens, request.temperature, request.top_p, request.seed),
                deadline,
                tuple(request.prompt.quoted),
            )
            async with contextlib.aclosing(cast(AsyncGenerator[Draft, None], drafts)) as stream:
                async for draft in stream:
                    yield _response(draft)
        except Exception as failure:
            await abort(context, failure)

    async def GetCapacity(self, request: pb.GetCapacityRequest, context: Context[Any, Any]) -> pb.GetCapacityResponse:
        """What the engine declares."""
        del request
        try:
            return _capacity(self._host.capacity())
        except Exception as failure:
            await abort(context, failure)


def _raster(message: pb.ClearedRaster) -> Raster:
    """The pixels as (H, W, 3). Raises InvalidInput when their number is not what width and height say."""
    if message.width < 1 or message.height < 1 or len(message.pixels) != message.width * message.height * 3:
        raise InvalidInput(Reason.FIELD_INVALID, field="raster")
    return np.frombuffer(message.pixels, np.uint8).reshape(message.height, message.width, 3)


def _response(draft: Draft) -> pb.GenerateTextResponse:
    return pb.GenerateTextResponse(
        text=draft.text,
        finish_reason=draft.finish.value if draft.finish else "",
        input_tokens=draft.input_tokens,
        output_tokens=draft.output_tokens,
        evidence=[
            pb.DraftEvidence(x0=item.box.x0, y0=item.box.y0, x1=item.box.x1, y1=item.box.y1, score=item.score)
            for item in draft.evidence
        ],
        readings=[_reading(item) for item in draft.readings],
    )


def _reading(item: Reading) -> pb.DraftReading:
    places = [pb.DraftEvidence(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1) for box in item.boxes]
    return pb.DraftReading(pointer=item.pointer, confidence=item.confidence, places=places)


def _capacity(capacity: Capacity) -> pb.GetCapacityResponse:
    geometry = capacity.geometry
    return pb.GetCapacityResponse(
        engine=capacity.engine,
        model=capacity.model,
        model_digest=capacity.model_digest,
        audience=capacity.audience,
        geometry=pb.InputGeometry(fit=_FITS[geometry.fit], width=geometry.width, height=geometry.height),
        max_prompt_chars=capacity.max_prompt_chars,
        max_output_tokens=capacity.max_output_tokens,
        max_concurrent=capacity.max_concurrent,
    )
