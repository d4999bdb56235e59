"""Turns, shared fairly between tenants: start-time fair queueing (Goyal, Vin, Cheng 1996) over the time they take.

Each tenant has a line. Its tag is the time that it has had, divided by its weight; the next turn goes to the line with
the least tag. A turn is charged what is usual when it begins, and what it took when it ends. A line that was empty has
saved up SAVED_TURNS at most: a tenant below its share goes first, also when several of its requests come together, and
then has to wait like others. So a tenant with a thousand requests in its line delays those of another, who stays below
its share, by what is left of a turn; and nobody is held up by more than the turns that others may save up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

SAVED_TURNS = 8
"""Of a line that was empty. With none, a tenant at four fifths of its share would wait behind its own last request."""
NEVER = 10**9
"""Requests at the same time that no tenant has: no limit."""


@dataclass(slots=True, eq=False)
class _Waiter:
    given: asyncio.Future[None]
    cost: float
    number: int


@dataclass(slots=True)
class _Line:
    weight: int = 1
    most: int = NEVER  # requests at the same time
    tag: float = 0.0
    held: int = 0  # requests that have begun and have not left
    waiting: deque[_Waiter] = field(default_factory=deque)


class FairQueue:
    """Turns on `slots` places. Used from one event loop."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running = 0
        self.waiting = 0
        self._lines: dict[str, _Line] = {}
        self._now = 0.0  # the tag of the turn that was given last
        self._count = 0

    def length(self, tenant: str) -> int:
        """Requests of a tenant that wait."""
        line = self._lines.get(tenant)
        return len(line.waiting) if line else 0

    def is_free(self, tenant: str, most: int) -> bool:
        """Whether a turn would be given at once."""
        line = self._lines.get(tenant)
        return self.running < self.slots and not self.waiting and (line is None or line.held < most)

    def ahead(self, tenant: str) -> int:
        """Turns that are given before one that comes now, at the least: its own line, and as many of each line that has
        had less."""
        own = self._lines.get(tenant, _Line())
        before = len(own.waiting)
        others = (line for line in self._lines.values() if line.tag < own.tag and line.held < line.most)
        return before + sum(min(len(line.waiting), before) for line in others)

    async def take(self, tenant: str, cost: float, weight: int = 1, most: int = NEVER) -> None:
        """Wait for a turn; `release` ends it, and `leave` the request. Who goes away while waiting has no turn."""
        line = self._lines.setdefault(tenant, _Line(tag=self._now))  # who is new has saved up nothing
        line.weight, line.most = weight, most
        if not line.waiting:
            line.tag = max(line.tag, self._now - SAVED_TURNS * cost / weight)
        self._count += 1
        waiter = _Waiter(asyncio.get_running_loop().create_future(), cost, self._count)
        line.waiting.append(waiter)
        self.waiting += 1
        self._give()
        try:
            await waiter.given
        except BaseException:
            if waiter.given.cancelled():
                self._drop(line, waiter)
            else:  # the turn was given, and nobody is there to use it
                self.release(tenant, cost, 0.0)
                self.leave(tenant)
            raise

    def release(self, tenant: str, cost: float, took: float) -> None:
        """End a turn that was charged `cost` and took `took`."""
        line = self._lines[tenant]
        line.tag += (took - cost) / line.weight
        self.running -= 1
        self._give()

    def leave(self, tenant: str) -> None:
        """End a request that had a turn."""
        self._lines[tenant].held -= 1
        self._give()

    def check_integrity(self) -> None:
        """Raise AssertionError where the numbers do not hold together."""
        assert self.running >= 0
        assert self.waiting == sum(len(line.waiting) for line in self._lines.values())
        assert all(line.held >= 0 for line in self._lines.values())
        able = [line for line in self._lines.values() if line.waiting and line.held < line.most]
        assert not able or self.running >= self.slots, "a place is free and somebody waits"

    def _give(self) -> None:
        """Give turns while places are free."""
        while self.running < self.slots:
            for line in self._lines.values():
                while line.waiting and line.waiting[0].given.cancelled():  # it went away a moment ago
                    self._drop(line, line.waiting[0])
            ready = [(line.tag, line.waiting[0].number, line) for line in self._lines.values() if _is_ready(line)]
            if not ready:
                return
            _, _, line = min(ready, key=lambda one: one[:2])
            waiter = line.waiting.popleft()
            self.waiting -= 1
            self._now = max(self._now, line.tag)
            line.tag += waiter.cost / line.weight
            line.held += 1
            self.running += 1
            waiter.given.set_result(None)

    def _drop(self, line: _Line, waiter: _Waiter) -> None:
        if waiter in line.waiting:
            line.waiting.remove(waiter)
            self.waiting -= 1


def _is_ready(line: _Line) -> bool:
    return bool(line.waiting) and line.held < line.most
