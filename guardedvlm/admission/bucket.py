"""A token bucket: so much a second, and a burst. What is taken may be more than is there; then it is owed."""

from __future__ import annotations


class Bucket:
    """`rate` units a second, at most `burst` saved up. In any time t at most `burst + rate * t` and one request's cost
    are taken by whoever asks `wait` first."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def resize(self, rate: float, burst: float, now: float) -> None:
        """Go on with another rate. What is owed stays owed."""
        self._fill(now)
        self._rate, self._burst = rate, burst
        self._level = min(self._level, burst)

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` may be taken, 0 for now. Who asks for more than the burst waits for the whole burst."""
        self._fill(now)
        missing = min(cost, self._burst) - self._level
        return max(0.0, missing / self._rate)

    def take(self, cost: float, now: float) -> None:
        """Take `cost`, and owe what is not there."""
        self._fill(now)
        self._level -= cost

    def give_back(self, cost: float, now: float) -> None:
        """Give back what was taken and not used."""
        self._fill(now)
        self._level = min(self._burst, self._level + cost)

    def _fill(self, now: float) -> None:
        self._level = min(self._burst, self._level + self._rate * max(0.0, now - self._at))
        self._at = max(self._at, now)
