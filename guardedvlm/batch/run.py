"""A batch on its way: what is to be done, by whom, and when to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from guardedvlm.batch.asking import Asker, Reading, Task, outcome_of
from guardedvlm.batch.catalog import Catalog
from guardedvlm.batch.rows import Answered, Failed, Outcome
from guardedvlm.batch.store import Progress, Store
from guardedvlm.errors import InvalidInput, Reason, Unavailable

MOST_ATTEMPTS = 5
"""Runs that may die with a document in work before it counts as one that kills. What was in work at a kill comes last:
what was only beside such a document is done before it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run stops by itself."""

    most_failures: int | None = None  # of this run; None: never
    retry_failed: bool = False


class Source(Protocol):
    """Who does the work: documents in, outcomes out, in any order."""

    def outcomes(self, tasks: Sequence[Task], stop: asyncio.Event) -> AsyncGenerator[tuple[Task, Outcome | None], None]:
        """What becomes of each task, None for one that was called off. After `stop` no task is begun. Raises what stops
        the batch (`asking.STOPS`)."""
        ...


@dataclass(slots=True)
class Tally:
    """What one run did."""

    answered: int = 0
    failed: Counter[Reason] = field(default_factory=Counter)

    def take(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if isinstance(outcome, Answered):
            self.answered += 1
        else:
            self.failed[outcome.error.reason] += 1


def pending(catalog: Catalog, progress: Progress, limits: Limits) -> tuple[list[Task], Mapping[Task, Failed]]:
    """Documents that are to be asked about, those that a killed run left in work last; and what has failed already:
    files that cannot be read, and documents with which the process died again and again."""
    tasks: list[Task] = []
    failed: dict[Task, Failed] = {}
    for document, file in catalog.documents().items():
        if document in progress.answered or (document in progress.failed and not limits.retry_failed):
            continue
        task = Task(document, file.uri)
        if not file.is_readable:
            failed[task] = Failed(InvalidInput(Reason.INPUT_UNREADABLE))
        elif progress.begun[document] >= MOST_ATTEMPTS:
            failed[task] = Failed(Unavailable(Reason.WORKER_DIED))
        else:
            tasks.append(task)
    return sorted(tasks, key=lambda task: progress.begun[task.document]), failed


async def run(
    tasks: Sequence[Task],
    source: Source,
    store: Store,
    limits: Limits,
    stop: asyncio.Event,
    told: Callable[[Task, Outcome], None],
) -> Tally:
    """Ask about every task until all are done or `stop` is set. `told` learns each outcome once it is durable.

    Raises what stops the batch, and OSError where the folder cannot be written; all that was done stays done.
    """
    tally = Tally()
    async with aclosing(source.outcomes(tasks, stop)) as outcomes:
        async for task, outcome in outcomes:
            if outcome is None:
                store.call_off(task.document)
                continue
            await _to_its_end(asyncio.to_thread(store.end, task.document, outcome))
            tally.take(outcome)
            told(task, outcome)
            if limits.most_failures is not None and tally.failed.total() > limits.most_failures:
                stop.set()
    return tally


async def _to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Wait for a step in a thread, also when cancelled: nothing else touches the store before it is done."""
    working = asyncio.ensure_future(step)
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with contextlib.suppress(asyncio.CancelledError):  # asked to stop once more: the step takes milliseconds
                await asyncio.wait({working})
        working.result()
        raise


class Here:
    """`concurrency` documents at a time, in this process's event loop."""

    def __init__(self, asker: Asker, reading: Reading, concurrency: int, store: Store) -> None:
        self._asker = asker
        self._reading = reading
        self._concurrency = concurrency
        self._store = store

    async def outcomes(
        self, tasks: Sequence[Task], stop: asyncio.Event
    ) -> AsyncGenerator[tuple[Task, Outcome | None], None]:
        """As `Source.outcomes`."""
        waiting = iter(tasks)
        running: dict[asyncio.Task[Outcome], Task] = {}
        try:
            while True:
                while len(running) < self._concurrency and not stop.is_set() and (task := next(waiting, None)):
                    self._store.begin(task.document)
                    running[asyncio.ensure_future(outcome_of(task, self._reading, self._asker))] = task
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for one in sorted(done, key=lambda each: each.exception() is not None):  # what is done counts first
                    outcome = one.result()
                    yield running.pop(one), outcome
        finally:
            await self._call_off(running)

    async def _call_off(self, running: Mapping[asyncio.Task[Outcome], Task]) -> None:
        for one in running:
            one.cancel()
        try:
            await asyncio.gather(*running, return_exceptions=True)
        finally:  # also when cancelled again: what was called off was no attempt
            for task in running.values():
                self._store.call_off(task.document)
