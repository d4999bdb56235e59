"""Who may look: sessions, the token of a start, and the gate in front of every page.

A session is a random id in a cookie and, in this process's memory, a name and what the application keeps for it;
nothing of it is written down, and a restart ends all. Cookies are HttpOnly and SameSite=Strict, and over TLS Secure
under a `__Host-` name.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from threading import RLock
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LIFE_SECONDS = 8 * 3600.0
"""A session ends after a working day."""
IDLE_SECONDS = 30 * 60.0
"""And when nobody has used it for half an hour (NIST SP 800-63B-4, section 2.2.3, for AAL2: at most one hour)."""
MAX_SESSIONS = 1_000
TOKEN_BYTES = 32
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine: another site's name that leads here (DNS rebinding) is refused."""
OPEN = ("/login", "/static/")
"""Paths that need no session."""


@dataclass(slots=True)
class Session:
    """Somebody who logged in. `name` is shown to themselves only; `holds` is the application's, and ends with it."""

    name: str
    began: float
    seen: float
    holds: Any = field(default=None, repr=False)


@dataclass(slots=True)
class Sessions:
    """Sessions by id, for threads and tasks alike. `clock` counts seconds. What a session holds is closed with it,
    where it has a `close`."""

    life: float = LIFE_SECONDS
    idle: float = IDLE_SECONDS
    clock: Any = time.monotonic
    _open: dict[str, Session] = field(default_factory=dict)
    _lock: Any = field(default_factory=RLock)

    def begin(self, name: str, holds: Any = None) -> str:
        """A new session's id."""
        with self._lock:
            self.drop_ended()
            while len(self._open) >= MAX_SESSIONS:  # the one that was not used for the longest time
                self.end(min(self._open, key=lambda key: self._open[key].seen))
            key, now = secrets.token_urlsafe(TOKEN_BYTES), self.clock()
            self._open[key] = Session(name, now, now, holds)
            return key

    def find(self, key: str | None) -> Session | None:
        """The session of a cookie, None when there is none or it has ended."""
        with self._lock:
            session = self._open.get(key or "")
            if key is None or session is None or self._ended(session):
                return None
            session.seen = self.clock()
            return session

    def end(self, key: str | None) -> None:
        """End a session."""
        with self._lock:
            session = self._open.pop(key or "", None)
        if session is not None and (close := getattr(session.holds, "close", None)) is not None:
            close()

    def _ended(self, session: Session) -> bool:
        now = self.clock()
        return bool(now - session.began > self.life or now - session.seen > self.idle)

    def drop_ended(self) -> None:
        """Forget what has ended."""
        with self._lock:
            for key in [key for key, session in self._open.items() if self._ended(session)]:
                self.end(key)


@dataclass(frozen=True, slots=True)
class Cookie:
    """The session's cookie; `secure` where the console is reached by https."""

    secure: bool
    port: int
    path: str = "/"

    @property
    def name(self) -> str:
        """Cookies do not know ports: two consoles of one machine must not share one."""
        if self.path != "/":
            return f"{'__Secure-' if self.secure else ''}guardedvlm-login-{self.port}"
        return "__Host-guardedvlm" if self.secure else f"guardedvlm-{self.port}"

    @property
    def attempt(self) -> Cookie:
        """The cookie of an attempt to log in, which only the login gets."""
        return Cookie(self.secure, self.port, "/login")

    def put(self, response: Response, value: str, seconds: int | None = None) -> None:
        """Set it, for `seconds` or until the browser is closed."""
        response.set_cookie(
            self.name, value, seconds, path=self.path, secure=self.secure, httponly=True, samesite="strict"
        )

    def take(self, response: Response) -> None:
        """Delete it."""
        response.delete_cookie(self.name, path=self.path, secure=self.secure, httponly=True, samesite="strict")


class StartToken:
    """The token that is printed at the start and lets its reader in."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(TOKEN_BYTES)

    def url(self, base: str) -> str:
        """What is printed."""
        return f"{base}/login?{urlencode({'token': self._token})}"

    def fits(self, token: str) -> bool:
        """Whether somebody has it; compared in constant time."""
        return hmac.compare_digest(self._token.encode(), token.strip().encode())


class Gate:
    """Lets in who has a session, sends others to the login, and refuses what another site makes a browser send."""

    def __init__(self, app: ASGIApp, sessions: Sessions, cookie: Cookie) -> None:
        self._app = app
        self._sessions = sessions
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, redirect or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        session = self._sessions.find(request.cookies.get(self._cookie.name))
        scope.setdefault("state", {})["session"] = session
        refusal = self._refusal(request, session)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request, session: Session | None) -> Response | None:
        if request.method not in {"GET", "HEAD"} and not _same_origin(request):
            return PlainTextResponse("refused: the request comes from another site", 403)
        path = request.scope["path"]  # what the router decides by; a URL is put together with the caller's Host
        if session is not None or path.startswith(OPEN):
            return None
        if "hx-request" in request.headers:  # the whole page goes to the login, not a part of it
            return PlainTextResponse("log in again", 401, headers={"HX-Redirect": "/login"})
        if path == "/logout":
            return RedirectResponse("/login", 303)
        if request.method != "GET":
            return PlainTextResponse("log in again", 401)
        return RedirectResponse(f"/login?{urlencode({'next': local_path(request.scope)})}", 303)


def _same_origin(request: Request) -> bool:
    """Whether the page that sends this is one of ours: every current browser says so itself."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host", "-")


def local_path(scope: Scope) -> str:
    """Path and query of a request, without its Host."""
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")


def safe_next(path: str) -> str:
    """A path of this console to go to after the login; "/" for anything that could lead elsewhere."""
    parts = urlsplit(path)
    leads_here = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if leads_here and path.isprintable() and not path.startswith("/login") else "/"
