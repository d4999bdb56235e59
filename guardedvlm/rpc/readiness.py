"""Whether the service is ready: several checks, each of which may fail, raise or hang, and none of which stops another.

A check that does not come back in time has failed until it does, and is not begun a second time meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from guardedvlm.transport.health import HealthServer

CHECK_SECONDS = 5.0
"""For one check. A signer that does not answer takes three."""
LOG = logging.getLogger("guardedvlm")

Check = Callable[[], Awaitable[bool]]


class Bounded:
    """A check with a limit. Used from one event loop."""

    def __init__(self, check: Check, seconds: float = CHECK_SECONDS) -> None:
        self._check = check
        self._seconds = seconds
        self._running: asyncio.Future[bool] | None = None

    async def __call__(self) -> bool:
        """What the check says; False where it raises or does not say."""
        if self._running is None:
            self._running = asyncio.ensure_future(self._check())
        done, _ = await asyncio.wait([self._running], timeout=self._seconds)
        if not done:
            return False
        running, self._running = self._running, None
        return not running.cancelled() and running.exception() is None and running.result()

    def close(self) -> None:
        """Give up a check that runs."""
        if self._running is not None:
            self._running.cancel()


class Readiness:
    """Sets the readiness of `service` by `checks`, and of each report by its own check."""

    def __init__(
        self, health: HealthServer, service: str, checks: Mapping[str, Check], reports: Mapping[str, Check]
    ) -> None:
        self._health = health
        self._service = service
        self._checks = {name: Bounded(check) for name, check in checks.items()}
        self._reports = {name: Bounded(check) for name, check in reports.items()}
        self._failing: tuple[str, ...] = ()

    async def look(self) -> None:
        """Ask every check, and tell. Raises nothing that a check can cause."""
        every = {**self._checks, **self._reports}
        answers = dict(zip(every, await asyncio.gather(*(check() for check in every.values())), strict=True))
        failing = tuple(name for name in self._checks if not answers[name])
        if failing != self._failing:
            LOG.warning("not ready: %s", ", ".join(failing)) if failing else LOG.warning("ready again")
        self._failing = failing
        for name in self._reports:
            await self._health.set_ready(name, answers[name])
        await self._health.set_ready(self._service, not failing)

    def close(self) -> None:
        """Give up the checks that run."""
        for check in (*self._checks.values(), *self._reports.values()):
            check.close()
