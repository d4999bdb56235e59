"""A point in time by which a request must be done."""

from __future__ import annotations

import time
from dataclasses import dataclass

from guardedvlm.errors import Reason, TimedOut


@dataclass(frozen=True, slots=True)
class Deadline:
    """A monotonic deadline in seconds (`time.monotonic`)."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def is_past(self) -> bool:
        """Whether no time is left."""
        return self.at <= time.monotonic()

    def remaining(self) -> float:
        """Seconds left. Raises TimedOut when none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimedOut(Reason.DEADLINE_EXCEEDED)
        return left

    def capped(self, seconds: float) -> float:
        """Seconds left, at most `seconds`: a stage's own limit. Raises TimedOut when none are."""
        return min(self.remaining(), seconds)

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))
