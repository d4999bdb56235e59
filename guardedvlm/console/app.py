"""The application: pages behind a gate, the login in front of it, assets, and the headers of all of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardedvlm.audit.review.desk import ReviewDesk
from guardedvlm.console.checks import Checks
from guardedvlm.console.library import Library
from guardedvlm.console.login import OPERATOR, Door
from guardedvlm.console.oidc import Login, Provider
from guardedvlm.console.pages import Pages
from guardedvlm.console.rendering import STATIC, Rendering
from guardedvlm.console.review import ReviewPages
from guardedvlm.console.watch import Outside, Watch
from guardedvlm.web.access import LOCAL_NAMES, Cookie, Gate, Sessions, StartToken
from guardedvlm.web.assets import assets
from guardedvlm.web.headers import SecurityHeaders

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What a console shows and how it is reached. `host` is the name in its address, `https` whether
    that is one of TLS; with `provider` people log in there, else by the token of the start, as `user`. With `desk`
    redacted pictures wait for them."""

    ledger: Path
    cache: Path
    host: str
    port: int
    https: bool = False
    policies: Sequence[Path] = ()
    tenants: Mapping[str, str] = field(default_factory=dict)
    provider: Provider | None = None
    user: str = OPERATOR
    desk: ReviewDesk | None = None
    outside: Outside = field(default_factory=Outside)


@dataclass(frozen=True, slots=True)
class Console:
    """The application, and the token that opens it where no provider does."""

    application: Starlette
    watch: Watch
    token: StartToken | None
    sessions: Sessions


def build_console(site: Site) -> Console:
    """The console of a site; it begins to index and to verify when the server starts it."""
    watch, rendering, sessions = (
        Watch(site.ledger, site.cache, site.outside),
        Rendering(review=site.desk is not None),
        Sessions(),
    )
    cookie = Cookie(site.https, site.port)
    token = None if site.provider else StartToken()
    door = Door(rendering, sessions, cookie, token, Login(site.provider) if site.provider else None, site.user)
    pages = Pages(watch, rendering, Library(site.policies), site.tenants)
    checks = Checks(watch, rendering, site.outside.keys)
    review = ReviewPages(site.desk, watch, rendering, site.tenants).routes() if site.desk else []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with watch.running():
            yield

    async def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 500:  # its text and a traceback could hold what a page holds
            LOG.error("a page failed: %s", type(error).__name__)
        return rendering.response(request, "error.html", status, code=status, watch=watch)

    application = Starlette(
        routes=[
            Route("/login/ready", _ready),
            *door.routes(),
            *checks.routes(),
            *review,
            *pages.routes(),
            assets(STATIC),
        ],
        middleware=[
            Middleware(SecurityHeaders, https=site.https),
            Middleware(
                TrustedHostMiddleware, allowed_hosts=[site.host, *(LOCAL_NAMES if site.host in LOCAL_NAMES else ())]
            ),
            Middleware(Gate, sessions=sessions, cookie=cookie),
        ],
        exception_handlers={HTTPException: failed, 500: failed},
        lifespan=lifespan,
    )
    return Console(application, watch, token, sessions)


def _ready(_: Request) -> Response:
    """For an orchestrator's probe: the process answers."""
    return Response(status_code=204)
