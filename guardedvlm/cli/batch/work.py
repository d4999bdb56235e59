"""A batch at work: survey the files, ask about what is pending, end in order when interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager

from guardedvlm.app import running_guard
from guardedvlm.batch import store as folders
from guardedvlm.batch.asking import GuardHere, Reading, Service, Task
from guardedvlm.batch.catalog import Catalog, survey
from guardedvlm.batch.inputs import Inputs
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.manifest import Manifest, keep_manifest
from guardedvlm.batch.on_ray import OnRay
from guardedvlm.batch.order import Order
from guardedvlm.batch.rows import Failed, Outcome
from guardedvlm.batch.run import Here, Source, pending, run
from guardedvlm.batch.store import Store, open_store, read_progress
from guardedvlm.batch.tables import read_catalog, write_catalog
from guardedvlm.cli.batch.job import Job, Terms, terms_of
from guardedvlm.cli.batch.summary import print_summary, progress_bar
from guardedvlm.cli.local import local_caller
from guardedvlm.cli.output import err, exit_code_of
from guardedvlm.cli.settings import policy_file
from guardedvlm.core.tenant import Role
from guardedvlm.errors import Reason
from guardedvlm.evidence import evidence_signer
from guardedvlm.policy.model import Policy

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it: 128 and the number of SIGINT."""


def count_batch(found: Inputs, job: Job) -> int:
    """What a run would find and do; nothing is written."""
    place = job.output / folders.STATE / folders.KEY
    key = BatchKey.load(place) if place.exists() else BatchKey.fresh()
    catalog = _surveyed(found, read_catalog(job.output / folders.NAMES), key)
    progress = read_progress(job.output)
    tasks, _ = pending(catalog, progress, job.limits)
    print_summary(catalog, progress, job.output, ("would be asked about", len(tasks)), found.others)
    return 0


def run_batch(found: Inputs, job: Job) -> int:
    """Do it; the exit code tells what the tables hold in the end."""
    terms = terms_of(job)
    with open_store(job.output) as store:
        key = BatchKey.load_or_create(job.output / folders.STATE / folders.KEY)
        keep_manifest(job.output / folders.MANIFEST, Manifest.of(job.wanted, terms.name, terms.digest, key))
        catalog = _surveyed(found, read_catalog(job.output / folders.NAMES), key)
        write_catalog(job.output / folders.NAMES, catalog)
        tasks, lost = pending(catalog, store.progress, job.limits)
        for task, failed in lost.items():
            store.end(task.document, failed)
        try:
            is_interrupted = bool(tasks) and asyncio.run(_asked(tasks, job, terms, store, key))
        finally:
            print_summary(catalog, store.progress, job.output, None, found.others)
        return INTERRUPTED if is_interrupted else _code(catalog, store)


def _code(catalog: Catalog, store: Store) -> int:
    rows = [store.progress.failed[name] for name in catalog.documents() if name in store.progress.failed]
    return max((exit_code_of(Reason(row["reason"]), row["code"]) for row in rows), default=0)


def _surveyed(found: Inputs, known: Catalog, key: BatchKey) -> Catalog:
    total = len(found.files) + len(found.unreadable)
    with progress_bar() as bar:
        line = bar.add_task("looking", total=total)
        return survey(found, known, key, lambda: bar.advance(line))


async def _asked(tasks: Sequence[Task], job: Job, terms: Terms, store: Store, key: BatchKey) -> bool:
    """Whether it was interrupted. Raises what stops the batch."""
    stop = asyncio.Event()
    with _interruptible(stop) as interrupted, progress_bar() as bar:
        line = bar.add_task("starting", total=len(tasks))
        failed = 0

        def told(_: Task, outcome: Outcome) -> None:
            nonlocal failed
            failed += isinstance(outcome, Failed)
            bar.update(line, advance=1, description=f"asking, {failed} failed" if failed else "asking")

        async with AsyncExitStack() as parts:
            source = await _source(job, terms, store, key, parts)
            bar.update(line, description="asking")
            with contextlib.suppress(asyncio.CancelledError):
                await run(tasks, source, store, job.limits, stop, told)
    return interrupted.is_set()


async def _source(job: Job, terms: Terms, store: Store, key: BatchKey, parts: AsyncExitStack) -> Source:
    reading = Reading(key, terms.max_bytes)
    if job.where is not None:
        client = parts.enter_context(job.where.connected(timeout=terms.max_seconds))
        asker = Service(client, job.wanted, job.receipts, job.concurrency)
        return Here(asker, reading, job.concurrency, store)
    assert job.policy is not None
    if job.ray is not None:
        return OnRay(_order(job, job.policy), key, job.ray)
    guard = await parts.enter_async_context(running_guard(job.settings))
    here = GuardHere(guard, job.policy, job.wanted, local_caller(Role.CALLER), job.receipts)
    return Here(here, reading, job.concurrency, store)


def _order(job: Job, policy: Policy) -> Order:
    """What the guards on Ray must know. The keys are made here once: several guards would each begin a ring."""
    with ExitStack() as parts:
        evidence_signer(job.settings, parts)
    return Order(
        state=job.output / folders.STATE,
        settings=job.settings,
        policy=policy_file(job.policy_place).resolve(),
        policy_digest=policy.digest(),
        wanted=job.wanted,
        caller=local_caller(Role.CALLER).name,
        concurrency=job.concurrency,
        receipts=job.receipts,
    )


@contextmanager
def _interruptible(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """Ctrl-C or SIGTERM: what is in work may end; a second time: it is called off."""
    interrupted, loop, this = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None

    def interrupt() -> None:
        if interrupted.is_set():
            this.cancel()
            return
        interrupted.set()
        stop.set()
        err.print("stopping when what is in work is done; once more to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
