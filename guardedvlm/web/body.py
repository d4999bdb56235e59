"""Bodies, read in memory and never past a limit: what a Content-Length says decides nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Message

from guardedvlm.errors import Overloaded, Reason, TimedOut


@dataclass(frozen=True, slots=True)
class Pace:
    """How a body must come: after `patience` seconds at `rate` bytes a second at least, whole within `seconds`."""

    seconds: float
    patience: float
    rate: float

    def left(self, count: int) -> float:
        """Seconds from the beginning within which more than `count` bytes must be there."""
        return min(self.seconds, self.patience + count / self.rate)


async def read_in_time(request: Request, limit: int, pace: Pace) -> bytes:
    """As `read_body`. Raises TimedOut(DEADLINE_EXCEEDED) for one that comes too slowly as well."""
    begun = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(pace.left(0)) as clock:
            receive = request.receive
            count = 0

            async def timed() -> Message:
                nonlocal count
                message = await receive()
                count += len(message.get("body", b""))
                clock.reschedule(begun + pace.left(count))
                return message

            return await read_body(Request(request.scope, timed), limit)
    except TimeoutError:
        raise TimedOut(Reason.DEADLINE_EXCEEDED) from None


async def read_body(request: Request, limit: int) -> bytes:
    """The body, in memory alone. Raises Overloaded(MESSAGE_TOO_LARGE) as soon as it is longer than `limit` bytes."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise Overloaded(Reason.MESSAGE_TOO_LARGE, limit_bytes=limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Overloaded(Reason.MESSAGE_TOO_LARGE, limit_bytes=limit)
    return bytes(body)


async def in_memory(request: Request, limit: int) -> Request:
    """The same request with its body read, for a parser of forms, which has no limit of its own and puts files of more
    than a megabyte on a disk. Raises Overloaded(MESSAGE_TOO_LARGE)."""
    body = await read_body(request, limit)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
