"""Server-sent events, and callers who go away: what nobody reads any more is cancelled at once, at the service, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

T = TypeVar("T")
WRITE_SECONDS = 30.0
"""For one event to be taken: who stops reading has gone."""


async def unless_gone(receive: Receive, answer: Awaitable[T]) -> T | None:
    """What is waited for; None when the caller has gone away, and then it is cancelled. The body was read before."""
    waiting, gone = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        for task in (waiting, gone):
            task.cancel()
        await asyncio.gather(waiting, gone, return_exceptions=True)


class Ahead:
    """A request's messages, of which the next may be looked at and stays: so a caller who waits is seen to go."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: Message | None = None

    async def look(self) -> Message:
        """The next message, which `receive` gives again; never one behind it, while a body goes on."""
        if self._kept is None:
            self._kept = await self._receive()
            return self._kept
        if self._kept.get("more_body"):
            await asyncio.Event().wait()
        return await self._receive()

    async def receive(self) -> Message:
        """The next message."""
        kept, self._kept = self._kept, None
        return await self._receive() if kept is None else kept


class EventStream(Response):
    """A response of events; with its end, whatever it is, `held` is let go. It ends where an event is not taken within
    WRITE_SECONDS, or all of them within `seconds`: the connection is closed before the end of the stream."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes, None], held: AsyncExitStack, seconds: float) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._held = held
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the pieces as they come."""
        async with self._held, aclosing(self._pieces):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await unless_gone(receive, self._sent(send))

    async def _sent(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            async with asyncio.timeout(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        async with asyncio.timeout(WRITE_SECONDS):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
