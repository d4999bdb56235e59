"""What goes on behind the pages: the index follows the ledger, and the whole ledger is verified again and again.

Both run in processes of their own, so that a page never waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardedvlm.audit.checkpoint import read_checkpoints
from guardedvlm.audit.completeness import Completeness, LedgerVerdict, LogVerdict, verify_logs
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.console.index import refresh
from guardedvlm.errors import GuardedVLMError

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
"""Between two looks for new records."""
VERIFY_SECONDS = 900.0
"""Between two verifications of the whole ledger, unless somebody asks for one."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What an auditor holds beside the ledger: public keys, and a file of checkpoints that was kept elsewhere."""

    keys: PublicKeys | None = None
    checkpoints: Path | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """The ledger as a whole at one time; `verdict` is None when it could not be read. `compared` tells whether there
    were checkpoints from elsewhere, `signed` whether signatures were checked."""

    at: datetime
    seconds: float
    verdict: LedgerVerdict | None
    compared: bool = False
    signed: bool = False

    @property
    def holds(self) -> bool:
        """Whether every log verified, nothing speaks against its being complete, and there is one."""
        return self.verdict is not None and bool(self.verdict.logs) and self.verdict.is_good

    @property
    def is_shown(self) -> bool:
        """Whether checkpoints from elsewhere show that every log is complete."""
        return bool(self.logs) and all(log.completeness is Completeness.SHOWN for log in self.logs)

    @property
    def logs(self) -> tuple[LogVerdict, ...]:
        """Each log."""
        return self.verdict.logs if self.verdict else ()

    @property
    def records(self) -> int:
        """Records that are there and verified."""
        return sum(log.report.records - log.report.pruned for log in self.logs if log.report)


def verify_all(ledger: Path, outside: Outside = Outside()) -> Verified:  # frozen
    """Verify every log of a ledger, record by record, and against the checkpoints."""
    began = datetime.now(UTC)
    verdict: LedgerVerdict | None = None
    with contextlib.suppress(GuardedVLMError):
        given = read_checkpoints(outside.checkpoints) if outside.checkpoints else None
        verdict = verify_logs(ledger, given, outside.keys)
    seconds = (datetime.now(UTC) - began).total_seconds()
    return Verified(began, seconds, verdict, outside.checkpoints is not None, outside.keys is not None)


class Watch:
    """Keeps the index of `ledger` in `cache` and the last verification."""

    def __init__(self, ledger: Path, cache: Path, outside: Outside = Outside()) -> None:  # frozen
        self.ledger = ledger
        self.cache = cache
        self.outside = outside
        self.verified: Verified | None = None
        self.verifying = False
        self.failed = False
        """Whether the last look at the ledger, or the cache folder, failed."""
        self._ask = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Index and verify until the end of the block."""
        tasks = [asyncio.create_task(self._index()), asyncio.create_task(self._verify())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def verify_soon(self) -> None:
        """Ask for a verification now; one that runs is not begun again."""
        if not self.verifying:
            self.verifying = True
            self._ask.set()

    async def _index(self) -> None:
        while True:
            with _worker() as worker, contextlib.suppress(BrokenProcessPool):
                while True:
                    await self._look(worker)
                    await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, worker: Executor) -> None:
        """Index what is new. Raises BrokenProcessPool; whatever else goes wrong must not end the looking."""
        try:
            await asyncio.get_running_loop().run_in_executor(worker, refresh, self.ledger, self.cache)
            self.failed = False
        except Exception as failure:
            self.failed = True
            if isinstance(failure, BrokenProcessPool):
                raise
            if not isinstance(failure, GuardedVLMError):  # its text could hold what a record holds
                LOG.error("the index failed: %s", type(failure).__name__)
            self.failed = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _verify(self) -> None:
        while True:
            self.verifying = True
            with _worker() as worker:
                self.verified = await self._verified(worker)
            self.verifying = False
            self._ask.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ask.wait(), VERIFY_SECONDS)

    async def _verified(self, worker: Executor) -> Verified:
        """The ledger as it is now; whatever goes wrong, a ledger that could not be verified."""
        began = datetime.now(UTC)
        try:
            return await asyncio.get_running_loop().run_in_executor(worker, verify_all, self.ledger, self.outside)
        except Exception as failure:
            self.failed = True
            LOG.error("the verification failed: %s", type(failure).__name__)
            return Verified(began, (datetime.now(UTC) - began).total_seconds(), None)


@contextlib.contextmanager
def _worker() -> Iterator[ProcessPoolExecutor]:
    """One fresh process, ended with the block even in the middle of its work."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        for process in list(getattr(pool, "_processes", {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
