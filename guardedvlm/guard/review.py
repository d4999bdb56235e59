"""The sampler of blind review: after a request was released, the picture that was cleared may be kept.

Off unless the policy in force says otherwise; a candidate's wishes are not read. What is kept is the raster that
verification passed and that left zone 1, never a raw one and never one made for the purpose. It happens when the
request is over: whatever goes wrong is a fact of the record SAMPLED and never of the answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.record import LedgerEvent, make_entry
from guardedvlm.audit.review.pending import destroyed_entries
from guardedvlm.audit.review.store import About, Kept, SampleStore
from guardedvlm.audit.reviewed import Basis
from guardedvlm.core.clearance import ClearedImage
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard.detect.clear import is_readable
from guardedvlm.guard.files.raster import redacted_png
from guardedvlm.guard.pages import ClearedDocument, Found, FoundSheet
from guardedvlm.guard.run import Run
from guardedvlm.guard.verify import WIDER_PASSES
from guardedvlm.policy.model import Policy

SECONDS = 10.0
"""That a sample may wait for those before it. A page of 4 MP takes 0.2 s."""
MOST_WAITING = 4
"""Samples in work at the same time, each with a picture in memory; more are given up."""
DAY_SECONDS = 24 * 3600

PATIENCE = 3
"""Sweeps in a row that may fail before somebody is told."""
LOG = logging.getLogger("guardedvlm")

_DICE = secrets.SystemRandom()


@dataclass(slots=True)
class Candidate:
    """What a sample may be made of; filled in while the request runs."""

    run: Run | None = None
    found: Found | None = field(default=None, repr=False)
    cleared: ClearedDocument | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The picture that is kept, and why."""

    image: ClearedImage
    page: int  # from 0
    basis: Basis


class Reviews:
    """The sampler of one guard. Used from one event loop."""

    def __init__(self, store: SampleStore | None, ledger: Logs, key: AuditKey) -> None:
        """Without a store nothing is ever kept."""
        self._store = store
        self._ledger = ledger
        self._key = key
        self._running: set[asyncio.Task[None]] = set()
        self._one_by_one = asyncio.Lock()
        self._unrecorded: list[str] = []  # destroyed, and not in the ledger yet
        self._failed_sweeps = 0

    @property
    def healthy(self) -> bool:
        """False while sweeps leave something that should be gone, or cannot be recorded, again and again."""
        return self._failed_sweeps < PATIENCE

    @contextmanager
    def after(self) -> Iterator[Candidate]:
        """Collect for a sample, and take it when the block has ended and the request was released."""
        candidate = Candidate()
        try:
            yield candidate
        finally:
            run, cleared = candidate.run, candidate.cleared
            if self._store is not None and run is not None and cleared is not None and _is_released(run):
                choice = chosen(run.policy, candidate.found, cleared)
                if choice is not None:
                    self._begin(self._store, run, choice)

    async def sweep(self) -> None:
        """Destroy what has expired and record it. Raises nothing: what could not be destroyed now is not readable
        either, and the next sweep tries that and what is not recorded yet again."""
        if self._store is None:
            return
        reason = await self._sweep(self._store)
        self._failed_sweeps = self._failed_sweeps + 1 if reason else 0
        if reason and self._failed_sweeps == PATIENCE:
            LOG.error("%s: samples for review that have expired cannot be destroyed or recorded", reason)

    async def _sweep(self, store: SampleStore) -> Reason | None:
        """Why something is left, None when nothing is."""
        try:
            swept = await asyncio.to_thread(store.sweep)
            self._unrecorded += swept.destroyed
            while self._unrecorded:
                (entry,) = destroyed_entries(self._unrecorded[:1])
                await self._ledger.service.append(entry)
                del self._unrecorded[0]
        except GuardedVLMError as error:
            return error.reason
        except Exception:
            return Reason.INTERNAL
        return Reason.OUTPUT_UNWRITABLE if swept.failed else None

    async def close(self) -> None:
        """Wait for the samples that are in work."""
        while self._running:
            await asyncio.wait(self._running)

    def _begin(self, store: SampleStore, run: Run, choice: Choice) -> None:
        is_full = len(self._running) >= MOST_WAITING
        about = About(
            of=run.log.request,
            tenant=self._key.pseudonym(Purpose.TENANT, run.request.caller.tenant),
            policy=run.policy.digest(),
            basis=choice.basis,
            page=choice.page,
            raster=choice.image.digest,
        )
        image = None if is_full else choice.image
        with suppress(RuntimeError):  # the loop is closing: there is nobody left to tell
            task = asyncio.get_running_loop().create_task(self._keep(store, image, about, run.policy))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _keep(self, store: SampleStore, image: ClearedImage | None, about: About, policy: Policy) -> None:
        """Keep one picture and record it: nobody is shown one that no record names, whenever this process dies."""
        told: dict[str, Any] = {"tenant": about.tenant, "basis": about.basis}
        kept, failure = await self._prepared(store, image, about, policy.review.days * DAY_SECONDS)
        told |= {"sample": kept.sample, "expires": kept.expires} if kept else {"failure": failure}
        try:
            log = await self._ledger.log_for(policy.audit.retention_days)
            await log.append(make_entry(LedgerEvent.SAMPLED, None, {"sampled": told}))
        except GuardedVLMError:
            if kept:
                with suppress(GuardedVLMError):
                    await asyncio.to_thread(store.destroy, kept.sample)
            return
        if kept:
            with suppress(GuardedVLMError):  # then it is gone; its record stays without a view
                await asyncio.to_thread(store.admit, kept.sample)

    async def _prepared(
        self, store: SampleStore, image: ClearedImage | None, about: About, seconds: int
    ) -> tuple[Kept | None, Reason]:
        """The sample, or why there is none."""
        if image is None:
            return None, Reason.QUOTA_EXCEEDED
        try:
            async with asyncio.timeout(SECONDS):
                await self._one_by_one.acquire()
            try:
                kept = await asyncio.to_thread(lambda: store.prepare(redacted_png(image.raster), about, seconds))
                return kept, Reason.INTERNAL
            finally:
                self._one_by_one.release()
        except TimeoutError:
            return None, Reason.STAGE_TIMEOUT
        except GuardedVLMError as error:
            return None, error.reason
        except Exception:
            return None, Reason.INTERNAL


def _is_released(run: Run) -> bool:
    """Whether the record that releases is on disk; that it was asked for says nothing."""
    return any(record.event is State.RELEASED for record in run.log.records)


def chosen(policy: Policy, found: Found | None, cleared: ClearedDocument) -> Choice | None:
    """The picture of a released request that the policy keeps, or None: one of its different pages.

    The draw comes first and does not look at the request, so that what it takes speaks for all of them.
    """
    shown = cleared.shown()
    if _DICE.random() < policy.review.random:
        drawn = _DICE.choice(shown)
        return Choice(drawn.image, drawn.pages[0], Basis.RANDOM)
    if policy.review.margin > 0:
        page = _low_margin(policy, found, cleared)
        if page is not None:
            return Choice(cleared.images[page], page, Basis.LOW_MARGIN)
    return None


def _low_margin(policy: Policy, found: Found | None, cleared: ClearedDocument) -> int | None:
    """The first page whose clearing or verification was a near thing."""
    for page in cleared.outcomes:
        if page.passes > WIDER_PASSES:  # one more residual, and it would have been refused
            return page.index
    for sheet in found.sheets if found else ():
        if _is_barely_read(sheet, policy):
            return sheet.sheet.pages[0]
    return None


def _is_barely_read(sheet: FoundSheet, policy: Policy) -> bool:
    """Whether a line with a word that stays visible was read hardly better than the policy asks."""
    below = policy.text.min_confidence + policy.review.margin
    shown = {id(word) for word in sheet.words}
    return any(
        line.confidence < below and is_readable(line, policy) and any(id(word) in shown for word in line.words)
        for line in sheet.lines
    )
