"""Verify a ledger, also while it is being written, and read it.

The proof, in order, for each line of each segment:
  1. it is a record in canonical form;
  2. its number is one more than that of the record before it, across segments, from 0;
  3. it states the hash of the record before it;
  4. its request takes a step that the life cycle has.

What a chain alone cannot show is in `UNSEEN`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.audit.chain import BrokenChain, Chain, Flaw
from guardedvlm.audit.record import Record
from guardedvlm.audit.segment import Line, Segment, list_segments, read_lines
from guardedvlm.core.lifecycle import FINAL, TRANSITIONS, State
from guardedvlm.errors import ConfigurationError, Reason

UNSEEN = (
    "A chain shows changes within it. Without a checkpoint kept elsewhere it cannot show that its end was cut off, "
    "that its last record was changed, or that all of it was written anew."
)


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What `verify_ledger` found. Counts and times cover the records up to the flaw, if there is one."""

    records: int
    segments: int
    first_time: str
    last_time: str
    head: str
    """Hash of the last record that verified: what a checkpoint would keep."""
    flaw: Flaw | None
    broken_at: int | None
    """Number of the first record that does not follow from those before it."""
    place: str
    """Segment and line of the flaw, "" when there is none."""
    unfinished: tuple[str, ...]
    """Requests without a closing record: still running, or running when the process died."""
    torn_bytes: int
    """Bytes after the last complete line: a record that is being written, or was when the process died."""

    @property
    def chain_ok(self) -> bool:
        """Whether every record verified."""
        return self.flaw is None


def verify_ledger(folder: Path) -> LedgerReport:
    """Check every record of a ledger; the report names the first flaw.

    Raises ConfigurationError(INPUT_UNREADABLE) when the folder or a file of it cannot be read.
    """
    return _Walk(list_segments(folder)).run()


def read_records(folder: Path, *, start: int = 0, request: str | None = None) -> Iterator[Record]:
    """Records from number `start` on, of one request or of all, in order; the chain is not checked.

    Raises ConfigurationError(LEDGER_BROKEN) at a line that is no record, ConfigurationError(INPUT_UNREADABLE) when the
    folder or a file of it cannot be read.
    """
    segments = list_segments(folder)
    later = [segment.first for segment in segments[1:]]
    for segment, following in zip(segments, [*later, None], strict=True):
        if following is not None and following <= start:
            continue
        for record in _records(segment, newest=following is None):
            if record.sequence >= start and request in (None, record.request):
                yield record


def _records(segment: Segment, *, newest: bool) -> Iterator[Record]:
    for line in read_lines(segment):
        if newest and not line.complete:
            return
        try:
            yield Record.decode(line.content)
        except ValueError:
            place = f"{segment.path.name}:{line.number}"
            raise ConfigurationError(Reason.LEDGER_BROKEN, place=place, explanation="not a record") from None


class _Walk:
    """One pass over a ledger."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._chain = Chain()
        self._running: dict[str, State] = {}
        self._first_time = self._last_time = ""
        self._torn_bytes = 0
        self._place = ""

    def run(self) -> LedgerReport:
        broken: BrokenChain | None = None
        try:
            for segment in self._segments:
                self._segment(segment)
            if self._chain.sequence == 0:
                raise BrokenChain(Flaw.EMPTY, 0)
        except BrokenChain as found:
            broken = found
        return LedgerReport(
            records=self._chain.sequence,
            segments=len(self._segments),
            first_time=self._first_time,
            last_time=self._last_time,
            head=self._chain.previous,
            flaw=self._flaw(broken) if broken else None,
            broken_at=broken.sequence if broken else None,
            place=self._place if broken else "",
            unfinished=tuple(self._running),
            torn_bytes=self._torn_bytes,
        )

    def _segment(self, segment: Segment) -> None:
        self._place = f"{segment.path.name}:1"
        if segment.first != self._chain.sequence:
            late = segment.first > self._chain.sequence
            raise BrokenChain(Flaw.GAP if late else Flaw.REORDERED, self._chain.sequence)
        for line in read_lines(segment):
            self._line(segment, line)

    def _line(self, segment: Segment, line: Line) -> None:
        self._place = f"{segment.path.name}:{line.number}"
        if not line.complete and segment is self._segments[-1]:
            self._torn_bytes = len(line.content)
            return
        previous = Chain(self._chain.sequence, self._chain.previous)
        record = self._chain.extend(line.content)
        try:
            self._step(record)
        except BrokenChain:
            self._chain = previous
            raise
        self._first_time = self._first_time or record.time
        self._last_time = record.time

    def _step(self, record: Record) -> None:
        """Follow the life cycle of the record's request."""
        if not isinstance(record.event, State) or record.request is None:
            return
        before = self._running.get(record.request)
        allowed = {State.RECEIVED} if before is None else TRANSITIONS[before]
        if record.event not in allowed:
            raise BrokenChain(Flaw.LIFE_CYCLE, record.sequence)
        if record.event in FINAL:
            del self._running[record.request]
        else:
            self._running[record.request] = record.event

    def _flaw(self, broken: BrokenChain) -> Flaw:
        """A record that is missing here but stands further on was moved, not removed."""
        if broken.flaw is Flaw.GAP and self._stands_later(broken.sequence):
            return Flaw.REORDERED
        return broken.flaw

    def _stands_later(self, sequence: int) -> bool:
        for segment in self._segments:
            for line in read_lines(segment):
                try:
                    if Record.decode(line.content).sequence == sequence:
                        return True
                except ValueError:
                    continue
        return False
