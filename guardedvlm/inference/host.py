"""The way to an engine: clearance, geometry and limits, the engine. Both edges, in process and gRPC, end here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import cast

from guardedvlm.core.clearance import SignedClearance, Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Engine, Sampling
from guardedvlm.core.region import Raster, Size
from guardedvlm.errors import Internal, InvalidInput, Reason
from guardedvlm.inference.clearance import Admitted, ClearanceChecker

MOST_FAILURES = 3
"""Requests in a row that fail inside the engine before it counts as broken: a GPU's context that is lost stays lost."""


class EngineHost:
    """An engine behind its clearance check: the engine has no other caller."""

    def __init__(self, engine: Engine, checker: ClearanceChecker) -> None:
        self._engine = engine
        self._checker = checker
        self._failures = 0

    @property
    def healthy(self) -> bool:
        """Whether the engine's last requests did not all fail inside it."""
        return self._failures < MOST_FAILURES

    def capacity(self) -> Capacity:
        """What the engine declares."""
        return self._engine.capacity()

    async def generate(
        self,
        raster: Raster,
        question: str,
        history: tuple[Turn, ...],
        schema: str,
        signed: SignedClearance,
        sampling: Sampling,
        deadline: Deadline,
        quoted: tuple[str, ...] = (),
    ) -> AsyncIterator[Draft]:
        """Check, then yield the engine's drafts. Closing the iterator stops the engine.

        Raises Refused(CLEARANCE_*), InvalidInput(FIELD_INVALID | QUESTION_TOO_LONG), TimedOut, and what the engine
        raises.
        """
        # Digesting 20 MB of pixels takes tens of milliseconds: not on the event loop.
        admitted = await asyncio.to_thread(self._checker.admit, raster, question, history, schema, signed, quoted)
        bounded = self._within_limits(admitted, sampling)
        deadline.remaining()
        drafts = self._engine.generate(admitted.image, admitted.prompt, bounded, admitted.scope, deadline)
        async with contextlib.aclosing(cast(AsyncGenerator[Draft, None], drafts)) as stream:
            try:
                async for draft in stream:
                    yield draft
            except Internal:
                self._failures += 1
                raise
            self._failures = 0

    def _within_limits(self, admitted: Admitted, sampling: Sampling) -> Sampling:
        """`sampling` with no more tokens than the engine gives. Raises InvalidInput for what it does not take."""
        capacity = self._engine.capacity()
        if capacity.geometry.target(admitted.image.size) != Size.of(admitted.image.raster):
            raise InvalidInput(Reason.FIELD_INVALID, field="raster")
        chars = admitted.prompt.chars
        if chars > capacity.max_prompt_chars:
            raise InvalidInput(Reason.QUESTION_TOO_LONG, chars=chars, limit=capacity.max_prompt_chars)
        if sampling.max_tokens < 1:
            raise InvalidInput(Reason.FIELD_INVALID, field="max_tokens")
        if not 0.0 <= sampling.temperature <= 2.0:
            raise InvalidInput(Reason.FIELD_INVALID, field="temperature")
        if not 0.0 < sampling.top_p <= 1.0:
            raise InvalidInput(Reason.FIELD_INVALID, field="top_p")
        return replace(sampling, max_tokens=min(sampling.max_tokens, capacity.max_output_tokens))
