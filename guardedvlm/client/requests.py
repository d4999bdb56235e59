"""The messages of calls: what both clients send is made here, once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from guardedvlm.v1 import guard_pb2 as pb

CHUNK_BYTES = 2**20
"""Of an upload; the service takes at most this much a message."""
UPLOAD_ABOVE = 24 * 2**20
"""Documents above this many bytes are uploaded in chunks; the service's limit for one message is 32 MiB."""
ID_BYTES = 16
"""Random bytes of a request id: nobody else's has the same."""


class Wishes(TypedDict, total=False):
    """What goes with a document. `media_type`: taken from the bytes where it is not given. `request_id`: 1 to 64
    characters of [A-Za-z0-9._-], to be used again by whoever repeats the call; without one each call gets its own."""

    media_type: str
    request_id: str


class ReleaseWishes(Wishes, total=False):
    """`with_image`: bring the redacted document; `reidentify`: and what its labels stand for, sealed (`labels_of`)."""

    with_image: bool
    reidentify: bool


class Asking(ReleaseWishes, total=False):
    """`history`: earlier (question, answer) about the same document, oldest first. `max_tokens`: 0 is the policy's
    limit, which also bounds the sampling."""

    history: Sequence[tuple[str, str]]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class Redacting(Wishes, total=False):
    """`reidentify`: bring what the labels stand for, sealed (`labels_of`)."""

    reidentify: bool


def named(request_id: str | None) -> str:
    """The caller's id of a request, or a new one: attempts of one call must be known as one."""
    return request_id or secrets.token_hex(ID_BYTES)


def analyze_request(content: bytes, question: str, wishes: Asking) -> pb.AnalyzeImageRequest:
    """Of AnalyzeImage."""
    return pb.AnalyzeImageRequest(
        request_id=named(wishes.get("request_id")),
        document=_document(content, wishes),
        query=_query(question, wishes),
        include_redacted_image=wishes.get("with_image", False),
        include_reidentification=wishes.get("reidentify", False),
    )


def stream_request(content: bytes, question: str, wishes: Asking, with_progress: bool) -> pb.StreamAnalyzeImageRequest:
    """Of StreamAnalyzeImage."""
    return pb.StreamAnalyzeImageRequest(
        request_id=named(wishes.get("request_id")),
        document=_document(content, wishes),
        query=_query(question, wishes),
        include_redacted_image=wishes.get("with_image", False),
        include_reidentification=wishes.get("reidentify", False),
        include_progress=with_progress,
    )


def upload_header(content: bytes, question: str, wishes: Asking) -> pb.UploadHeader:
    """Of UploadAnalyzeImage."""
    return pb.UploadHeader(
        request_id=named(wishes.get("request_id")),
        media_type=wishes.get("media_type", ""),
        content_bytes=len(content),
        query=_query(question, wishes),
        include_redacted_image=wishes.get("with_image", False),
        include_reidentification=wishes.get("reidentify", False),
    )


def upload_parts(header: pb.UploadHeader, content: bytes) -> Iterator[pb.UploadAnalyzeImageRequest]:
    """The messages of one upload."""
    yield pb.UploadAnalyzeImageRequest(header=header)
    for start in range(0, len(content), CHUNK_BYTES):
        yield pb.UploadAnalyzeImageRequest(chunk=content[start : start + CHUNK_BYTES])


def extract_request(
    content: bytes, schema: Mapping[str, object] | str, wishes: ReleaseWishes
) -> pb.ExtractFieldsRequest:
    """Of ExtractFields."""
    return pb.ExtractFieldsRequest(
        request_id=named(wishes.get("request_id")),
        document=_document(content, wishes),
        schema=schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False),
        include_redacted_image=wishes.get("with_image", False),
        include_reidentification=wishes.get("reidentify", False),
    )


def redact_request(content: bytes, wishes: Redacting) -> pb.RedactImageRequest:
    """Of RedactImage."""
    return pb.RedactImageRequest(
        request_id=named(wishes.get("request_id")),
        document=_document(content, wishes),
        include_reidentification=wishes.get("reidentify", False),
    )


def stream_redact_request(content: bytes, wishes: Redacting) -> pb.StreamRedactImageRequest:
    """Of StreamRedactImage."""
    return pb.StreamRedactImageRequest(
        request_id=named(wishes.get("request_id")),
        document=_document(content, wishes),
        include_reidentification=wishes.get("reidentify", False),
    )


def is_progress(event: pb.StreamAnalyzeImageResponse | pb.StreamRedactImageResponse) -> bool:
    """Whether an event only tells how far a request is: nothing has been released with it."""
    return bool(event.WhichOneof("event") == "progress")


def _document(content: bytes, wishes: Wishes) -> pb.Document:
    return pb.Document(media_type=wishes.get("media_type", ""), content=content)


def _query(question: str, wishes: Asking) -> pb.Query:
    turns = [pb.Turn(question=asked, answer=answered) for asked, answered in wishes.get("history", ())]
    return pb.Query(
        question=question,
        history=turns,
        max_tokens=wishes.get("max_tokens", 0),
        temperature=wishes.get("temperature", 0.0),
        top_p=wishes.get("top_p", 0.0),
        seed=wishes.get("seed", 0),
    )
