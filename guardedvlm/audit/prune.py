"""Removal of records whose time is over: whole segments from the beginning of a log, and never the newest one.

In this order, so that a process that dies leaves nothing that does not verify: the removal is a durable record of the
log `pruning`, and a checkpoint of that log is at the second place; what is left of the segments is a durable file
(`audit.remains`); then they are removed. The log itself may be written meanwhile; `pruning` has one writer at a time,
and so has a removal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from guardedvlm.audit.checkpoint import CHECKPOINTS, last_checkpoint
from guardedvlm.audit.checkpointer import Checkpointer
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.logs import list_kept, list_logs
from guardedvlm.audit.merkle import CompactRange, leaf_hash
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.prunings import read_prunings
from guardedvlm.audit.record import LedgerEvent, Record, make_entry
from guardedvlm.audit.remains import PRUNED, LogFiles, Pruned, PrunedSegment, log_files, read_pruned, write_pruned
from guardedvlm.audit.retention import PRUNING, days_kept
from guardedvlm.audit.segment import Segment, list_segments, read_lines
from guardedvlm.audit.verify import verify_beginning
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Reason


@dataclass(frozen=True, slots=True)
class Removal:
    """Segments of one log whose records' time is over."""

    folder: Path
    segments: tuple[Segment, ...]
    records: int
    until: str
    """Time of the newest record among them."""


def plan_removals(ledger: Path, now: datetime) -> list[Removal]:
    """What may be removed from a ledger at `now`, by log.

    Raises ConfigurationError(LEDGER_BROKEN) when a line of a segment in question is no record, INPUT_UNREADABLE when
    one cannot be read.
    """
    found = []
    for folder in list_logs(ledger):
        days = days_kept(folder.name)
        if days is not None:
            removal = _removal(folder, now - timedelta(days=days))
            found += [removal] if removal is not None else []
    return found


def remove(
    ledger: Path,
    now: datetime,
    origin: str,
    checkpointer: Checkpointer | None = None,
    keys: PublicKeys | None = None,
) -> list[Removal]:
    """Remove what `plan_removals` names, and return it. `origin` is who writes the record of it. With `keys` only where
    every earlier removal is under a checkpoint of `pruning` that one of them signed: the next one will be over all.

    Raises ConfigurationError: LEDGER_BROKEN when a segment does not verify (a broken ledger is evidence and stays),
    LEDGER_UNWRITABLE when the removal cannot be recorded or told, or another one is running.
    """
    if not plan_removals(ledger, now):
        return []
    if keys is not None:
        _check_earlier(ledger, keys)
    log = Ledger(ledger / PRUNING, origin)
    try:
        done = plan_removals(ledger, now)  # again: nobody else removes now
        left = []
        try:
            if checkpointer is not None:
                checkpointer.watch(log)
            for removal in done:
                left.append(_left(log_files(removal.folder), removal))
                _record(log, removal, left[-1])
            log.drain()
        finally:
            if checkpointer is not None:
                checkpointer.close()
        if checkpointer is not None and not checkpointer.delivered:
            explanation = "no checkpoint of the removal could be written: nothing is removed"
            raise ConfigurationError(Reason.LEDGER_UNWRITABLE, place=PRUNING, explanation=explanation)
        for removal, remains in zip(done, left, strict=True):
            _remove(removal, remains)
        return done
    finally:
        log.close()


def _check_earlier(ledger: Path, keys: PublicKeys) -> None:
    """Raise ConfigurationError(LEDGER_BROKEN) where records are gone and nobody with the key told of it."""
    signed, covered = last_checkpoint(ledger / PRUNING / CHECKPOINTS), 0
    if signed is not None:
        with suppress(BadNote):
            signed.verify(keys.keys)
            covered = signed.checkpoint.size
    told = read_prunings(ledger, covered)
    for folder in list_kept(ledger):
        pruned = read_pruned(folder)
        if pruned is not None and (folder.name, pruned.origin, pruned.end) not in told:
            explanation = "tells of a removal that no signed checkpoint is over"
            raise ConfigurationError(Reason.LEDGER_BROKEN, place=f"{folder.name}/{PRUNED}", explanation=explanation)


def _removal(folder: Path, before: datetime) -> Removal | None:
    """The segments at the log's beginning with no record from `before` on."""
    files = log_files(folder)
    old: list[Segment] = []
    until = ""
    for segment in files.segments[:-1]:
        newest = max(record.time for record in _records(segment))
        if datetime.fromisoformat(newest) >= before:
            break
        old.append(segment)
        until = max(until, newest)
    if not old:
        return None
    return Removal(folder, tuple(old), files.segments[len(old)].first - old[0].first, until)


def _records(segment: Segment) -> list[Record]:
    try:
        return [Record.decode(line.content) for line in read_lines(segment)]
    except ValueError:
        raise ConfigurationError(
            Reason.LEDGER_BROKEN, place=segment.path.name, explanation="a line of it is not a record"
        ) from None


def _record(log: Ledger, removal: Removal, left: Pruned) -> None:
    told = {
        "log": removal.folder.name,
        "origin": left.origin,
        "records": left.end,
        "root": left.prefix().root().hex(),
        "until": left.until,
    }
    asyncio.run(_append(log, told))


async def _append(log: Ledger, told: dict[str, object]) -> None:
    await log.append(make_entry(LedgerEvent.PRUNED, None, {"pruned": told}))


def _remove(removal: Removal, left: Pruned) -> None:
    try:
        write_pruned(removal.folder, left)
        # Also those that an earlier removal left behind when it died.
        for segment in list_segments(removal.folder):
            if segment.first < left.end:
                os.unlink(segment.path)
        fsync_folder(removal.folder)
    except OSError:
        raise ConfigurationError(
            Reason.LEDGER_UNWRITABLE, place=removal.folder.name, explanation="segments cannot be removed"
        ) from None


def _left(files: LogFiles, removal: Removal) -> Pruned:
    """What is left of the log's first records when the segments are gone. Raises ConfigurationError(LEDGER_BROKEN)."""
    count = len(removal.segments)
    report, running = verify_beginning(files, count)
    following = files.segments[count].first
    if not report.chain_ok or report.records != following:
        place = f"{removal.folder.name}/{report.place}"
        raise ConfigurationError(Reason.LEDGER_BROKEN, place=place, explanation="does not verify, and stays as it is")
    ends = [segment.first for segment in files.segments[1 : count + 1]]
    gone = [_hashes(segment, end) for segment, end in zip(removal.segments, ends, strict=True)]
    before: Sequence[PrunedSegment] = files.pruned.segments if files.pruned else ()
    return Pruned(
        origin=report.origin,
        end=report.records,
        previous=report.head,
        until=max(removal.until, files.pruned.until) if files.pruned else removal.until,
        segments=(*before, *gone),
        running=running,
    )


def _hashes(segment: Segment, end: int) -> PrunedSegment:
    tree = CompactRange(segment.first)
    tree.append_all([leaf_hash(line.content) for line in read_lines(segment)])
    return PrunedSegment(first=segment.first, end=end, hashes=tuple(value.hex() for value in tree.hashes))
