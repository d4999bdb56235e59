"""Admission of one guard: every call has a place, from its first byte to its end.

A place holds the bytes of the document, waits for its turn, and is charged for what it uses. What is refused is
refused in the turn, when the request stands in the ledger already, so that a refusal is on record like any other; only
the bytes are not read. A call that goes away, waiting or not, leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from guardedvlm.admission.bucket import Bucket
from guardedvlm.admission.queue import FairQueue
from guardedvlm.admission.times import ServiceTimes
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.quota import Quota, TenantLimits
from guardedvlm.errors import GuardedVLMError, Overloaded, Reason, TimedOut

MEBIBYTE = 2**20
OTHER_CALLS = 64
LONGEST_RETRY = 3_600.0
"""Seconds after which a client is told to come back, at most."""
_SAVED: Mapping[Quota, tuple[str, float, float]] = {
    Quota.REQUESTS: ("requests_per_second", 1.0, 2.0),
    Quota.MEGAPIXELS: ("megapixels_per_second", 1.0, 10.0),
    Quota.OUTPUT_TOKENS: ("output_tokens_per_minute", 60.0, 60.0),
}
"""Of each rate: the limit, its seconds, and for how many seconds it may be saved up."""


class Gate:
    """Of one guard. `concurrency` documents are looked at at the same time, `queue` requests wait, and calls hold
    `queue_mebibytes` of documents, of all tenants. Used from one event loop; `clock` counts seconds as `Deadline`."""

    def __init__(
        self,
        concurrency: int,
        queue: int = 256,
        queue_mebibytes: int = 1_024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.times, self.model_times = ServiceTimes(clock), ServiceTimes(clock)
        self.turns, self.model = FairQueue(concurrency), FairQueue(1)
        self.most_waiting, self.most_bytes = queue, queue_mebibytes * MEBIBYTE
        self.refused: Counter[str] = Counter()
        """By the limit that was met (`core.quota.Quota`)."""
        self.held: Counter[str] = Counter()
        """Bytes by tenant."""
        self._buckets: dict[tuple[str, Quota], Bucket] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of documents that calls hold."""
        return self.held.total()

    @property
    def most_calls(self) -> int:
        """Calls of a listener at the same time, above which gRPC refuses them unread: twice what has a turn or waits
        for one, as others wait for the model, send their document or ask for the policy."""
        return 2 * (self.turns.slots + self.most_waiting) + OTHER_CALLS

    def waiting(self) -> Mapping[str, int]:
        """Requests that wait for their turn, and cleared ones that wait for the model."""
        return {"admission": self.turns.waiting, "model": self.model.waiting}

    def place(self, tenant: str, limits: TenantLimits) -> Place:
        """The place of a call. `close` it at the end."""
        return Place(self, tenant, limits)

    def bucket(self, tenant: str, quota: Quota, limits: TenantLimits) -> Bucket:
        """A tenant's bucket, at the rate that its limits say now."""
        name, seconds, saved = _SAVED[quota]
        rate = getattr(limits, name) / seconds
        burst, now = max(1.0, rate * saved), self.clock()
        found = self._buckets.get((tenant, quota))
        if found is None:
            found = self._buckets[tenant, quota] = Bucket(rate, burst, now)
        found.resize(rate, burst, now)
        return found


class Place:
    """One call's. Made by `Gate.place`."""

    def __init__(self, gate: Gate, tenant: str, limits: TenantLimits) -> None:
        self._gate, self._tenant, self._limits = gate, tenant, limits
        self._bytes = 0
        self._refusal: GuardedVLMError | None = None
        self._kind, self._megapixels = "", 0.0
        self._cost = 0.0
        self._began: float | None = None  # the turn
        self._entered = self._looking = False
        self._is_probe = False  # let through though it may be late
        self._reserved = self._written = 0  # output tokens

    @property
    def is_refused(self) -> bool:
        """Whether the turn will refuse, so that no document need be read."""
        return self._refusal is not None

    def arrive(self, size: int) -> None:
        """A call with a document of `size` bytes begins. Raises nothing: `turn` does."""
        gate, limits = self._gate, self._limits
        bucket = gate.bucket(self._tenant, Quota.REQUESTS, limits)
        if wait := bucket.wait(1.0, gate.clock()):
            self._refusal = self._exceeded(Quota.REQUESTS, wait)
            return
        bucket.take(1.0, gate.clock())
        if gate.held[self._tenant] + size > limits.queue_mebibytes * MEBIBYTE:
            self._refusal = self._full(Quota.QUEUE_BYTES)
        elif gate.held_bytes + size > gate.most_bytes:
            self._refusal = self._full(Quota.SERVICE_BYTES)
        else:
            self._bytes = size
            gate.held[self._tenant] += size

    def check(self) -> None:
        """Raise the refusal of a call that needs no turn."""
        if self._refusal is not None:
            raise self._refusal

    @asynccontextmanager
    async def turn(self, kind: str, deadline: Deadline, tokens: int = 0) -> AsyncIterator[None]:
        """Wait for the turn of a request that may write `tokens`, and hold it for the block, or until `looked`.

        Raises Overloaded(QUOTA_EXCEEDED | QUEUE_FULL), and TimedOut where the deadline passes in the queue, or is
        nearer than any request of this kind and tenant has taken of late.
        """
        self._kind = kind
        try:
            await self._enter(deadline, tokens)
            yield
            if self._began is not None:
                took = self._gate.clock() - self._began
                self._gate.times.note(self._tenant, kind, self._megapixels, took)
        finally:
            self.close()

    def charge(self, megapixels: float, deadline: Deadline) -> None:
        """Charge what was decoded, before anybody looks at it. Raises Overloaded(QUOTA_EXCEEDED), and TimedOut where
        hardly a document that was no larger was done in the time that is left."""
        gate, now = self._gate, self._gate.clock()
        self._megapixels = megapixels
        bucket = gate.bucket(self._tenant, Quota.MEGAPIXELS, self._limits)
        if wait := bucket.wait(megapixels, now):
            raise self._exceeded(Quota.MEGAPIXELS, wait)
        spent = now - self._began if self._began is not None else 0.0
        self._check_time(gate.times.least(self._tenant, self._kind, megapixels) - spent, deadline)
        bucket.take(megapixels, now)

    def looked(self) -> None:
        """The document is cleared: another one may be looked at while the model writes."""
        if self._looking and self._began is not None:
            self._looking = False
            self._gate.turns.release(self._tenant, self._cost, self._gate.clock() - self._began)

    @asynccontextmanager
    async def model_turn(self, slots: int, deadline: Deadline) -> AsyncIterator[None]:
        """Wait for one of the model's `slots` and hold it for the block. Raises TimedOut."""
        model = self._gate.model
        model.slots = slots
        cost = self._gate.model_times.usual(self._tenant, self._kind)
        await _before(deadline, lambda: model.take(self._tenant, cost, self._limits.weight))
        began = self._gate.clock()
        try:
            yield
        finally:
            took = self._gate.clock() - began
            self._gate.model_times.note(self._tenant, self._kind, 0.0, took)
            model.release(self._tenant, cost, took)
            model.leave(self._tenant)

    def wrote_page(self, tokens: int) -> None:
        """The model wrote so many tokens about one page, and goes on: what is above all that was set aside is owed at
        once."""
        bucket, now = self._gate.bucket(self._tenant, Quota.OUTPUT_TOKENS, self._limits), self._gate.clock()
        charged = max(self._reserved, self._written)
        self._written += tokens
        bucket.take(max(self._reserved, self._written) - charged, now)

    def wrote(self, tokens: int | None) -> None:
        """The model wrote so many tokens beside its whole pages (None: nobody knows how many, and as many count as one
        page may have), and ends: what was set aside beyond them is given back, what is above them is owed."""
        bucket, now = self._gate.bucket(self._tenant, Quota.OUTPUT_TOKENS, self._limits), self._gate.clock()
        used = self._written + (self._reserved if tokens is None else tokens)
        bucket.give_back(max(self._reserved, self._written), now)
        bucket.take(used, now)
        self._reserved = self._written = 0

    def close(self) -> None:
        """Give back all that the call holds; idempotent."""
        self.looked()
        if self._entered:
            self._entered = False
            self._gate.turns.leave(self._tenant)
        if self._reserved:
            self.wrote(0)
        gate, self._bytes, held = self._gate, 0, self._bytes
        gate.held[self._tenant] -= held
        if not gate.held[self._tenant]:
            del gate.held[self._tenant]

    async def _enter(self, deadline: Deadline, tokens: int) -> None:
        self.check()
        gate, turns = self._gate, self._gate.turns
        self._check_queue(deadline)
        if owed := gate.bucket(self._tenant, Quota.MEGAPIXELS, self._limits).wait(0.0, gate.clock()):
            raise self._exceeded(Quota.MEGAPIXELS, owed)  # nothing need be decoded to know
        self._set_aside(tokens)
        self._cost = gate.times.usual(self._tenant, self._kind)
        weight, most = self._limits.weight, self._limits.concurrency
        await _before(deadline, lambda: turns.take(self._tenant, self._cost, weight, most))
        self._entered = self._looking = True
        self._began = gate.clock()
        # Should it have waited longer than was foreseen: no worker begins what cannot end.
        self._check_time(gate.times.least(self._tenant, self._kind), deadline)

    def _check_queue(self, deadline: Deadline) -> None:
        """Raise where it could not wait, or would wait too long."""
        gate, limits, turns = self._gate, self._limits, self._gate.turns
        least = gate.times.least(self._tenant, self._kind)
        self._check_time(least, deadline)
        if turns.is_free(self._tenant, limits.concurrency):
            return
        if turns.length(self._tenant) >= limits.queue:
            raise self._full(Quota.QUEUE)
        if turns.waiting >= gate.most_waiting:
            raise self._full(Quota.SERVICE_QUEUE)
        # Of a tenant of whom nothing is known the turns before it, which are its own, may be short.
        ahead = turns.ahead(self._tenant) // turns.slots * min(least, gate.times.least_of_all())
        if deadline.remaining() < ahead + least and not self._is_probe:
            raise self._full(Quota.DEADLINE)

    def _set_aside(self, tokens: int) -> None:
        if not tokens:
            return
        gate = self._gate
        bucket = gate.bucket(self._tenant, Quota.OUTPUT_TOKENS, self._limits)
        if wait := bucket.wait(tokens, gate.clock()):
            raise self._exceeded(Quota.OUTPUT_TOKENS, wait)
        bucket.take(tokens, gate.clock())
        self._reserved = tokens

    def _check_time(self, least: float, deadline: Deadline) -> None:
        if deadline.remaining() >= least or self._is_probe:
            return
        self._is_probe = self._gate.times.is_probe(self._tenant, self._kind)
        if not self._is_probe:
            self._gate.refused[Quota.DEADLINE.value] += 1
            raise TimedOut(Reason.DEADLINE_EXCEEDED, least_seconds=round(least, 1))

    def _exceeded(self, quota: Quota, wait: float) -> Overloaded:
        self._gate.refused[quota.value] += 1
        seconds = round(min(wait + 0.001, LONGEST_RETRY), 3)  # rounded up: who comes back then gets in
        return Overloaded(Reason.QUOTA_EXCEEDED, quota=quota.value, retry_seconds=seconds)

    def _full(self, quota: Quota) -> Overloaded:
        """Come back when about half of what waits is done."""
        gate = self._gate
        gate.refused[quota.value] += 1
        seconds = gate.times.usual(self._tenant, self._kind) * (1 + gate.turns.waiting / gate.turns.slots) / 2
        return Overloaded(Reason.QUEUE_FULL, queue=quota.value, retry_seconds=round(min(seconds, LONGEST_RETRY), 3))


async def _before(deadline: Deadline, take: Callable[[], Awaitable[None]]) -> None:
    """Await a turn. Raises TimedOut(DEADLINE_EXCEEDED) when the deadline passes before."""
    try:
        async with asyncio.timeout(deadline.remaining()):
            await take()
    except TimeoutError:
        raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
