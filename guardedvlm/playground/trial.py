"""One trial over HTTP: counted before a byte of it is read, and ended with its session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from guardedvlm.errors import GuardedVLMError, Internal, InvalidInput, Overloaded, Reason
from guardedvlm.playground.framing import framed, read_asked
from guardedvlm.playground.ports import Asked, Guard
from guardedvlm.playground.told import refused, told
from guardedvlm.policy.model import Policy

MOST_TRIALS = 8
"""At the same time; each may hold two documents, the caller's and the redacted one."""
MOST_OF_SESSION = 2
"""Of them of one session."""
MOST_POLICIES = 64
"""Versions that a session remembers, to tell what changed between two trials."""
MEDIA_TYPE = "application/x-ndjson"
_STATUS = {"MESSAGE_TOO_LARGE": 413, "QUOTA_EXCEEDED": 429}

LOG = logging.getLogger("guardedvlm")


@dataclass(slots=True)
class Desk:
    """What a session holds: its guard, the policies that it was shown, by digest, and the trials that run."""

    guard: Guard
    seen: dict[str, Policy] = field(default_factory=dict)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def remember(self, policy: Policy) -> None:
        """Keep a policy, instead of the one that was shown first."""
        self.seen.setdefault(policy.digest(), policy)
        while len(self.seen) > MOST_POLICIES:
            del self.seen[next(iter(self.seen))]

    def close(self) -> None:
        """End what runs: its session is over."""
        for task in self.running:
            task.cancel()


@dataclass(slots=True)
class Trials:
    """Those that run in this process."""

    running: int = 0

    async def run(self, desk: Desk, request: Request, send: Send) -> None:
        """Read, run and answer one. Refuses a trial too many before it reads it."""
        if self.running >= MOST_TRIALS or len(desk.running) >= MOST_OF_SESSION:
            await _refusal(Overloaded(Reason.QUOTA_EXCEEDED))(request.scope, request.receive, send)
            return
        task = asyncio.create_task(_answer(desk.guard, request, send))
        desk.running.add(task)
        self.running += 1
        try:
            await asyncio.wait({task})
        finally:
            desk.running.discard(task)
            self.running -= 1
            task.cancel()
        if not task.cancelled():
            task.result()


@dataclass(frozen=True, slots=True)
class Trial:
    """The response of a trial: it comes in pieces, as the guard releases them. It ends where the session does."""

    trials: Trials
    desk: Desk
    request: Request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        has_begun = False

        async def noticed(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        await self.trials.run(self.desk, self.request, noticed)
        if not has_begun:
            await PlainTextResponse("log in again", 401)(scope, receive, send)


async def _answer(guard: Guard, request: Request, send: Send) -> None:
    try:
        response: Response = StreamingResponse(_told(guard, await read_asked(request)), media_type=MEDIA_TYPE)
    except GuardedVLMError as error:
        response = _refusal(error)
    await response(request.scope, request.receive, send)


def _refusal(error: GuardedVLMError) -> Response:
    return Response(framed(*refused(error)), _STATUS.get(error.reason, 400), media_type=MEDIA_TYPE)


async def _told(guard: Guard, asked: Asked) -> AsyncIterator[bytes]:
    try:
        if not asked.content:
            raise InvalidInput(Reason.EMPTY_INPUT)
        async with aclosing(guard.events(asked)) as events:
            async for event in events:
                async for message, content in iterate_in_threadpool(told(event)):
                    yield framed(message, content)
    except GuardedVLMError as error:
        yield framed(*refused(error))
    except Exception as failure:
        # Its text may hold content: its type alone is told, and to the operator.
        LOG.error("internal error %s in the playground", type(failure).__name__)
        yield framed(*refused(Internal(Reason.INTERNAL)))
