"""The page, what its script asks for, and the trial. Nothing that comes in outlives its request."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from guardedvlm import __version__
from guardedvlm.errors import GuardedVLMError, Internal, InvalidInput, Overloaded, Reason
from guardedvlm.playground.framing import framed, read_asked
from guardedvlm.playground.ports import Asked, Guard, Samples
from guardedvlm.playground.told import changes, offered, refused, told
from guardedvlm.playground.words import STAGES
from guardedvlm.policy.compare import compare
from guardedvlm.policy.model import Policy
from guardedvlm.web.assets import asset

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
MOST_TRIALS = 8
"""At the same time; each may hold two documents, the caller's and the redacted one."""
MOST_POLICIES = 64
"""Versions that a session remembers, to tell what changed between two trials."""
MEDIA_TYPE = "application/x-ndjson"
_STATUS = {"INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 413}

LOG = logging.getLogger("guardedvlm")


class Rendering:
    """Renders the templates of this package. Everything is escaped, and a name that is not there is an error."""

    def __init__(self, *, is_local: bool) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "asset": functools.partial(asset, STATIC),
            "version": __version__,
            "is_local": is_local,
        }

    def response(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        """A page."""
        session = getattr(request.state, "session", None)
        return HTMLResponse(self._environment.get_template(template).render(session=session, **context), status)


@dataclass(slots=True)
class Desk:
    """What a session holds: its guard, and the policies that it was shown, by digest."""

    guard: Guard
    seen: dict[str, Policy] = field(default_factory=dict)

    def remember(self, policy: Policy) -> None:
        """Keep a policy, instead of the one that was shown first."""
        self.seen.setdefault(policy.digest(), policy)
        while len(self.seen) > MOST_POLICIES:
            del self.seen[next(iter(self.seen))]


class Pages:
    """Everything behind the door."""

    def __init__(self, rendering: Rendering, samples: Samples | None) -> None:
        self._rendering = rendering
        self._samples = samples
        self._running = 0

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/", self.page),
            Route("/policies", self.policies),
            Route("/difference", self.difference),
            Route("/try", self.trial, methods=["POST"]),
            Route("/samples/{size:str}/{name:str}.png", self.sample),
        ]

    async def page(self, request: Request) -> Response:
        """The one page."""
        samples = await run_in_threadpool(self._samples.titles) if self._samples else ()
        return self._rendering.response(request, "playground.html", samples=samples, stages=STAGES)

    async def policies(self, request: Request) -> Response:
        """The policies of this moment."""
        desk = _desk(request)
        try:
            offers = await desk.guard.offers()
        except GuardedVLMError as error:
            return JSONResponse(refused(error)[0])
        for offer in offers:
            if offer.policy is not None:
                desk.remember(offer.policy)
        return JSONResponse({"policies": [offered(offer) for offer in offers]})

    async def difference(self, request: Request) -> Response:
        """What changed between two policies that this session was shown."""
        old, new = (_desk(request).seen.get(request.query_params.get(name, "")) for name in ("old", "new"))
        if old is None or new is None:
            raise HTTPException(404)
        return JSONResponse({"changes": changes(compare(old, new))})

    async def sample(self, request: Request) -> Response:
        """A made-up picture, for the script to try with."""
        size, name = request.path_params["size"], request.path_params["name"]
        draw = {"small": self._samples.thumbnail, "full": self._samples.picture} if self._samples else {}
        found = await run_in_threadpool(draw[size], name) if size in draw else None
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type="image/png")

    async def trial(self, request: Request) -> Response:
        """Run a trial; the response comes in pieces, as the guard releases them."""
        try:
            asked = await read_asked(request)
        except GuardedVLMError as error:
            return Response(framed(*refused(error)), _STATUS.get(error.code, 400), media_type=MEDIA_TYPE)
        return StreamingResponse(self._told(_desk(request).guard, asked), media_type=MEDIA_TYPE)

    async def _told(self, guard: Guard, asked: Asked) -> AsyncIterator[bytes]:
        self._running += 1
        try:
            if self._running > MOST_TRIALS:
                raise Overloaded(Reason.QUOTA_EXCEEDED)
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
        finally:
            self._running -= 1


def _desk(request: Request) -> Desk:
    desk = request.state.session.holds
    assert isinstance(desk, Desk)
    return desk
