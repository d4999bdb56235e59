"""The door: who comes in, and with which guard.

Beside a service people bring the credential that GuardService knows them by; it is tried there at once, and lies in the
session alone. In local use the token that was printed at the start lets its reader in.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardedvlm.errors import GuardedVLMError, InvalidInput, NotIdentified, Reason
from guardedvlm.playground.pages import Rendering
from guardedvlm.playground.ports import Guard
from guardedvlm.playground.remote import Identity, RemoteGuard, Target
from guardedvlm.playground.trial import Desk
from guardedvlm.playground.words import advice
from guardedvlm.web.access import Cookie, Sessions, StartToken
from guardedvlm.web.body import read_body

FORM_LIMIT = 256 * 1024
"""Bytes: a certificate chain and a key have some 10 KB."""
AUTHOR = "policy author"
"""What somebody with the start's token is called."""
_STATUS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "UNAVAILABLE": 503, "INVALID_ARGUMENT": 400}


@dataclass(frozen=True, slots=True)
class Door:
    """Routes of login and logout. Either `target`, or `guard` and the `token` that leads to it, is there."""

    rendering: Rendering
    sessions: Sessions
    cookie: Cookie
    target: Target | None = None
    guard: Guard | None = None
    token: StartToken | None = None

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/login", self.show),
            Route("/login", self.enter, methods=["POST"]),
            Route("/logout", self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The login page, or with the printed address the way in."""
        token = request.query_params.get("token")
        if token is not None and self.token is not None:
            return self._by_start_token(request, token)
        return self._login(request)

    async def enter(self, request: Request) -> Response:
        """The form. Its fields are read here: the usual parser has no limit."""
        try:
            fields = parse_qs((await read_body(request, FORM_LIMIT)).decode(), max_num_fields=8)
        except (GuardedVLMError, ValueError):
            return self._login(request, InvalidInput(Reason.FIELD_INVALID))
        found = {name: values[0].strip() for name, values in fields.items()}
        if self.target is None:
            return self._by_start_token(request, found.get("token", ""))
        identity = Identity(
            found.get("token", ""), found.get("certificate", "").encode(), found.get("key", "").encode()
        )
        return await self._by_identity(request, identity, self.target)

    async def leave(self, request: Request) -> Response:
        """End the session, and with it what it holds."""
        self.sessions.end(request.cookies.get(self.cookie.name))
        response = RedirectResponse("/login", 303)
        self.cookie.take(response)
        return response

    async def _by_identity(self, request: Request, identity: Identity, target: Target) -> Response:
        session = request.state.session
        guard = session.holds.guard if session is not None else RemoteGuard(target)
        assert isinstance(guard, RemoteGuard)
        try:
            policy = await guard.add(identity)
        except GuardedVLMError as error:
            return self._login(request, error)
        if session is not None:
            return RedirectResponse("/", 303)
        return self._in(self.sessions.begin(f"policy {policy.name}", Desk(guard)))

    def _by_start_token(self, request: Request, token: str) -> Response:
        if self.token is None or self.guard is None or not self.token.fits(token):
            return self._login(request, NotIdentified(Reason.UNAUTHENTICATED))
        return self._in(self.sessions.begin(AUTHOR, Desk(self.guard)))

    def _in(self, key: str) -> Response:
        response = RedirectResponse("/", 303)
        self.cookie.put(response, key)
        return response

    def _login(self, request: Request, error: GuardedVLMError | None = None) -> Response:
        problem = (error.sentence, advice(error.reason)) if error else ()
        return self.rendering.response(
            request,
            "login.html",
            _STATUS.get(error.code, 500) if error else 200,
            problem=problem,
            certificates=self.target is not None and self.target.ca is not None,
        )
