"""The calls of a service as telemetry reads them: numbers and reasons, nothing of a call itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from guardedvlm.errors import GuardedVLMError, Reason


class Calls:
    """Counts calls. `waiting` tells how many wait for a worker process, by role."""

    def __init__(self, waiting: Callable[[], Mapping[str, int]] = dict) -> None:
        self.running = 0
        self.refused: Counter[str] = Counter()
        """By reason; a defect of ours is INTERNAL, a caller who went away CANCELLED."""
        self.waiting = waiting
        self.broken: Callable[[], Mapping[str, int]] = dict
        """1 for each part of which something newer cannot be used, else 0 (transport.reload)."""

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a call while the block runs, and why it failed."""
        self.running += 1
        try:
            yield
        except BaseException as failure:
            self.refused[_reason(failure).value] += 1
            raise
        finally:
            self.running -= 1


def _reason(failure: BaseException) -> Reason:
    if isinstance(failure, GuardedVLMError):
        return failure.reason
    return Reason.INTERNAL if isinstance(failure, Exception) else Reason.CANCELLED
