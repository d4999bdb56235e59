"""Reach an engine in this process, or in a child of it, through its host: the clearance is checked here too.

This package may not know `inference`; the application hands over an object of the narrow shape `Host`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol, cast

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, SignedClearance, Turn
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Capacity, Draft, Sampling
from guardedvlm.core.region import Raster


class Host(Protocol):
    """What `inference.host.EngineHost` offers: it takes parts, checks their clearance and generates."""

    def capacity(self) -> Capacity:
        """What the engine declares."""
        ...

    def generate(
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
        """Check the clearance, then yield drafts."""
        ...


class LocalBackend:
    """`core.ports.Backend` over a host in this process."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def capacity(self) -> Capacity:
        """What the engine declares."""
        return self._host.capacity()

    async def generate(
        self,
        image: ClearedImage,
        prompt: ClearedPrompt,
        clearance: SignedClearance,
        sampling: Sampling,
        deadline: Deadline,
    ) -> AsyncIterator[Draft]:
        """Drafts of the engine. Closing the iterator stops it. Raises what the host raises."""
        drafts = self._host.generate(
            image.raster, prompt.question, prompt.history, prompt.schema, clearance, sampling, deadline, prompt.quoted
        )
        async with contextlib.aclosing(cast(AsyncGenerator[Draft, None], drafts)) as stream:
            async for draft in stream:
                yield draft
