"""Certificates, keys and the tenants file, taken anew when their files change: each as a whole, without a restart.

Files that cannot be used leave what was in force, and are told by `broken` until they are mended. Two files that belong
together (a certificate and its key) may change one after the other: between the two they are broken, and nothing
changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from guardedvlm.errors import ConfigurationError

TRUST = "guardedvlm.trust"
"""In health: NOT_SERVING while something new cannot be used and something older is in force."""
RETRY_SECONDS = 10.0
"""Between two looks at files that could not be used: a certificate may be valid only from now on."""
LOG = logging.getLogger("guardedvlm")

Stamp = tuple[tuple[int, ...] | None, ...]


class Part(StrEnum):
    """What may change; also a label of a metric."""

    SERVER_TLS = "server_tls"
    INFERENCE_TLS = "inference_tls"
    TENANTS = "tenants"
    JWKS = "jwks"


@dataclass(slots=True)
class Watched:
    """Files that make one thing: `load` reads it, in a thread, and `take` puts it in force, in the event loop."""

    part: Part
    files: Sequence[Path]
    load: Callable[[], Any]
    take: Callable[[Any], None]
    _seen: Stamp | None = field(default=None, init=False)
    _broken_at: float | None = field(default=None, init=False)

    @property
    def is_broken(self) -> bool:
        """Whether what the files hold now is not in force."""
        return self._broken_at is not None

    async def look(self, now: float) -> None:
        """Take over what has changed. Raises nothing that the files can cause."""
        stamp = await asyncio.to_thread(_stamp, self.files)
        is_retry = self._broken_at is not None and now - self._broken_at >= RETRY_SECONDS
        if stamp == self._seen and not is_retry:
            return
        self._seen = stamp  # of before the reading: what changes meanwhile is seen at the next look
        try:
            self.take(await asyncio.to_thread(self.load))
        except ConfigurationError as problem:
            self._refuse(now, problem.reason, problem.place)
        except Exception as problem:  # files that nobody thought of: not in force, and told as that
            self._refuse(now, type(problem).__name__, self.part)
        else:
            self._broken_at = None

    def _refuse(self, now: float, reason: str, place: str) -> None:
        if not self.is_broken:
            LOG.error("%s at %s: not taken; what was in force stays", reason, place)
        self._broken_at = now


class Reloads:
    """All that is watched. Used from one task; `clock` counts seconds."""

    def __init__(self, watched: Sequence[Watched], clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = tuple(watched)
        self._clock = clock

    async def look(self) -> None:
        """Take over what has changed."""
        for one in self._watched:
            await one.look(self._clock())

    def broken(self) -> Mapping[str, int]:
        """1 for each part whose new files cannot be used, else 0."""
        return {one.part.value: int(one.is_broken) for one in self._watched}


def _stamp(files: Sequence[Path]) -> Stamp:
    """What changes when a file is written or replaced, also behind a link (Kubernetes swaps one for a whole folder)."""
    return tuple(map(_stamp_of, files))


def _stamp_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
