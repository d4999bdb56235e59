"""The routes. A body is read only after the service knows the caller, and never past its limit."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guardedvlm.client import AsyncClient
from guardedvlm.client.requests import Asking, is_progress
from guardedvlm.errors import GuardedVLMError, InvalidInput, NotIdentified, Reason
from guardedvlm.openai_api.chat import Chat, parse_chat
from guardedvlm.openai_api.completion import Completion, event, is_model, model_object
from guardedvlm.openai_api.events import Ahead, EventStream, unless_gone
from guardedvlm.openai_api.failure import ModelUnknown, Unsupported, error_object, failed
from guardedvlm.openai_api.slots import Slots
from guardedvlm.v1 import guard_pb2 as pb
from guardedvlm.web.body import Pace, read_in_time
from guardedvlm.web.headers import SecurityHeaders

PACE = Pace(seconds=120.0, patience=10.0, rate=64 * 2**10)
"""Of a body: 48 MiB at 4 Mbit/s, and none slower than half a Mbit/s."""
GONE = 499
"""What nobody reads any more has a status, too."""
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)  # RFC 6750, section 2.1
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Front:
    """Where the guard is, and what this process takes at once: bodies of `body_bytes`, `most_requests` of them."""

    server: str
    ca: Path | None = None
    https: bool = False
    timeout: float = 3_600.0
    body_bytes: int = 48 * 2**20
    most_requests: int = 32


def build_openai(front: Front) -> Starlette:
    """The application."""
    routes = Routes(front)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncClient(front.server, ca=front.ca, timeout=front.timeout) as client:
            routes.client = client
            yield

    async def refused(_: Request, error: Exception) -> Response:
        return failed(error)

    async def unrouted(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        body = error_object(Unsupported("path", "there are /v1/chat/completions and /v1/models"))
        return JSONResponse(body, status, {"x-should-retry": "false"})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.models),
            Route("/v1/models/{name:path}", routes.model),
        ],
        middleware=[Middleware(SecurityHeaders, https=front.https)],
        exception_handlers={GuardedVLMError: refused, HTTPException: unrouted, 500: refused},
        lifespan=lifespan,
    )


class Routes:
    """What answers. `client` is the connection that all callers share, each under their own token."""

    client: AsyncClient

    def __init__(self, front: Front) -> None:
        self._front = front
        self._slots = Slots(front.most_requests)

    async def models(self, request: Request) -> Response:
        """The caller's one model."""
        policy = await self._caller(request).policy()
        return JSONResponse({"object": "list", "data": [model_object(policy.name)]})

    async def model(self, request: Request) -> Response:
        """The same by its name."""
        policy = await self._caller(request).policy()
        _check_model(request.path_params["name"], policy.name)
        return JSONResponse(model_object(policy.name))

    async def chat(self, request: Request) -> Response:
        """A chat completion."""
        client = self._caller(request)
        policy = await client.policy()
        ahead = Ahead(request.receive)
        async with contextlib.AsyncExitStack() as held:
            if await unless_gone(ahead.look, self._slots.take(_token(request), held)) is None:
                return Response(status_code=GONE)
            body = await read_in_time(Request(request.scope, ahead.receive), self._front.body_bytes, PACE)
            chat = await asyncio.to_thread(parse_chat, body)
            _check_model(chat.model, policy.name)
            wishes: Asking = {**chat.wishes, "request_id": _request_id(request)}
            completion = Completion(model_object(policy.name)["id"])
            if chat.is_stream and chat.schema is None:
                events = client.stream(chat.content, chat.question, on_receipt=completion.take, **wishes)
                return await _begun(request, _pieces(events, completion, chat), held, self._front.timeout)
            given = await unless_gone(request.receive, _answer(client, chat, wishes, completion))
        if given is None:
            return Response(status_code=GONE)
        if chat.is_stream:
            return EventStream(_at_once(given, completion, chat), contextlib.AsyncExitStack(), self._front.timeout)
        return JSONResponse(completion.whole(given), headers={"x-request-id": given.audit_id})

    def _caller(self, request: Request) -> AsyncClient:
        """The connection under the caller's token. Raises NotIdentified."""
        return self.client.as_caller(_token(request))


def _token(request: Request) -> str:
    found = _BEARER.match(request.headers.get("authorization", ""))
    if found is None:
        raise NotIdentified(Reason.UNAUTHENTICATED)
    return found[1]


async def _answer(
    client: AsyncClient, chat: Chat, wishes: Asking, completion: Completion
) -> pb.Analysis | pb.ExtractFieldsResponse:
    if chat.schema is None:
        return await client.analyze(chat.content, chat.question, on_receipt=completion.take, **wishes)
    return await client.extract(
        chat.content,
        chat.schema,
        on_receipt=completion.take,
        request_id=wishes["request_id"],
        media_type=wishes["media_type"],
    )


async def _begun(
    request: Request, pieces: AsyncGenerator[bytes, None], held: contextlib.AsyncExitStack, seconds: float
) -> Response:
    """The stream, once the request was not refused so far: a refusal before that has a status of its own."""
    await held.enter_async_context(aclosing(pieces))
    if await unless_gone(request.receive, anext(pieces)) is None:
        return Response(status_code=GONE)
    return EventStream(pieces, held.pop_all(), seconds)


async def _pieces(
    events: AsyncGenerator[pb.StreamAnalyzeImageResponse, None], completion: Completion, chat: Chat
) -> AsyncGenerator[bytes, None]:
    """The events of a stream. The first is empty: it says that the request was not refused so far. The last comes when
    the receipt is there."""
    done = pb.Analysis()
    begun = False
    async with aclosing(events):
        try:
            async for found in events:
                if not begun and not is_progress(found):
                    begun = True
                    yield b""
                    yield completion.first()
                if found.WhichOneof("event") == "text":
                    yield completion.piece(found.text)
                elif found.WhichOneof("event") == "done":
                    done = found.done
        except GuardedVLMError as error:
            if not begun:
                raise
            yield event(error_object(error))
            return
    yield completion.last(done, with_usage=chat.with_usage)


async def _at_once(
    given: pb.Analysis | pb.ExtractFieldsResponse, completion: Completion, chat: Chat
) -> AsyncGenerator[bytes, None]:
    """Extracted fields as a stream: they come when all of them were screened."""
    assert isinstance(given, pb.ExtractFieldsResponse)
    yield completion.first()
    yield completion.piece(given.json)
    yield completion.last(given, with_usage=chat.with_usage)


def _check_model(name: str, policy: str) -> None:
    if not is_model(name, policy):
        raise ModelUnknown("model", "it is guardedvlm, or guardedvlm/ and the name of your policy")


def _request_id(request: Request) -> str:
    """The caller's own id, which makes the call idempotent. Raises InvalidInput(FIELD_INVALID)."""
    found = request.headers.get("idempotency-key", "")
    if found and not _REQUEST_ID.match(found):
        raise InvalidInput(Reason.FIELD_INVALID, field="Idempotency-Key")
    return found
