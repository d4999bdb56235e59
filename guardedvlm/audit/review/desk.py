"""The reviewer's desk: which samples wait, one sample's picture, a mark. What happens here is in the log `review`.

The reviewer is blind: before the mark the desk gives the picture and its expiry, and neither tenant, caller, policy,
reason for the sample nor what the machine said. A view is durable before the picture is shown. A mark is written down
beside the samples before anything is done about it, so that a leak is neither forgotten nor kept when the process dies
in between: `leaked` destroys key and picture, then records mark and incident; no record tells of a destruction that was
not. Each batch has a checkpoint where somebody signs: a log without its end, or no log, then shows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardedvlm.audit.checkpointer import Checkpointed
from guardedvlm.audit.digest import AuditKey, Purpose
from guardedvlm.audit.grid import CELLS
from guardedvlm.audit.record import Entry, LedgerEvent, Record, make_entry
from guardedvlm.audit.review.pending import PendingMarks, Waiting, destroyed_entries, marked_entries
from guardedvlm.audit.review.store import Kept, Opened, SampleStore
from guardedvlm.audit.reviewed import ReviewVerdict
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import SinkFailed
from guardedvlm.audit.verify import read_records
from guardedvlm.audit.writer import ChainWriter, Head
from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, GuardedVLMError, InvalidInput, Reason, Refused

LOG = "review"
"""The log of reviewers' processes, in the ledger's folder: the service's own logs have one writer, the service."""
WAIT_SECONDS = 5.0
"""For another reviewer's process to let go of the log; it holds it for one batch."""
SEGMENT_BYTES = 2**16
"""Of the log: each batch opens it, and an opening checks the whole of its newest segment."""


@dataclass(frozen=True, slots=True)
class _Durable:
    """The log as it is told in a checkpoint."""

    folder: Path
    head: Head


class ReviewDesk:
    """The desk over `store`, with the log in `ledger`. Safe to use from several threads and processes."""

    def __init__(
        self,
        store: SampleStore,
        ledger: Path,
        key: AuditKey,
        origin: str,
        checkpoint: Callable[[Checkpointed], None] | None = None,
    ) -> None:
        """`origin` is the pseudonym of the machine (`AuditKey.pseudonym(Purpose.REPLICA, ...)`). `checkpoint` writes
        one of the log after each batch; where it fails, the next one covers what this one would have."""
        self._store = store
        self._pending = PendingMarks(store.folder)
        self._unrecorded: list[str] = []  # destroyed, and not in the ledger yet
        self._sweeping = threading.Lock()
        self._log = ledger / LOG
        self._key = key
        self._origin = origin
        self._checkpoint = checkpoint
        self._is_untold = False  # the last batch has no checkpoint
        self._gate = threading.Lock()

    def pseudonym(self, reviewer: str) -> str:
        """What the ledger calls a reviewer."""
        return self._key.pseudonym(Purpose.REVIEWER, reviewer)

    def queue(self, *, marked: bool = False) -> tuple[Kept, ...]:
        """Samples that nobody has marked yet (or all), in the order of their random names."""
        seen = frozenset(one.sample for one in self._pending.list_waiting() if one.is_leak or not marked)
        seen |= frozenset() if marked else self._marked()
        return tuple(kept for kept in self._store.list_kept() if kept.sample not in seen)

    def view(self, sample: str, reviewer: str) -> bytes:
        """A sample's picture, as PNG, once the view is on record.

        Raises Refused(SAMPLE_GONE), and Unavailable or ConfigurationError(LEDGER_UNWRITABLE): then nothing is shown.
        """
        opened = self._open(sample)
        viewed = {"sample": sample, "reviewer": self.pseudonym(reviewer)}
        self._record([make_entry(LedgerEvent.VIEWED, None, {"viewed": viewed})])
        return opened.picture

    def mark(
        self,
        sample: str,
        reviewer: str,
        verdict: ReviewVerdict,
        kinds: Collection[Kind] = (),
        cells: Collection[tuple[int, int]] = (),
    ) -> None:
        """Record what a reviewer says; `leaked` destroys the sample at once and opens an incident.

        `kinds` leaked or were hidden for nothing, `cells` say where: (row, column) of a 32 x 32 grid. Raises
        InvalidInput(FIELD_INVALID) when verdict, kinds and cells do not fit, Refused(SAMPLE_UNSEEN) when this reviewer
        was not shown the sample, Refused(SAMPLE_GONE), what `view` raises when the log cannot be written (a leaked
        sample is destroyed all the same, and the mark is recorded with the next thing that is), and
        ConfigurationError(OUTPUT_UNWRITABLE) when a leaked sample cannot be destroyed: no record says then that it is.
        """
        grid = grid_of(cells)
        if (verdict is ReviewVerdict.CLEAN) != (not kinds) or (verdict is ReviewVerdict.CLEAN and cells):
            raise InvalidInput(Reason.FIELD_INVALID)
        opened = self._open(sample)
        pseudonym = self.pseudonym(reviewer)
        if not self._has_seen(sample, pseudonym):
            raise Refused(Reason.SAMPLE_UNSEEN)
        facts = _marked_facts(opened, pseudonym, verdict, sorted(set(kinds)), grid)
        is_leak = verdict is ReviewVerdict.LEAKED
        try:
            self._pending.write(sample, facts)
        except OSError:
            self._mark_without_space(sample, facts, is_leak=is_leak)
            return
        if is_leak:  # at once, whether or not the ledger can take it
            self._store.destroy(sample)
        self._record([])

    def sweep(self) -> tuple[str, ...]:
        """Destroy what has expired, and record it; write a checkpoint that failed once more.

        Raises GuardedVLMError, and ConfigurationError(OUTPUT_UNWRITABLE) when something stays that should be gone: all
        else is destroyed and recorded then. What could not be recorded is with the next sweep.
        """
        with self._sweeping:
            swept = self._store.sweep()
            self._unrecorded += swept.destroyed
            is_waiting = any(one.entries for one in self._pending.list_waiting())
            if self._unrecorded or self._is_untold or is_waiting:
                self._record(destroyed_entries(self._unrecorded))
                self._unrecorded.clear()
        stuck = swept.failed + sum(one.is_leak for one in self._pending.list_waiting())
        if stuck:
            explanation = f"{len(swept.destroyed)} destroyed; {stuck} cannot be"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place="review", explanation=explanation)
        return swept.destroyed

    def records(self) -> Iterator[Record]:
        """Records of the log `review` so far."""
        if self._log.is_dir() and list_segments(self._log):
            yield from read_records(self._log)

    def _marked(self) -> frozenset[str]:
        return frozenset(one.facts["marked"]["sample"] for one in self.records() if one.event is LedgerEvent.MARKED)

    def _has_seen(self, sample: str, reviewer: str) -> bool:
        seen = (one.facts["viewed"] for one in self.records() if one.event is LedgerEvent.VIEWED)
        return any(one["sample"] == sample and one["reviewer"] == reviewer for one in seen)

    def _open(self, sample: str) -> Opened:
        """A sample that nobody saw a leak in. Raises Refused(SAMPLE_GONE)."""
        if any(one.is_leak and one.sample == sample for one in self._pending.list_waiting()):
            with suppress(GuardedVLMError):  # a process died, or could not: the next batch tries again and tells
                self._store.destroy(sample)
            raise Refused(Reason.SAMPLE_GONE)
        return self._store.read(sample)

    def _mark_without_space(self, sample: str, facts: dict[str, Any], *, is_leak: bool) -> None:
        """A mark that cannot be written down goes straight into the ledger; a leak takes its sample's place before, so
        that it is told later where the ledger cannot take it either. Raises GuardedVLMError."""
        entries = list(marked_entries(facts))
        if is_leak:
            with suppress(OSError):  # the sample's file is gone, or nothing there can be changed
                entries = [] if self._pending.write_over(sample, facts) else entries[:2]
            try:
                self._store.destroy(sample)
            except ConfigurationError:
                self._record(entries[:2])
                raise
        self._record(entries)

    def _record(self, entries: Sequence[Entry]) -> None:
        """Make marks that wait and `entries` durable, in this order; a leak's once its key and picture are gone.
        Raises GuardedVLMError."""
        with self._gate, self._writer() as writer:
            waiting = [one for one in self._pending.list_waiting() if one.entries and self._is_settled(one)]
            marks = [entry for one in waiting for entry in one.entries]
            if marks or entries:
                writer.commit([*marks, *entries])
            self._tell(writer)  # the writer's opening is a record, too
            for one in waiting:
                one.path.unlink(missing_ok=True)

    def _is_settled(self, mark: Waiting) -> bool:
        """Whether what the mark's records say is true: of a leak, that nothing of it is left."""
        if mark.is_leak:
            try:
                self._store.destroy(mark.sample)
            except GuardedVLMError:
                return False
        return True

    def _tell(self, writer: ChainWriter) -> None:
        if self._checkpoint is not None:
            self._is_untold = True
            with suppress(GuardedVLMError, SinkFailed):  # the records are durable all the same
                self._checkpoint(_Durable(self._log, writer.head))
                self._is_untold = False

    @contextmanager
    def _writer(self) -> Iterator[ChainWriter]:
        """The log's writer, for one batch: a reviewer at the terminal and a console take turns."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                writer = ChainWriter(self._log, self._origin, segment_bytes=SEGMENT_BYTES)
                break
            except ConfigurationError as error:
                if error.reason is not Reason.LEDGER_UNWRITABLE or time.monotonic() > end:
                    raise
                time.sleep(0.05)
        try:
            yield writer
        finally:
            writer.close()


def grid_of(cells: Iterable[tuple[int, int]]) -> str:
    """Cells (row, column) as a record writes them (`audit.grid`), "" for none. Raises InvalidInput(FIELD_INVALID)."""
    bits, some = 0, False
    for row, column in cells:
        if not (0 <= row < CELLS and 0 <= column < CELLS):
            raise InvalidInput(Reason.FIELD_INVALID)
        bits |= 1 << (CELLS * CELLS - 1 - CELLS * row - column)
        some = True
    return f"{bits:0{CELLS * CELLS // 4}x}" if some else ""


def _marked_facts(
    opened: Opened, reviewer: str, verdict: ReviewVerdict, kinds: Sequence[Kind], grid: str
) -> dict[str, Any]:
    about = opened.about
    facts: dict[str, Any] = {
        "sample": opened.sample,
        "reviewer": reviewer,
        "verdict": verdict.value,
        "kinds": [kind.value for kind in kinds],
        "of": about.of,
        "tenant": about.tenant,
        "policy": about.policy,
        "basis": about.basis.value,
    }
    return facts | ({"cells": grid} if grid else {})
