"""The door: login by the token of the start or by the identity provider, and logout."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardedvlm.console.oidc import ATTEMPT_SECONDS, Login, Person
from guardedvlm.console.rendering import Rendering
from guardedvlm.errors import GuardedVLMError, Overloaded
from guardedvlm.web.access import Cookie, Sessions, StartToken, safe_next
from guardedvlm.web.body import in_memory

OPERATOR = "reviewer"
"""What somebody with the start's token is called."""
FORM_BYTES = 16 * 1024
"""A token and an address."""
MAX_ONWARD = 1_000
"""Characters of where somebody wanted to go; the attempt's cookie holds it."""
_STATUS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "UNAVAILABLE": 503}


@dataclass(frozen=True, slots=True)
class Door:
    """Routes of login and logout. Exactly one of `token` and `provider` is there; with the token everybody is
    `user`. A session holds the identity of whose it is."""

    rendering: Rendering
    sessions: Sessions
    cookie: Cookie
    token: StartToken | None
    provider: Login | None
    user: str = OPERATOR

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        routes = [Route("/login", self.show), Route("/logout", self.leave, methods=["POST"])]
        if self.provider is None:
            return [*routes, Route("/login", self.enter, methods=["POST"])]
        return [
            *routes,
            Route("/login/begin", self.begin),
            Route("/login/callback", self.callback),
            Route("/login/finish", self.finish),
        ]

    def show(self, request: Request) -> Response:
        """The login page, or with the printed address the way in."""
        token = request.query_params.get("token")
        if token is not None and self.token is not None:
            return self._try(request, token, "/")
        return self._login(request)

    async def enter(self, request: Request) -> Response:
        """The form with the token."""
        try:
            whole = await in_memory(request, FORM_BYTES)
        except Overloaded:
            return self._login(request, 413, "This is too large for a token.")
        async with whole.form(max_files=0, max_fields=4) as form:
            token, onward = str(form.get("token", "")), str(form.get("next", ""))
        return self._try(request, token, onward)

    async def begin(self, request: Request) -> Response:
        """To the identity provider."""
        assert self.provider is not None
        try:
            attempt, response = await self.provider.begin(request)
        except GuardedVLMError as error:
            return self._refused(request, error)
        onward = safe_next(request.query_params.get("next", "/"))
        onward = onward if len(onward) <= MAX_ONWARD else "/"
        self.cookie.attempt.put(response, f"{attempt}.{quote(onward)}", int(ATTEMPT_SECONDS))
        return response

    def callback(self, request: Request) -> Response:
        """The provider's answer, without our cookies: a page that leads on at once."""
        answer = {name: request.query_params.get(name, "") for name in ("code", "state", "error")}
        onward = urlencode({name: value for name, value in answer.items() if value})
        return self.rendering.response(request, "onward.html", onward=f"/login/finish?{onward}")

    async def finish(self, request: Request) -> Response:
        """The same answer from our own page, with the cookie of the attempt."""
        assert self.provider is not None
        attempt, _, onward = request.cookies.get(self.cookie.attempt.name, "").partition(".")
        try:
            person = await self.provider.finish(request, attempt)
        except GuardedVLMError as error:
            return self._refused(request, error)
        response = self._enter(person, unquote(onward))
        self.cookie.attempt.take(response)
        return response

    def leave(self, request: Request) -> Response:
        """End the session."""
        self.sessions.end(request.cookies.get(self.cookie.name))
        response = RedirectResponse("/login", 303)
        self.cookie.take(response)
        return response

    def _try(self, request: Request, token: str, onward: str) -> Response:
        if self.token is None or not self.token.fits(token):
            return self._login(request, 401, "This is not the token of this start.")
        return self._enter(Person(OPERATOR, self.user), onward)

    def _enter(self, person: Person, onward: str) -> Response:
        response = RedirectResponse(safe_next(onward), 303)
        self.cookie.put(response, self.sessions.begin(person.name, person.identity))
        return response

    def _refused(self, request: Request, error: GuardedVLMError) -> Response:
        return self._login(request, _STATUS.get(error.code, 500), error.sentence)

    def _login(self, request: Request, status: int = 200, problem: str = "") -> Response:
        onward = safe_next(request.query_params.get("next", "/"))
        return self.rendering.response(
            request, "login.html", status, by_token=self.token is not None, problem=problem, onward=onward
        )
