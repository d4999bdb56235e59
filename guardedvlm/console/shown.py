"""Pictures whose view is on record and that a browser is about to fetch: each is handed out once, to who looks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 8
"""Pictures in memory; the oldest gives way."""
SECONDS = 60.0
"""A browser fetches at once."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    owner: str
    sample: str
    since: float
    picture: bytes = field(repr=False)


class Shown:
    """Pictures by ticket. Safe to use from several threads. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gate = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def keep(self, owner: str, sample: str, picture: bytes) -> str:
        """The ticket that `owner` gets it for."""
        ticket = secrets.token_urlsafe(16)
        with self._gate:
            self._drop_old()
            while len(self._waiting) >= MOST:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[ticket] = _Waiting(owner, sample, self._clock(), picture)
        return ticket

    def take(self, ticket: str, owner: str, sample: str) -> bytes | None:
        """The picture, once; None for another's ticket and for one that was used or is too old."""
        with self._gate:
            self._drop_old()
            found = self._waiting.get(ticket)
            if found is None or (found.owner, found.sample) != (owner, sample):
                return None
            del self._waiting[ticket]
            return found.picture

    def forget(self, sample: str) -> None:
        """Drop every copy of a picture."""
        with self._gate:
            self._waiting = {key: one for key, one in self._waiting.items() if one.sample != sample}

    def _drop_old(self) -> None:
        oldest = self._clock() - SECONDS
        self._waiting = {key: one for key, one in self._waiting.items() if one.since >= oldest}
