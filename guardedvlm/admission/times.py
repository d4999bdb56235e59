"""How long requests take, as measured: the least that one may take, and what is usual.

The least is a lower estimate on purpose: a request is refused early only when it would very likely have ended too late,
and one that could have been in time is not turned away. What one tenant sends says nothing of another's requests, and
what was long ago nothing of today's; now and then one is let through against the estimate, so that it corrects itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

KEPT = 256
"""Newest requests of a tenant and kind."""
KEEP_SECONDS = 300.0
"""Older ones are forgotten."""
ENOUGH = 20
"""Below so many, nothing is said of the least."""
SHARE = 0.05
"""Of the requests that were no larger were faster than the least."""
UNKNOWN_SECONDS = 1.0
"""What is usual, as long as nobody knows; turns are corrected by what they took."""
PROBE_SECONDS = 30.0
"""Between two requests of a tenant and kind that are let through against the estimate."""


class ServiceTimes:
    """Seconds of requests that were released, by tenant and kind, each with its megapixels. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, keep_seconds: float = KEEP_SECONDS) -> None:
        self._clock, self._keep = clock, keep_seconds
        self._seen: dict[tuple[str, str], deque[tuple[float, float, float]]] = {}
        self._probed: dict[tuple[str, str], float] = {}

    def note(self, tenant: str, kind: str, megapixels: float, seconds: float) -> None:
        """Learn from a request that is over."""
        seen = self._seen.setdefault((tenant, kind), deque(maxlen=KEPT))
        seen.append((self._clock(), megapixels, seconds))

    def least(self, tenant: str, kind: str, megapixels: float | None = None) -> float:
        """What no request of this kind took less than, whatever its size; with `megapixels`, what hardly one that was
        no larger falls below. 0 where too few were seen."""
        fresh = self._fresh(tenant, kind)
        seconds = sorted(took for _, size, took in fresh if megapixels is None or size <= megapixels)
        if len(seconds) < ENOUGH:
            return 0.0
        return seconds[0 if megapixels is None else int(SHARE * len(seconds))]

    def least_of_all(self) -> float:
        """The least of the tenant and kind that is fastest."""
        return min((self.least(*key) for key in list(self._seen) if self._fresh(*key)), default=0.0)

    def seconds(self, kind: str) -> list[float]:
        """What is known of a kind, of all tenants."""
        return [took for key in self._seen if key[1] == kind for _, _, took in self._fresh(*key)]

    def usual(self, tenant: str, kind: str) -> float:
        """The mean."""
        seen = self._fresh(tenant, kind)
        return sum(took for _, _, took in seen) / len(seen) if seen else UNKNOWN_SECONDS

    def is_probe(self, tenant: str, kind: str) -> bool:
        """Whether a request that the estimate would refuse is let through all the same: one in PROBE_SECONDS."""
        now = self._clock()
        if now - self._probed.setdefault((tenant, kind), now) < PROBE_SECONDS:
            return False
        self._probed[tenant, kind] = now
        return True

    def _fresh(self, tenant: str, kind: str) -> deque[tuple[float, float, float]]:
        seen = self._seen.get((tenant, kind), deque())
        while seen and seen[0][0] < self._clock() - self._keep:
            seen.popleft()
        return seen
