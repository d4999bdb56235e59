"""The reviewer's desk: which samples wait, one sample's picture, a mark. What happens here is in the log `review`.

The reviewer is blind: before the mark the desk gives the picture and its expiry, and neither tenant, caller, policy,
reason for the sample nor what the machine said. A view is durable before the picture is shown. A mark is written down
beside the samples before anything is done about it, so that a leak is neither forgotten nor kept when the process dies
in between: `leaked` destroys key and picture, then records mark and incident.
"""

from __future__ import annotations

import json
import os
import secrets
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
from guardedvlm.audit.review.store import Kept, Opened, SampleStore
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.sink import SinkFailed
from guardedvlm.audit.verify import read_records
from guardedvlm.audit.writer import ChainWriter, Head
from guardedvlm.core.finding import Kind
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, GuardedVLMError, InvalidInput, Reason, Refused

LOG = "review"
"""The log of reviewers' processes, in the ledger's folder: the service's own logs have one writer, the service."""
WAIT_SECONDS = 5.0
"""For another reviewer's process to let go of the log; it holds it for one batch."""
_PENDING = ".pending"


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
        self._pending = store.folder  # marks that are not recorded yet
        self._log = ledger / LOG
        self._key = key
        self._origin = origin
        self._checkpoint = checkpoint
        self._gate = threading.Lock()

    def pseudonym(self, reviewer: str) -> str:
        """What the ledger calls a reviewer."""
        return self._key.pseudonym(Purpose.REVIEWER, reviewer)

    def queue(self, *, marked: bool = False) -> tuple[Kept, ...]:
        """Samples that nobody has marked yet (or all), in the order of their random names."""
        seen = frozenset() if marked else self._marked()
        return tuple(kept for kept in self._store.list_kept() if kept.sample not in seen)

    def view(self, sample: str, reviewer: str) -> bytes:
        """A sample's picture, as PNG, once the view is on record.

        Raises Refused(SAMPLE_GONE), and Unavailable or ConfigurationError(LEDGER_UNWRITABLE): then nothing is shown.
        """
        opened = self._store.read(sample)
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
        was not shown the sample, Refused(SAMPLE_GONE), and what `view` raises when the log cannot be written: a leaked
        sample is destroyed all the same, and the mark is recorded with the next thing that is.
        """
        grid = grid_of(cells)
        if (verdict is ReviewVerdict.CLEAN) != (not kinds) or (verdict is ReviewVerdict.CLEAN and cells):
            raise InvalidInput(Reason.FIELD_INVALID)
        opened = self._store.read(sample)
        pseudonym = self.pseudonym(reviewer)
        if not self._has_seen(sample, pseudonym):
            raise Refused(Reason.SAMPLE_UNSEEN)
        facts = _marked_facts(opened, pseudonym, verdict, sorted(set(kinds)), grid)
        try:
            self._write_pending(sample, facts)
        finally:  # a disk that is full keeps no leak
            if verdict is ReviewVerdict.LEAKED:
                self._store.destroy(sample)
        self._record([])

    def sweep(self) -> tuple[str, ...]:
        """Destroy what has expired, and record it. Raises GuardedVLMError."""
        gone = self._store.sweep()
        if gone or any(self._waiting()):
            self._record(destroyed_entries(gone))
        return gone

    def records(self) -> Iterator[Record]:
        """Records of the log `review` so far."""
        if self._log.is_dir() and list_segments(self._log):
            yield from read_records(self._log)

    def _marked(self) -> frozenset[str]:
        return frozenset(one.facts["marked"]["sample"] for one in self.records() if one.event is LedgerEvent.MARKED)

    def _has_seen(self, sample: str, reviewer: str) -> bool:
        seen = (one.facts["viewed"] for one in self.records() if one.event is LedgerEvent.VIEWED)
        return any(one["sample"] == sample and one["reviewer"] == reviewer for one in seen)

    def _waiting(self) -> Iterator[Path]:
        return iter(sorted(self._pending.glob(f"*{_PENDING}")))

    def _write_pending(self, sample: str, facts: dict[str, Any]) -> None:
        """Write a mark down before anything is done about it."""
        path = self._pending / f"{sample}-{secrets.token_hex(4)}{_PENDING}"
        draft = path.with_suffix(".draft")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                json.dump(facts, stream)
                stream.flush()
                os.fsync(stream.fileno())
            draft.rename(path)
            fsync_folder(self._pending)
        except OSError:
            explanation = "a mark cannot be written down"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation=explanation) from None

    def _record(self, entries: Sequence[Entry]) -> None:
        """Make marks that wait and `entries` durable, in this order. Raises GuardedVLMError."""
        with self._gate, self._writer() as writer:
            waiting = {path: _pending_entries(path) for path in self._waiting()}
            marks = [entry for some in waiting.values() for entry in some]
            if marks or entries:
                writer.commit([*marks, *entries])
                self._tell(writer)
            for path, some in waiting.items():
                if some:  # what holds no mark stays for somebody to look at
                    path.unlink(missing_ok=True)

    def _tell(self, writer: ChainWriter) -> None:
        if self._checkpoint is not None:
            with suppress(GuardedVLMError, SinkFailed):  # the records are durable all the same
                self._checkpoint(_Durable(self._log, writer.head))

    @contextmanager
    def _writer(self) -> Iterator[ChainWriter]:
        """The log's writer, for one batch: a reviewer at the terminal and a console take turns."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                writer = ChainWriter(self._log, self._origin)
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


def destroyed_entries(samples: Iterable[str]) -> list[Entry]:
    """That samples expired and their keys are gone."""
    return [
        make_entry(LedgerEvent.DESTROYED, None, {"destroyed": {"sample": sample, "cause": Destruction.EXPIRED}})
        for sample in samples
    ]


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


def _pending_entries(path: Path) -> list[Entry]:
    """The records of a mark that was written down; of a file that holds none, none."""
    entries: list[Entry] = []
    with suppress(OSError, ValueError, KeyError, TypeError, GuardedVLMError):
        marked = json.loads(path.read_text("ascii"))
        kinds = tuple(Kind(kind) for kind in marked["kinds"])
        incident = {name: marked[name] for name in ("sample", "of", "tenant", "policy")} | {"kinds": kinds}
        entries.append(make_entry(LedgerEvent.MARKED, None, {"marked": _typed(marked, kinds)}))
        if marked["verdict"] == ReviewVerdict.LEAKED:
            destroyed = {"sample": marked["sample"], "cause": Destruction.LEAKED}
            entries.append(make_entry(LedgerEvent.INCIDENT, None, {"incident": incident}))
            entries.append(make_entry(LedgerEvent.DESTROYED, None, {"destroyed": destroyed}))
    return entries


def _typed(marked: dict[str, Any], kinds: tuple[Kind, ...]) -> dict[str, Any]:
    typed = {"kinds": kinds, "verdict": ReviewVerdict(marked["verdict"]), "basis": Basis(marked["basis"])}
    return {**marked, **typed}
