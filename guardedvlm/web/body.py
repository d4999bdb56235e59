"""Bodies, read in memory and never past a limit: what a Content-Length says decides nothing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Message

from guardedvlm.errors import Overloaded, Reason


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
