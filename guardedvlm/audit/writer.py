"""The one writer of a ledger folder: recovery at start, batches that are durable or undone, rotation. Not thread-safe.

What a start checks: the newest segment record by record, its link to the segment before it, and the log's own last
checkpoint; the whole ledger is checked by `audit.verify`, whose time grows with the retention period. The tree before
the newest segment is the kept one (`audit.remains`) where a checkpoint that the site signed confirms it; else it is
computed from all segments, because checkpoints of it will be signed. A last line without its end is what a crash
leaves: it was never acknowledged, is cut off, and the cut is recorded. Anything else that does not verify stops the
start.

When a write or a sync fails, the file is cut back to its last durable byte. Nothing more is written until `mend` has
succeeded: after a failed fsync the kernel may have dropped the pages and say nothing the next time
(https://wiki.postgresql.org/wiki/Fsync_Errors), so a batch that failed is never retried in place.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.audit.chain import BrokenChain, Chain, Flaw
from guardedvlm.audit.checkpoint import CHECKPOINTS, Checkpoint, SignedCheckpoint, last_checkpoint, origin_line
from guardedvlm.audit.durable import DurableMark
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.merkle import CompactRange, fold, leaf_hash
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.record import VERSION, Entry, LedgerEvent, Record, make_entry, now, record_hash
from guardedvlm.audit.remains import LogFiles, extend_tree, log_files, read_frontier, write_frontier
from guardedvlm.audit.segment import Segment, create_segment, lock_folder, open_segment, read_lines
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

SEGMENT_BYTES = 16 * 2**20
"""A segment ends at the first batch past this size; a start checks one in some 4 s (`tests/bench/bench_ledger.py`)."""
MAX_BATCH = 256
"""Entries of one write and sync."""


@dataclass(frozen=True, slots=True)
class Head:
    """A log as far as it is durable: who began it, its size, and the subtrees of its tree."""

    origin: str
    size: int
    hashes: tuple[bytes, ...]

    def root(self) -> bytes:
        """Root of the tree."""
        return fold(self.hashes)


class ChainWriter:
    """Appends records to the segments of `folder`.

    Raises ConfigurationError(LEDGER_UNWRITABLE) when the folder cannot be written or has another writer, and
    ConfigurationError(LEDGER_BROKEN) when what is there does not verify. Other threads may read `head`. `keys` gives
    the public keys of the site's checkpoints; without them a start reads every segment.
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keys: Callable[[], PublicKeys] | None = None,
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._segment_bytes = segment_bytes
        self._keys = keys
        self._descriptor = -1
        self._durable = 0  # bytes of the newest segment that are on disk for certain
        self._chain = Chain()
        self._tree = CompactRange()
        self.head = Head(origin, 0, ())
        self._lock = lock_folder(folder)
        self._mark: DurableMark | None = None
        self.healthy = True
        try:
            self._mark = _mark(folder)
            torn_bytes = self._recover()
            self.commit([make_entry(LedgerEvent.OPENED, None, {"torn_bytes": torn_bytes})])
        except Unavailable:
            self.close()
            raise ConfigurationError(
                Reason.LEDGER_UNWRITABLE, explanation="the ledger's folder cannot be written"
            ) from None
        except Exception:
            self.close()
            raise

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """Append entries, in order, and return their records once they are durable: all of them or none.

        Raises Unavailable(LEDGER_UNWRITABLE) when they are not, and from then on until `mend` succeeds.
        """
        if not self.healthy:
            raise Unavailable(Reason.LEDGER_UNWRITABLE)
        return self._commit(entries)

    def mend(self) -> bool:
        """Try to write again: cut off what is not durable and append a RESUMED record. True when that is durable."""
        if self.healthy:
            return True
        try:
            os.ftruncate(self._descriptor, self._durable)
            os.fsync(self._descriptor)
            self._commit([make_entry(LedgerEvent.RESUMED, None, {})])
        except (OSError, Unavailable):
            return False
        self.healthy = True
        return True

    def close(self) -> None:
        """Close the segment and give back the lock."""
        self.healthy = False
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1
        if self._mark is not None:
            self._mark.close()
        self._mark = None

    def _commit(self, entries: Sequence[Entry]) -> list[Record]:
        records, lines, previous = self._seal(entries)
        block = b"".join(line + b"\n" for line in lines)
        try:
            if self._descriptor < 0 or self._durable >= self._segment_bytes:
                self._rotate()
            _write_all(self._descriptor, block)
            os.fdatasync(self._descriptor)
        except OSError:
            self._fail()
            raise Unavailable(Reason.LEDGER_UNWRITABLE) from None
        self._durable += len(block)
        self._chain = Chain(self._chain.sequence + len(records), previous)
        self._tree.append_all([leaf_hash(line) for line in lines])
        self._show()
        return records

    def _show(self) -> None:
        self.head = Head(self.head.origin, self._tree.end, self._tree.hashes)
        if self._mark is not None:
            self._mark.publish(self._chain.sequence)

    def _seal(self, entries: Sequence[Entry]) -> tuple[list[Record], list[bytes], str]:
        """Records of `entries`, their lines, and the hash of the last one."""
        records: list[Record] = []
        lines: list[bytes] = []
        previous = self._chain.previous
        for sequence, entry in enumerate(entries, self._chain.sequence):
            # The entry was validated when it was made, and the rest is made here.
            record = Record.model_construct(
                event=entry.event,
                request=entry.request,
                facts=entry.facts,
                version=VERSION,
                sequence=sequence,
                previous=previous,
                salt=secrets.token_hex(16),
                time=now(),
                origin=self._origin,
            )
            lines.append(record.encode())
            previous = record_hash(lines[-1])
            records.append(record)
        return records, lines, previous

    def _rotate(self) -> None:
        descriptor = create_segment(self._folder, self._chain.sequence)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._durable = descriptor, 0
        write_frontier(self._folder, self._tree, self._chain.previous)

    def _fail(self) -> None:
        self.healthy = False
        # Where even this fails, `mend` tries again, and the next start cuts off or takes over what is there.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._durable)

    def _recover(self) -> int:
        """Find the end of the chain and of the tree. Returns how many bytes of an incomplete last line were cut off."""
        files = log_files(self._folder)
        self._chain = _end_of_predecessor(files)
        self.head = Head(files.origin() or self.head.origin, 0, ())
        signed = last_checkpoint(self._folder / CHECKPOINTS)
        checkpoint = signed.checkpoint if signed is not None else None
        if not files.segments:
            self._tree = files.tree()
            _check_checkpoint(checkpoint, self._tree, [])
            return 0
        newest = files.segments[-1]
        before = read_frontier(self._folder, self._chain)
        size, torn, leaves = _check_segment(newest, self._chain)
        if before is None or signed is None or not self._confirms(signed, before, leaves):
            before = extend_tree(files.tree(), files.segments[:-1])
            _check_checkpoint(checkpoint, before, leaves)
        before.append_all(leaves)
        self._tree = before
        self._open(newest, size, torn)
        return torn

    def _confirms(self, signed: SignedCheckpoint, before: CompactRange, leaves: Sequence[bytes]) -> bool:
        """Whether the site signed that this log has the tree of `before` and `leaves`. Anybody who can write here may
        have written the frontier, and a checkpoint beside it."""
        told = signed.checkpoint
        if self._keys is None or told.size < before.end or not _holds(told, before, leaves):
            return False
        try:
            signed.verify(self._keys().keys)
            return told.origin == origin_line(self.head.origin, self._folder.name)
        except (BadNote, Unavailable, ValueError):
            return False

    def _open(self, newest: Segment, size: int, torn: int) -> None:
        """Open the newest segment and make certain that its complete lines are on disk."""
        try:
            self._descriptor = open_segment(newest)
            if torn:
                os.ftruncate(self._descriptor, size)
            # What is there may still be in memory only: this process is about to build on it.
            os.fsync(self._descriptor)
            fsync_folder(self._folder)
        except OSError:
            raise Unavailable(Reason.LEDGER_UNWRITABLE) from None
        self._durable = size


def _mark(folder: Path) -> DurableMark:
    try:
        return DurableMark(folder)
    except OSError:
        raise Unavailable(Reason.LEDGER_UNWRITABLE) from None


def _write_all(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:  # else this would be tried for ever
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[written:]


def _check_segment(segment: Segment, chain: Chain) -> tuple[int, int, list[bytes]]:
    """Step `chain` over a segment. Returns the bytes of its complete lines and of an incomplete last one, and the
    hashes of its leaves."""
    size = 0
    leaves: list[bytes] = []
    for line in read_lines(segment):
        if not line.complete:
            return size, len(line.content), leaves
        try:
            chain.extend(line.content)
        except BrokenChain as broken:
            raise _broken(segment, line.number, broken.flaw) from None
        leaves.append(leaf_hash(line.content))
        size += len(line.content) + 1
    return size, 0, leaves


def _end_of_predecessor(files: LogFiles) -> Chain:
    """The chain as it stands before the newest segment, from the last record of the one before it."""
    segments = files.segments
    if len(segments) < 2:
        chain = files.chain()
        if segments and segments[0].first != chain.sequence:
            raise _broken(segments[0], 1, Flaw.GAP)
        return chain
    predecessor, newest = segments[-2:]
    last_lines = collections.deque(read_lines(predecessor), maxlen=1)
    if not last_lines or not last_lines[0].complete:
        raise _broken(predecessor, last_lines[0].number if last_lines else 1, Flaw.UNREADABLE)
    last = last_lines[0]
    try:
        record = Record.decode(last.content)
    except ValueError:
        raise _broken(predecessor, last.number, Flaw.UNREADABLE) from None
    if record.sequence + 1 != newest.first:
        raise _broken(newest, 1, Flaw.GAP)
    return Chain(newest.first, record_hash(last.content))


def _holds(checkpoint: Checkpoint | None, before: CompactRange, leaves: Sequence[bytes]) -> bool:
    """Whether the tree of `before` and `leaves` has what the checkpoint says, as far as it can be seen from there."""
    if checkpoint is None or checkpoint.size < before.end:
        return True
    tree = before.copy()
    tree.append_all(leaves[: checkpoint.size - before.end])
    return tree.end == checkpoint.size and tree.root() == checkpoint.root


def _check_checkpoint(checkpoint: Checkpoint | None, before: CompactRange, leaves: Sequence[bytes]) -> None:
    """A log whose end was cut off, or that is another one, is not written on."""
    if not _holds(checkpoint, before, leaves):
        raise ConfigurationError(
            Reason.LEDGER_BROKEN, place=CHECKPOINTS, explanation="the log is not the one that its last checkpoint tells"
        )


def _broken(segment: Segment, line: int, flaw: Flaw) -> ConfigurationError:
    return ConfigurationError(
        Reason.LEDGER_BROKEN, place=f"{segment.path.name}:{line}", explanation=f"the ledger does not verify: {flaw}"
    )
