"""Headers of every response: nothing from elsewhere, nothing inline, nothing kept by a cache, nothing in a frame."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_PICTURES = "img-src 'self'"
PICTURES_IN_THE_BROWSER = "img-src 'self' blob:"
"""Also those that the page's own script holds."""


def content_security_policy(pictures: str) -> str:
    """What a page may load: what this process serves, and nothing inline. `pictures`: where they may come from."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            pictures,
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


HEADERS = {
    "Content-Security-Policy": content_security_policy(OWN_PICTURES),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ONE_YEAR = 31_536_000
"""Seconds."""


class SecurityHeaders:
    """Adds them; with `https` also that the browser is to use nothing else. `pictures`: where they may come from."""

    def __init__(self, app: ASGIApp, *, https: bool, pictures: str = OWN_PICTURES) -> None:
        self._app = app
        self._headers = {**HEADERS, "Content-Security-Policy": content_security_policy(pictures)}
        if https:
            self._headers["Strict-Transport-Security"] = f"max-age={ONE_YEAR}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    found[name] = value
                # Assets carry their version in the name; pages are never kept.
                found["Cache-Control"] = "no-cache" if scope["path"].startswith("/static/") else "no-store"
            await send(message)

        await self._app(scope, receive, send_with)
