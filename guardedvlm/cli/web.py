"""How the commands with web pages listen and serve."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardedvlm.config import Tls
from guardedvlm.errors import ConfigurationError, Reason

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

DRAIN_SECONDS = 3
BACKLOG = 64


def require_packages(extra: str, names: Sequence[str]) -> None:
    """Raise ConfigurationError(SETTINGS_INVALID) that says which extra brings what is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        explanation = f"needs {', '.join(missing)}: install guardedvlm[{extra}]"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=extra, explanation=explanation)


def listening(listen: str) -> socket.socket:
    """A socket at HOST:PORT. Raises ConfigurationError(PORT_TAKEN)."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except (OSError, OverflowError):
        raise ConfigurationError(Reason.PORT_TAKEN, place=listen) from None


def address_of(url: str | None, listen: str, listener: socket.socket, tls: Tls | None) -> str:
    """What people type into a browser."""
    return url or f"{'https' if tls else 'http'}://{listen.rpartition(':')[0]}:{listener.getsockname()[1]}"


def host_of(address: str) -> str:
    """The name in an address, as a browser sends it."""
    host = urlsplit(address).hostname or ""
    return f"[{host}]" if ":" in host else host


def web_server(application: ASGIApp, tls: Tls | None) -> uvicorn.Server:
    """A server that logs no address and no traceback: both can hold what nobody else may read."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            application,
            access_log=False,
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
    )
