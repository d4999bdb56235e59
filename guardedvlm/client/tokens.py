"""Where a bearer token comes from. A callable is asked before every attempt, so that one that expires is never kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from guardedvlm.errors import ConfigurationError, Reason

Token: TypeAlias = str | Callable[[], str]
"""A token, or what gives the one to use now; "" sends none."""
AsyncToken: TypeAlias = Token | Callable[[], Awaitable[str]]
"""Of `AsyncClient`, which also waits for one."""

EARLY_SECONDS = 30.0
"""A token is fetched anew this long before it expires: the call that carries it has to arrive, and clocks differ."""
MAX_TOKEN_BYTES = 16 * 1024
"""The service takes this much metadata in all."""


def token_from_file(path: Path) -> Callable[[], str]:
    """The token in a file, read again before every attempt: a mounted secret is replaced while the client runs.

    What it returns raises ConfigurationError(INPUT_UNREADABLE).
    """

    def read() -> str:
        try:
            with path.open("rb") as file:
                return file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name) from None

    return read


class ExpiringToken:
    """A token that `fetch` gives with the seconds that it lasts (a JWT's `expires_in`), kept until shortly before.

    Safe between threads: one fetches, the others wait for it. What `fetch` raises goes to the caller of the client.
    """

    def __init__(self, fetch: Callable[[], tuple[str, float]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._token, self._until = "", float("-inf")

    def __call__(self) -> str:
        """The token to use now."""
        with self._lock:
            if self._clock() >= self._until:
                token, seconds = self._fetch()
                self._token, self._until = token, self._clock() + seconds - EARLY_SECONDS
            return self._token
