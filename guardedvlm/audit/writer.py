"""The one writer of a ledger folder: recovery at start, batches that are durable or undone, rotation. Not thread-safe.

What a start checks: the newest segment record by record, and its link to the segment before it; the whole ledger is
checked by `audit.verify`, whose time grows with the retention period. A last line without its end is what a crash
leaves: it was never acknowledged, is cut off, and the cut is recorded. Anything else that does not verify stops the
start.

When a write or a sync fails, the file is cut back to its last durable byte. Nothing more is written until `mend` has
succeeded: after a failed fsync the kernel may have dropped the pages and say nothing the next time
(https://wiki.postgresql.org/wiki/Fsync_Errors), so a batch that failed is never retried in place.
"""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from guardedvlm.audit.chain import BrokenChain, Chain, Flaw
from guardedvlm.audit.record import VERSION, Entry, LedgerEvent, Record, make_entry, now, record_hash
from guardedvlm.audit.segment import Segment, create_segment, list_segments, lock_folder, open_segment, read_lines
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

SEGMENT_BYTES = 16 * 2**20
"""A segment ends at the first batch past this size; a start checks one in some 4 s (`tests/bench/bench_ledger.py`)."""
MAX_BATCH = 256
"""Entries of one write and sync."""


class ChainWriter:
    """Appends records to the segments of `folder`.

    Raises ConfigurationError(LEDGER_UNWRITABLE) when the folder cannot be written or has another writer, and
    ConfigurationError(LEDGER_BROKEN) when what is there does not verify.
    """

    def __init__(self, folder: Path, origin: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._origin = origin
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._durable = 0  # bytes of the newest segment that are on disk for certain
        self._chain = Chain()
        self._lock = lock_folder(folder)
        self.healthy = True
        try:
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

    def _commit(self, entries: Sequence[Entry]) -> list[Record]:
        records, block, previous = self._seal(entries)
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
        return records

    def _seal(self, entries: Sequence[Entry]) -> tuple[list[Record], bytes, str]:
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
        return records, b"".join(line + b"\n" for line in lines), previous

    def _rotate(self) -> None:
        descriptor = create_segment(self._folder, self._chain.sequence)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._durable = descriptor, 0

    def _fail(self) -> None:
        self.healthy = False
        # Where even this fails, `mend` tries again, and the next start cuts off or takes over what is there.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._durable)

    def _recover(self) -> int:
        """Find the end of the chain. Returns how many bytes of an incomplete last line were cut off."""
        segments = list_segments(self._folder)
        self._chain = _end_of_predecessor(segments)
        if not segments:
            return 0
        newest = segments[-1]
        size, torn = _check_segment(newest, self._chain)
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
        return torn


def _write_all(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _check_segment(segment: Segment, chain: Chain) -> tuple[int, int]:
    """Step `chain` over a segment. Returns the bytes of its complete lines and of an incomplete last one."""
    size = 0
    for line in read_lines(segment):
        if not line.complete:
            return size, len(line.content)
        try:
            chain.extend(line.content)
        except BrokenChain as broken:
            raise _broken(segment, line.number, broken.flaw) from None
        size += len(line.content) + 1
    return size, 0


def _end_of_predecessor(segments: Sequence[Segment]) -> Chain:
    """The chain as it stands before the newest segment, from the last record of the one before it."""
    if len(segments) < 2:
        if segments and segments[0].first != 0:
            raise _broken(segments[0], 1, Flaw.GAP)
        return Chain()
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


def _broken(segment: Segment, line: int, flaw: Flaw) -> ConfigurationError:
    return ConfigurationError(
        Reason.LEDGER_BROKEN, place=f"{segment.path.name}:{line}", explanation=f"the ledger does not verify: {flaw}"
    )
