"""A document that comes in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from guardedvlm.admission import Place
from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import InvalidInput, Reason, TimedOut
from guardedvlm.policy.model import Policy
from guardedvlm.v1 import guard_pb2 as pb

MAX_CHUNK = 2**20
"""Bytes of one chunk of an upload."""


async def assembled(
    parts: AsyncIterator[pb.UploadAnalyzeImageRequest], policy: Policy, place: Place, deadline: Deadline
) -> pb.AnalyzeImageRequest:
    """The request that an upload spells; without its document, and no byte of it read, where `place` is refused one.
    Raises InvalidInput when it is not one header and the bytes it announced, in chunks that hold some, and
    TimedOut(DEADLINE_EXCEEDED) when they are not there in time: until then they are held for it."""
    try:
        async with asyncio.timeout(deadline.remaining()):
            return await _assembled(parts, policy, place)
    except TimeoutError:
        raise TimedOut(Reason.DEADLINE_EXCEEDED) from None


async def _assembled(
    parts: AsyncIterator[pb.UploadAnalyzeImageRequest], policy: Policy, place: Place
) -> pb.AnalyzeImageRequest:
    header: pb.UploadHeader | None = None
    content = bytearray()
    async for part in parts:
        if part.WhichOneof("part") == "header" and header is None:
            header = part.header
            if not 0 < header.content_bytes <= policy.limits.max_bytes:
                raise InvalidInput(Reason.BYTES_TOO_LARGE, limit_bytes=policy.limits.max_bytes)
            place.arrive(header.content_bytes)
            if place.is_refused:
                return _request(header, b"")
        elif part.WhichOneof("part") == "chunk" and header is not None and 0 < len(part.chunk) <= MAX_CHUNK:
            content += part.chunk
            if len(content) > header.content_bytes:
                raise InvalidInput(Reason.UPLOAD_INCOMPLETE)
        else:
            raise InvalidInput(Reason.FIELD_INVALID, field="part")
    if header is None or len(content) != header.content_bytes:
        raise InvalidInput(Reason.UPLOAD_INCOMPLETE)
    return _request(header, bytes(content))


def _request(header: pb.UploadHeader, content: bytes) -> pb.AnalyzeImageRequest:
    return pb.AnalyzeImageRequest(
        request_id=header.request_id,
        document=pb.Document(media_type=header.media_type, content=content),
        query=header.query,
        include_redacted_image=header.include_redacted_image,
        include_reidentification=header.include_reidentification,
    )
