"""The application: the page behind a gate, the door in front of it, and the headers of all responses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response

from guardedvlm.playground.door import Door
from guardedvlm.playground.pages import STATIC, Pages, Rendering
from guardedvlm.playground.ports import Guard, Samples
from guardedvlm.playground.remote import Target
from guardedvlm.web.access import LOCAL_NAMES, Cookie, Gate, Sessions, StartToken
from guardedvlm.web.assets import assets
from guardedvlm.web.headers import PICTURES_IN_THE_BROWSER, SecurityHeaders

SWEEP_SECONDS = 60.0
"""How often credentials of ended sessions are forgotten."""


@dataclass(frozen=True, slots=True)
class Site:
    """How a playground is reached, and what it tries policies on: a service, or with `guard` the guard of this process.
    `host` is the name in its address, `https` whether that is one of TLS."""

    host: str
    port: int
    https: bool = False
    target: Target | None = None
    guard: Guard | None = None
    samples: Samples | None = None


@dataclass(frozen=True, slots=True)
class Playground:
    """The application, and in local use the token that opens it."""

    application: Starlette
    token: StartToken | None
    sessions: Sessions


def build_playground(site: Site) -> Playground:
    """The playground of a site."""
    if (site.target is None) == (site.guard is None):
        raise ValueError("a playground has a service or a guard of its own")
    sessions, cookie = Sessions(), Cookie(site.https, site.port)
    rendering = Rendering(is_local=site.guard is not None)
    token = StartToken() if site.guard is not None else None
    door = Door(rendering, sessions, cookie, site.target, site.guard, token)
    pages = Pages(rendering, site.samples)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(sessions))
        try:
            yield
        finally:
            sweeping.cancel()

    async def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return rendering.response(request, "error.html", status, code=status)

    application = Starlette(
        routes=[*door.routes(), *pages.routes(), assets(STATIC)],
        middleware=[
            Middleware(SecurityHeaders, https=site.https, pictures=PICTURES_IN_THE_BROWSER),
            Middleware(
                TrustedHostMiddleware, allowed_hosts=[site.host, *(LOCAL_NAMES if site.host in LOCAL_NAMES else ())]
            ),
            Middleware(Gate, sessions=sessions, cookie=cookie),
        ],
        exception_handlers={HTTPException: failed, 500: failed},
        lifespan=lifespan,
    )
    return Playground(application, token, sessions)


async def _sweep(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        sessions.drop_ended()
