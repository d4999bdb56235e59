"""Workers of one role, beside each other."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import Reason, TimedOut
from guardedvlm.worker.message import Array
from guardedvlm.worker.process import Worker
from guardedvlm.worker.spec import Challenge, WorkerSpec

T = TypeVar("T")

TURN_SECONDS = 0.02
"""Before a look whether the worker whose turn it is has become idle."""


class WorkerPool:
    """`replicas` workers of one role; a call goes to an idle one, others wait in order."""

    def __init__(self, spec: WorkerSpec, replicas: int = 1) -> None:
        self.spec = spec
        self.workers = tuple(Worker(spec) for _ in range(replicas))
        self.waiting = 0
        """Calls that wait for an idle worker."""
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self.workers:
            self._idle.put_nowait(worker)

    def start(self) -> None:
        """Start every child and wait for them."""
        for worker in self.workers:
            worker.start()

    async def call(
        self,
        method: str,
        result: type[T],
        /,
        *arrays: Array,
        deadline: Deadline,
        challenges: Sequence[Challenge] = (),
        **args: Any,
    ) -> tuple[T, list[Array]]:
        """As `Worker.call`, and TimedOut(DEADLINE_EXCEEDED); the wait for an idle worker counts too. With `challenges`
        the same worker is asked those first."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                worker = await self._next_idle()
                # The child goes on when its caller leaves and becomes idle when it is done: killing it would let
                # callers with short deadlines keep every role loading its weights.
                work = functools.partial(worker.call, method, result, *arrays, **args)
                call = asyncio.ensure_future(_proved(worker, challenges, work))
                call.add_done_callback(functools.partial(self._release, worker))
                return await asyncio.shield(call)
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None

    async def call_each(
        self, method: str, result: type[T], /, *arrays: Array, deadline: Deadline, **args: Any
    ) -> tuple[T, ...]:
        """The values of `Worker.call` on every worker, one after the other. Raises as `call`."""
        found: dict[Worker, T] = {}
        try:
            async with asyncio.timeout(deadline.remaining()):
                while len(found) < len(self.workers):
                    worker = await self._next_idle()
                    if worker in found:  # its turn was before: the next one is busy
                        self._idle.put_nowait(worker)
                        await asyncio.sleep(TURN_SECONDS)
                        continue
                    call = asyncio.ensure_future(worker.call(method, result, *arrays, **args))
                    call.add_done_callback(functools.partial(self._release, worker))
                    found[worker] = (await asyncio.shield(call))[0]
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
        return tuple(found.values())

    async def _next_idle(self) -> Worker:
        self.waiting += 1
        try:
            return await self._idle.get()
        finally:
            self.waiting -= 1

    def _release(self, worker: Worker, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # marks it as seen: the awaiting caller may be gone
        self._idle.put_nowait(worker)

    @property
    def restarts(self) -> int:
        """How many children had to be replaced."""
        return sum(worker.restarts for worker in self.workers)

    def replace(self) -> None:
        """End every child; the next calls start others."""
        for worker in self.workers:
            worker.replace()

    def stop(self) -> None:
        """End every child; idempotent."""
        for worker in self.workers:
            worker.stop()


async def _proved(
    worker: Worker, challenges: Sequence[Challenge], work: Callable[[], Awaitable[tuple[T, list[Array]]]]
) -> tuple[T, list[Array]]:
    for challenge in challenges:
        await worker.challenged(challenge)
    return await work()
