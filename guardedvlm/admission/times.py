"""How long requests take, as measured: the least that one may take, and what is usual.

The least is a lower estimate on purpose: a request is refused early only when it would very likely have ended too late,
and one that could have been in time is not turned away.
"""

from __future__ import annotations

from collections import deque

KEPT = 256
"""Newest requests of a kind."""
ENOUGH = 20
"""Below so many, nothing is said of the least."""
SHARE = 0.05
"""Of the requests were faster than the least."""
UNKNOWN_SECONDS = 1.0
"""What is usual, as long as nobody knows; turns are corrected by what they took."""


class ServiceTimes:
    """Seconds of requests that were released, by kind, each with its megapixels."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, float]]] = {}

    def note(self, kind: str, megapixels: float, seconds: float) -> None:
        """Learn from a request that is over."""
        self._seen.setdefault(kind, deque(maxlen=KEPT)).append((megapixels, seconds))

    def least(self, kind: str, megapixels: float | None = None) -> float:
        """What hardly a request of this kind falls below; with `megapixels`, of those that were no larger. 0 where too
        few were seen."""
        seconds = sorted(took for size, took in self._seen.get(kind, ()) if megapixels is None or size <= megapixels)
        return seconds[int(SHARE * len(seconds))] if len(seconds) >= ENOUGH else 0.0

    def least_of_all(self) -> float:
        """The least of the kind that is fastest."""
        return min((self.least(kind) for kind in self._seen), default=0.0)

    def seconds(self, kind: str) -> list[float]:
        """What is known of a kind."""
        return [took for _, took in self._seen.get(kind, ())]

    def usual(self, kind: str) -> float:
        """The mean."""
        seen = self._seen.get(kind, ())
        return sum(took for _, took in seen) / len(seen) if seen else UNKNOWN_SECONDS
