"""The reader as an engine: `core.ports.Engine` over one child process."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Evidence, Reading, Sampling
from guardedvlm.core.region import Box, Fit, Geometry, Raster
from guardedvlm.errors import GuardedVLMError, Internal, Reason, Refused, TimedOut, Unavailable
from guardedvlm.inference.reader.reply import Reply
from guardedvlm.sandbox import Sandbox
from guardedvlm.worker import Worker, WorkerSpec

GEOMETRY = Geometry(Fit.WITHIN, 2560, 2560)
"""An A4 page at 220 dpi, where 6 pt print is 18 px high; the recogniser reads from about 12 px on."""
CALL_SECONDS = 120.0
"""One page takes 2-8 s; a crowded one on a busy machine several times that."""
MAX_PROMPT_CHARS = 65_536
"""Above what a policy lets through (question, history and schema of 20,000 characters each)."""
MAX_OUTPUT_TOKENS = 2_048
"""`SayRules.max_tokens` at its highest."""
ROLE = "reader"

_WORDS = re.compile(r"\S+\s*|\s+")


def reader_worker_spec(call_seconds: float = CALL_SECONDS) -> WorkerSpec:
    """The child process that `ReaderEngine` talks to."""
    return WorkerSpec(
        role=ROLE,
        target="guardedvlm.inference.reader.role:Reader",
        call_seconds=call_seconds,
        sandbox=Sandbox.WHEN_POSSIBLE,  # it sees cleared pixels only
    )


class ReaderEngine:
    """Answers from the cleared page's own text, in the child process `worker`, whose life is its owner's business.

    `audience` is what clearances for this engine must name. The default has a random part: a clearance that was made
    before a restart is worth nothing after it, although the nonces that were seen are forgotten.
    """

    def __init__(self, worker: Worker, audience: str = "") -> None:
        """Ask the child for its weights (it is started when it does not run). Raises Unavailable."""
        weights, _ = worker.call_sync("weights", dict[str, str])
        self._worker = worker
        self._turn = asyncio.Semaphore(1)
        self._capacity = Capacity(
            engine=ROLE,
            model="PP-OCRv6-small+all-MiniLM-L6-v2",
            model_digest=_digest(weights),
            audience=audience or f"{ROLE}/{secrets.token_hex(8)}",
            geometry=GEOMETRY,
            max_prompt_chars=MAX_PROMPT_CHARS,
            max_output_tokens=MAX_OUTPUT_TOKENS,
        )

    def capacity(self) -> Capacity:
        """What this engine declares."""
        return self._capacity

    async def generate(
        self,
        image: ClearedImage,
        prompt: ClearedPrompt,
        sampling: Sampling,
        scope: str,  # noqa: ARG002 - bounds caches, and the reader has none
        deadline: Deadline,
    ) -> AsyncIterator[Draft]:
        """Yield the answer word by word; the last piece has the evidence and the token counts.

        The reader is deterministic: of `sampling` only max_tokens matters. Raises TimedOut, Unavailable, Internal or
        InvalidInput (a schema that it cannot fill).
        """
        reply = await self._ask(image, prompt, sampling.max_tokens, deadline)
        pieces = _WORDS.findall(reply.text) or [""]
        for piece in pieces[:-1]:
            deadline.remaining()
            yield Draft(piece)
        evidence = tuple(Evidence(Box(x0, y0, x1, y1), score) for x0, y0, x1, y1, score in reply.evidence)
        readings = tuple(Reading(at, score, tuple(Box(*box) for box in boxes)) for at, score, boxes in reply.readings)
        yield Draft(pieces[-1], reply.finish, reply.input_tokens, reply.output_tokens, evidence, readings)

    async def _ask(self, image: ClearedImage, prompt: ClearedPrompt, max_tokens: int, deadline: Deadline) -> Reply:
        """One call to the child.

        A caller who leaves, or whose deadline passes, gives up its place in the queue. A page that is being read is
        read to its end and the reply dropped: the child cannot be interrupted, and loading its weights takes longer.
        """
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._turn.acquire()
                reply, _ = await asyncio.shield(self._started(image, prompt, max_tokens))
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
        except GuardedVLMError as failure:
            raise _as_inference(failure) from None
        return reply

    def _started(
        self, image: ClearedImage, prompt: ClearedPrompt, max_tokens: int
    ) -> asyncio.Task[tuple[Reply, list[Raster]]]:
        """The call to the child, under way; when it ends, the next one may start."""
        history = [(turn.question, turn.answer) for turn in prompt.history]
        call = asyncio.create_task(
            self._worker.call(
                "answer",
                Reply,
                image.raster,
                question=prompt.question,
                history=history,
                schema=prompt.schema,
                max_tokens=max_tokens,
            )
        )
        call.add_done_callback(self._release)
        return call

    def _release(self, call: asyncio.Task[tuple[Reply, list[Raster]]]) -> None:
        self._turn.release()
        if not call.cancelled():
            call.exception()  # retrieved: nobody may wait for this call any more


def _as_inference(failure: GuardedVLMError) -> GuardedVLMError:
    """The child's failures in the words of inference: `worker` speaks of detectors, this is none."""
    if isinstance(failure, Refused) and failure.reason is Reason.DETECTOR_FAILED:
        return Internal(Reason.INFERENCE_FAILED, engine=ROLE)
    if isinstance(failure, Unavailable):
        return Unavailable(Reason.INFERENCE_UNAVAILABLE, engine=ROLE)
    return failure


def _digest(weights: dict[str, str]) -> str:
    """SHA-256 over names and digests of all weights files, as hex."""
    lines = "".join(f"{name}\x00{digest}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(b"guardedvlm.v1.weights\x00" + lines.encode()).hexdigest()
