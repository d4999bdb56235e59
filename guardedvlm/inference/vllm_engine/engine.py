"""CogVLM2 on vLLM as an engine: `core.ports.Engine` over an AsyncLLM in this process and its workers in others."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, FinishReason, Reading, Sampling
from guardedvlm.core.region import Fit, Geometry
from guardedvlm.errors import GuardedVLMError, Internal, Reason, TimedOut, Unavailable
from guardedvlm.inference.cogvlm2.asked import MAX_OUTPUT_TOKENS, MAX_PROMPT_CHARS, MODEL
from guardedvlm.inference.cogvlm2.readings import readings
from guardedvlm.inference.vllm_engine.loading import Loaded
from guardedvlm.inference.vllm_engine.requests import Request, Requests

NAME = "vllm"
ID_BYTES = 16
_FINISHES = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class VLLMEngine:
    """Answers with CogVLM2 on vLLM, many requests at a time.

    `audience` is what clearances for this engine must name; the default has a random part, as the other engines' has.
    """

    def __init__(self, loaded: Loaded, audience: str = "") -> None:
        side = int(loaded.processor.config.vision_config.image_size)
        self.meters = loaded.meters
        self._llm = loaded.llm
        self._clean_up = loaded.clean_up
        self._tokenizer = loaded.processor.tokenizer
        self._requests = Requests(loaded.processor, loaded.context)
        self._capacity = Capacity(
            engine=NAME,
            model=MODEL,
            model_digest=loaded.digest,
            audience=audience or f"{NAME}/{secrets.token_hex(8)}",
            geometry=Geometry(Fit.SQUASH, side, side),
            max_prompt_chars=MAX_PROMPT_CHARS,
            max_output_tokens=min(MAX_OUTPUT_TOKENS, loaded.context),
            max_concurrent=loaded.max_sequences,
        )

    def capacity(self) -> Capacity:
        """What this engine declares."""
        return self._capacity

    @property
    def alive(self) -> bool:
        """Whether vLLM's processes run. One that died stays dead."""
        return not self._llm.errored

    def close(self) -> None:
        """End vLLM's processes."""
        self._llm.shutdown()
        self._llm.shutdown = lambda: None  # its finaliser calls it again, when the modules are gone
        self._clean_up()

    async def generate(
        self, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling, scope: str, deadline: Deadline
    ) -> AsyncIterator[Draft]:
        """Yield pieces of the answer as they are made; the last one has the token counts.

        Closing the iterator ends generation and frees what the request held. Raises TimedOut,
        InvalidInput(PROMPT_TOO_LONG), Internal(INFERENCE_FAILED), and Unavailable(INFERENCE_UNAVAILABLE) when vLLM
        has died.
        """
        deadline.remaining()
        # Tens of thousands of characters take the tokenizer milliseconds: not on the event loop.
        request = await asyncio.to_thread(self._requests.request, image, prompt, sampling, scope, deadline)
        said = _Said(request, self._tokenizer)
        try:
            async with contextlib.aclosing(self._outputs(request)) as outputs:
                while (output := await _next(outputs, deadline)) is not None:
                    draft = said.draft(output)
                    if draft.text or draft.finish:  # a character of several bytes may be under way
                        yield draft
        except GuardedVLMError:
            raise
        except Exception:  # what vLLM says may quote anything
            if not self.alive:
                raise Unavailable(Reason.INFERENCE_UNAVAILABLE, engine=NAME) from None
            raise Internal(Reason.INFERENCE_FAILED, engine=NAME) from None

    def _outputs(self, request: Request) -> AsyncGenerator[Any, None]:
        outputs: AsyncGenerator[Any, None] = self._llm.generate(
            request.prompt, _parameters(request), secrets.token_hex(ID_BYTES), priority=request.priority
        )
        return outputs


def _parameters(request: Request) -> Any:
    """vLLM's sampling parameters."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    options = dict(request.sampling)
    schema = options.pop("json", None)
    if schema is not None:
        options["structured_outputs"] = StructuredOutputsParams(json=schema)
        options["logprobs"] = 0  # of the token that was drawn, after the grammar's mask
    return SamplingParams(output_kind=RequestOutputKind.DELTA, **options)


async def _next(outputs: AsyncGenerator[Any, None], deadline: Deadline) -> Any:
    """The next output, None after the last. Raises TimedOut; vLLM has dropped the request then."""
    try:
        async with asyncio.timeout(deadline.remaining()):
            return await anext(outputs, None)
    except TimeoutError:
        raise TimedOut(Reason.DEADLINE_EXCEEDED) from None


class _Said:
    """vLLM's outputs -> drafts."""

    def __init__(self, request: Request, tokenizer: Any) -> None:
        self._request = request
        self._tokenizer = tokenizer
        self._tokens = 0
        self._drawn: list[tuple[str, float]] = []

    def draft(self, output: Any) -> Draft:
        """The draft of the next output. Raises Internal where vLLM gave up on the request."""
        (piece,) = output.outputs
        self._tokens += len(piece.token_ids)
        if self._request.is_constrained:
            self._drawn += self._likelihoods(piece)
        if not output.finished:
            return Draft(piece.text)
        finish = _FINISHES.get(piece.finish_reason)
        if finish is None:  # "abort", "error"
            raise Internal(Reason.INFERENCE_FAILED, engine=NAME)
        return Draft(piece.text, finish, self._request.tokens, self._tokens, readings=self._readings())

    def _likelihoods(self, piece: Any) -> list[tuple[str, float]]:
        return [
            (self._tokenizer.decode([token], skip_special_tokens=True), float(at[token].logprob))
            for token, at in zip(piece.token_ids, piece.logprobs or (), strict=False)
        ]

    def _readings(self) -> tuple[Reading, ...]:
        return readings(self._drawn) if self._request.is_constrained else ()
