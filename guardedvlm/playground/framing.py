"""How a trial crosses HTTP.

Request: one line of JSON (policy, question), then the picture's bytes. No form, whose parser would put a large file on
a disk, and nothing in the address, which others may keep. Response: lines of JSON; a line with `bytes` has as many
behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.playground.ports import Asked
from guardedvlm.transport.listen import RECEIVE_LIMIT
from guardedvlm.web.body import read_body

HEAD_LIMIT = 128 * 1024
"""Bytes of the line: a question of 20,000 characters, each of which JSON writes in at most six bytes."""


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    policy: str = Field(min_length=1, max_length=128)
    question: str = Field(default="", max_length=20_000)


async def read_asked(request: Request) -> Asked:
    """What a browser asks for. Raises Overloaded(MESSAGE_TOO_LARGE), InvalidInput(FIELD_INVALID)."""
    return parse_asked(await read_body(request, HEAD_LIMIT + RECEIVE_LIMIT))


def parse_asked(body: bytes) -> Asked:
    """The trial that a body spells. Raises InvalidInput(FIELD_INVALID)."""
    line, end, content = body.partition(b"\n")
    if not end or len(line) > HEAD_LIMIT:
        raise InvalidInput(Reason.FIELD_INVALID, field="head")
    try:
        head = _Head.model_validate_json(line)
    except ValidationError:
        raise InvalidInput(Reason.FIELD_INVALID, field="head") from None
    return Asked(head.policy, head.question.strip(), content)


def framed(message: Mapping[str, object], content: bytes | None = None) -> bytes:
    """A line of the response, and the bytes that belong to it."""
    told = dict(message) if content is None else {**message, "bytes": len(content)}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" + (content or b"")
