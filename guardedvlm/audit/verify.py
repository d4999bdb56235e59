"""Verify a log, also while it is being written, and read logs.

The proof, in order, for each line of each segment:
  1. it is a record in canonical form;
  2. its number is one more than that of the record before it, across segments, from 0 or from what was pruned;
  3. it states the hash of the record before it;
  4. its request takes a step that the life cycle has;
and of all lines the roots of the tree, by which `audit.completeness` holds the log against checkpoints. What a chain
alone cannot show is in `UNSEEN`.

Two ways through a segment: the fast one looks at bytes (`audit.shape`, the hashes) and takes a line only when all of it
is in order; any other line goes the slow way, which decodes it, and which alone says what is wrong.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from guardedvlm.audit.chain import BrokenChain, Chain, Flaw
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.merkle import leaf_hash
from guardedvlm.audit.record import CONTEXT, MAX_LINE, Record
from guardedvlm.audit.remains import LogFiles, log_files
from guardedvlm.audit.segment import Line, Segment, read_all_lines, read_lines
from guardedvlm.audit.shape import shapes
from guardedvlm.core.lifecycle import FINAL, TRANSITIONS, State
from guardedvlm.errors import ConfigurationError, Reason

UNSEEN = (
    "A chain shows changes within it. Without a checkpoint kept elsewhere it cannot show that its end was cut off, "
    "that its last record was changed, or that all of it was written anew."
)


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What `verify_ledger` found in one log. Counts and times cover the records up to the flaw, if there is one."""

    records: int
    """Since the log's beginning, those that were pruned included."""
    segments: int
    first_time: str
    last_time: str
    head: str
    """Hash of the last record that verified."""
    flaw: Flaw | None
    broken_at: int | None
    """Number of the first record that does not follow from those before it."""
    place: str
    """Segment and line of the flaw, "" when there is none."""
    unfinished: tuple[str, ...]
    """Requests without a closing record: still running, or running when the process died."""
    torn_bytes: int
    """Bytes after the last complete line: a record that is being written, or was when the process died."""
    origin: str
    """Pseudonym of the replica that began the log, "" where there is no record."""
    pruned: int
    """Records at the beginning that are gone; 0 where all are there."""
    root: bytes
    """Root of the tree of the records that verified and of those that were pruned."""
    roots: dict[int, bytes]
    """The root that the log had at each size that was asked for, and at the ends of pruned segments."""

    @property
    def chain_ok(self) -> bool:
        """Whether every record verified."""
        return self.flaw is None


def verify_ledger(folder: Path, *, sizes: Collection[int] = (), fast: bool = True) -> LedgerReport:
    """Check every record of one log; the report names the first flaw, and the roots at `sizes`.

    `fast=False` decodes every line; the report is the same. Raises ConfigurationError: INPUT_UNREADABLE when the folder
    or a file of it cannot be read, LEDGER_BROKEN when what is left of pruned segments cannot.
    """
    return _Walk(log_files(folder), sizes, fast=fast).run()


def verify_beginning(files: LogFiles, segments: int) -> tuple[LedgerReport, dict[str, State]]:
    """Check the first `segments` segments of a log. Returns the report and the requests that had not ended there."""
    walk = _Walk(LogFiles(files.pruned, files.segments[:segments]), (), fast=True)
    return walk.run(), walk.running


def read_records(folder: Path, *, start: int = 0, request: str | None = None) -> Iterator[Record]:
    """Records of one log from number `start` on, of one request or of all, in order; the chain is not checked.

    Raises ConfigurationError(LEDGER_BROKEN) at a line that is no record, ConfigurationError(INPUT_UNREADABLE) when the
    folder or a file of it cannot be read.
    """
    for _, record in read_lines_of(folder, start=start, request=request):
        yield record


def verified_records(folder: Path, found: LedgerReport) -> Iterator[Record]:
    """Records of a log up to where verification, `found`, came; what was written since is left for the next look."""
    if found.records <= found.pruned:
        return
    for record in read_records(folder):
        yield record
        if record.sequence + 1 >= found.records:
            return  # what comes next may be no record at all


def read_lines_of(folder: Path, *, start: int = 0, request: str | None = None) -> Iterator[tuple[bytes, Record]]:
    """As `read_records`, with the bytes of each record's line."""
    segments = log_files(folder).segments
    sought = request.encode() if request is not None else b""
    for segment, following in zip_longest(segments, [segment.first for segment in segments[1:]]):
        if following is not None and following <= start:
            continue
        for line, record in _records(segment, sought, newest=following is None):
            if record.sequence >= start and request in (None, record.request):
                yield line, record


def read_ledger(ledger: Path, *, request: str | None = None) -> Iterator[Record]:
    """Records of all logs of a ledger by time, of one request or of all; those of one log in their order.

    Raises as `read_records` and `list_logs` do.
    """
    logs = [read_records(folder, request=request) for folder in list_logs(ledger)]
    yield from heapq.merge(*logs, key=lambda record: record.time)


def _records(segment: Segment, sought: bytes, *, newest: bool) -> Iterator[tuple[bytes, Record]]:
    """Records whose line holds `sought`."""
    for line in read_lines(segment):
        if newest and not line.complete:
            return
        if sought not in line.content:
            continue
        try:
            yield line.content, Record.decode(line.content)
        except ValueError:
            place = f"{segment.path.name}:{line.number}"
            raise ConfigurationError(Reason.LEDGER_BROKEN, place=place, explanation="not a record") from None


class _Walk:
    """One pass over a log."""

    def __init__(self, files: LogFiles, sizes: Collection[int], *, fast: bool) -> None:
        self._files = files
        self._segments = files.segments
        self._fast = fast
        self._chain = files.chain()
        self._tree = files.tree()
        self._leaves: list[bytes] = []
        self._roots = files.pruned.roots() if files.pruned else {}
        self._sizes = sorted(size for size in set(sizes) if size >= self._tree.end)
        self.running: dict[str, State] = dict(files.pruned.running) if files.pruned else {}
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
        self._grow()
        pruned = self._files.pruned
        return LedgerReport(
            records=self._chain.sequence,
            segments=len(self._segments),
            first_time=self._first_time,
            last_time=self._last_time,
            head=self._chain.previous,
            flaw=self._flaw(broken) if broken else None,
            broken_at=broken.sequence if broken else None,
            place=self._place if broken else "",
            unfinished=tuple(self.running),
            torn_bytes=self._torn_bytes,
            origin=self._files.origin(),
            pruned=pruned.end if pruned else 0,
            root=self._tree.root(),
            roots=self._roots,
        )

    def _segment(self, segment: Segment) -> None:
        self._place = f"{segment.path.name}:1"
        if segment.first != self._chain.sequence:
            late = segment.first > self._chain.sequence
            raise BrokenChain(Flaw.GAP if late else Flaw.REORDERED, self._chain.sequence)
        if self._fast:
            self._fast_segment(segment)
        else:
            for line in read_lines(segment):
                self._line(segment, line)
        self._grow()

    def _fast_segment(self, segment: Segment) -> None:
        lines, is_complete = read_all_lines(segment)
        whole = len(lines) if is_complete else len(lines) - 1
        at = 0
        while (at := self._stride(lines, at, whole)) < len(lines):
            # A line that is too long comes cut, as `read_lines` gives it.
            self._line(segment, Line(at + 1, lines[at][: MAX_LINE + 1], at < whole or len(lines[at]) > MAX_LINE))
            at += 1

    def _stride(self, lines: list[bytes], begin: int, end: int) -> int:
        """Take lines that are in order; the index of the first one that has to go the slow way, or `end`.

        The body is long because a call for each line would double its time.
        """
        match, running, leaves = shapes().match, self.running, self._leaves
        sha256, following = hashlib.sha256, _FOLLOWING
        begun = sha256(CONTEXT)  # to copy it is cheaper than to join it to every line
        sequence, previous, last = self._chain.sequence, self._chain.previous.encode(), b""
        at = begin
        for at in range(begin, end):
            content = lines[at]
            found = match(content)
            if found is None:
                break
            event, stated, request, number, time = found.group("event", "previous", "request", "sequence", "time")
            if stated != previous or int(number) != sequence:
                break
            if request is not None:
                state = following[running.get(request.decode())].get(event)
                if state is None:
                    break
                if state in FINAL:
                    running.pop(request.decode(), None)
                else:
                    running[request.decode()] = state
            chained = begun.copy()
            chained.update(content)
            previous = chained.hexdigest().encode()
            leaves.append(sha256(b"\x00" + content).digest())
            sequence, last = sequence + 1, time
            if not self._first_time:
                self._first_time = time.decode()
        else:
            at = max(begin, end)
        self._chain = Chain(sequence, previous.decode())
        self._last_time = last.decode() or self._last_time
        return at

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
        self._leaves.append(leaf_hash(line.content))
        self._first_time = self._first_time or record.time
        self._last_time = record.time
        if self._fast:
            shapes().learn(record)

    def _step(self, record: Record) -> None:
        """Follow the life cycle of the record's request."""
        if not isinstance(record.event, State) or record.request is None:
            return
        before = self.running.get(record.request)
        allowed = {State.RECEIVED} if before is None else TRANSITIONS[before]
        if record.event not in allowed:
            raise BrokenChain(Flaw.LIFE_CYCLE, record.sequence)
        if record.event in FINAL:
            del self.running[record.request]
        else:
            self.running[record.request] = record.event

    def _grow(self) -> None:
        """Take the leaves into the tree, and the roots on the way."""
        begin, at = self._tree.end, 0
        while self._sizes and self._sizes[0] <= begin + len(self._leaves):
            size = self._sizes.pop(0)
            self._tree.append_all(self._leaves[at : size - begin])
            at = size - begin
            self._roots[size] = self._tree.root()
        self._tree.append_all(self._leaves[at:])
        self._leaves.clear()

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


_FOLLOWING = {
    before: {state.value.encode(): state for state in ({State.RECEIVED} if before is None else TRANSITIONS[before])}
    for before in (None, *State)
}
"""The step that an event is, by the state before it; None for a request that has no record yet."""
