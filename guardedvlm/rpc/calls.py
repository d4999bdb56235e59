"""The calls of a service as telemetry reads them: numbers and reasons, nothing of a call itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from guardedvlm.admission import NEVER, Gate
from guardedvlm.core.quota import Quota
from guardedvlm.errors import reason_of


class Calls:
    """Counts calls. `waiting` tells how many wait for a worker process, by role; `gate` how many wait for their turn,
    and which limits were met."""

    def __init__(self, waiting: Callable[[], Mapping[str, int]] = dict, gate: Gate | None = None) -> None:
        self.running = 0
        self.refused: Counter[str] = Counter()
        """By reason; a defect of ours is INTERNAL, a caller who went away CANCELLED."""
        self._workers = waiting
        self._gate = gate or Gate(NEVER)
        self.broken: Callable[[], Mapping[str, int]] = dict
        """1 for each part of which something newer cannot be used, else 0 (transport.reload)."""

    def waiting(self) -> Mapping[str, int]:
        """How many wait: for a process by its role, for their turn (`admission`), for the model (`model`)."""
        return {**self._gate.waiting(), **self._workers()}

    @property
    def limited(self) -> Mapping[str, int]:
        """Calls that met a limit, by the limit's name; all of them, also those that nobody met."""
        return {limit.value: self._gate.refused[limit.value] for limit in Quota}

    @property
    def held_bytes(self) -> int:
        """Bytes of documents that calls hold."""
        return self._gate.held_bytes

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a call while the block runs, and why it failed."""
        self.running += 1
        try:
            yield
        except BaseException as failure:
            self.refused[reason_of(failure).value] += 1
            raise
        finally:
            self.running -= 1
