"""The page, what its script asks for, and the trial. Nothing that comes in outlives its request."""

from __future__ import annotations

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from guardedvlm import __version__
from guardedvlm.errors import GuardedVLMError
from guardedvlm.playground.ports import Samples
from guardedvlm.playground.told import changes, offered, refused
from guardedvlm.playground.trial import Desk, Trial, Trials
from guardedvlm.playground.words import STAGES
from guardedvlm.policy.compare import compare
from guardedvlm.web.access import IDLE_SECONDS
from guardedvlm.web.assets import asset

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


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


class Pages:
    """Everything behind the door."""

    def __init__(self, rendering: Rendering, samples: Samples | None) -> None:
        self._rendering = rendering
        self._samples = samples
        self._trials = Trials()

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
        return self._rendering.response(request, "playground.html", samples=samples, stages=STAGES, idle=IDLE_SECONDS)

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

    async def trial(self, request: Request) -> Trial:
        """Run a trial."""
        return Trial(self._trials, _desk(request), request)


def _desk(request: Request) -> Desk:
    desk = request.state.session.holds
    assert isinstance(desk, Desk)
    return desk
