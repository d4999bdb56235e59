"""CogVLM2 as an engine: `core.ports.Engine` over one model in one thread."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Sampling
from guardedvlm.core.region import Fit, Geometry
from guardedvlm.errors import GuardedVLMError, Internal, Reason, TimedOut
from guardedvlm.inference.cogvlm2.asked import MAX_OUTPUT_TOKENS, MAX_PROMPT_CHARS, MODEL, asked
from guardedvlm.inference.cogvlm2.model import Model

NAME = "transformers"
STEP_SECONDS = 5.0
"""Beyond the deadline, for the step under way to end by itself."""


class CogVLM2Engine:
    """Answers with CogVLM2, one request after the other.

    `audience` is what clearances for this engine must name. The default has a random part, as the reader's has: nonces
    that were seen are forgotten at a restart, and so is the audience.
    """

    def __init__(self, model: Model, audience: str = "") -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogvlm2")
        self._turn = asyncio.Semaphore(1)
        self._capacity = Capacity(
            engine=NAME,
            model=MODEL,
            model_digest=model.digest,
            audience=audience or f"{NAME}/{secrets.token_hex(8)}",
            geometry=Geometry(Fit.SQUASH, model.side, model.side),
            max_prompt_chars=MAX_PROMPT_CHARS,
            max_output_tokens=min(MAX_OUTPUT_TOKENS, model.context),
        )

    def capacity(self) -> Capacity:
        """What this engine declares."""
        return self._capacity

    def close(self) -> None:
        """Let the running step end and take no other."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def generate(
        self, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling, scope: str, deadline: Deadline
    ) -> AsyncIterator[Draft]:
        """Yield pieces of the answer as they are made; the last one has the token counts.

        Closing the iterator ends generation after the step under way. Raises TimedOut, InvalidInput(PROMPT_TOO_LONG),
        Internal(INFERENCE_FAILED).
        """
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[Draft | None] = asyncio.Queue()
        left = threading.Event()

        def say(draft: Draft) -> None:
            loop.call_soon_threadsafe(said.put_nowait, draft)

        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._turn.acquire()
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
        answering = loop.run_in_executor(
            self._thread,
            self._model.answer,
            image.raster,
            asked(prompt),
            prompt.history,
            prompt.schema,
            sampling,
            (scope, image.digest),
            deadline,
            left,
            say,
        )
        answering.add_done_callback(lambda done: self._done(done, said))
        try:
            while (draft := await _next(said, deadline)) is not None:
                yield draft
            await answering
        except GuardedVLMError:
            raise
        except Exception:  # what a GPU library says may quote anything
            raise Internal(Reason.INFERENCE_FAILED, engine=NAME) from None
        finally:
            left.set()

    def _done(self, answering: asyncio.Future[None], said: asyncio.Queue[Draft | None]) -> None:
        """The thread is free: the next request may start. Its pieces are in the queue before this."""
        self._turn.release()
        if not answering.cancelled():
            answering.exception()  # retrieved: where nobody waits any more, asyncio would log its text
        said.put_nowait(None)


async def _next(said: asyncio.Queue[Draft | None], deadline: Deadline) -> Draft | None:
    """The next piece; a step that hangs costs its caller no more than the deadline."""
    try:
        async with asyncio.timeout(max(0.0, deadline.at - time.monotonic()) + STEP_SECONDS):
            return await said.get()
    except TimeoutError:
        raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
