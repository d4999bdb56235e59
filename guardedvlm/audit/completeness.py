"""A ledger against its checkpoints: what a chain alone cannot show.

Integrity is what the records say of one another (`audit.verify`). Completeness is whether they are all there, and the
ones that were there: a checkpoint kept elsewhere tells the size and the root that a log once had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointFile,
    SignedCheckpoint,
    origin_line,
    read_checkpoints,
)
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.retention import PRUNING
from guardedvlm.audit.verify import LedgerReport, read_records, verify_ledger
from guardedvlm.errors import ConfigurationError


class Completeness(StrEnum):
    """What the checkpoints say of one log."""

    SHOWN = "shown"
    """Every checkpoint holds: nothing up to the largest one is gone or was changed."""
    UNSHOWN = "unshown"
    """No checkpoint from elsewhere was given; the log's own ones hold, as far as there are any."""
    UNCOVERED = "uncovered"
    """Checkpoints were given, and none of them is of this log."""
    CUT = "cut"
    """The log has fewer records than a checkpoint tells."""
    REPLACED = "replaced"
    """The log's records are not the ones that a checkpoint tells."""
    UNSIGNED = "unsigned"
    """A checkpoint is not signed by any of the keys that were given."""
    ABSENT = "absent"
    """A checkpoint is of a log that is not in the ledger."""


GOOD = frozenset({Completeness.SHOWN, Completeness.UNSHOWN})


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """One log. `covered` is how many records the largest checkpoint that holds is over; `unchecked` counts checkpoints
    whose size lies inside a pruned segment, where no root is left to compare with."""

    name: str
    report: LedgerReport | None
    """None for a log that is not there."""
    completeness: Completeness
    covered: int = 0
    checkpoints: int = 0
    unchecked: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing speaks against the log."""
        return self.report is not None and self.report.chain_ok and self.completeness in GOOD


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """All logs of a ledger. `damaged` counts pieces of the given file that are no checkpoints."""

    logs: tuple[LogVerdict, ...]
    damaged: int = 0

    @property
    def chain_ok(self) -> bool:
        """Whether the records of every log verify; a ledger without logs has none that do."""
        return bool(self.logs) and all(log.report is None or log.report.chain_ok for log in self.logs)

    @property
    def complete(self) -> bool:
        """Whether no checkpoint speaks against a log, and none of those that were given leaves one out."""
        return all(log.completeness in GOOD for log in self.logs)

    @property
    def is_good(self) -> bool:
        """Both."""
        return self.chain_ok and self.complete


@dataclass(slots=True)
class _Held:
    """The checkpoints of one log, those from elsewhere and its own."""

    given: list[SignedCheckpoint] = field(default_factory=list)
    own: list[SignedCheckpoint] = field(default_factory=list)

    @property
    def all(self) -> list[SignedCheckpoint]:
        return [*self.given, *self.own]


def verify_logs(
    ledger: Path, given: CheckpointFile | None = None, keys: PublicKeys | None = None, *, fast: bool = True
) -> LedgerVerdict:
    """Check every log of a ledger, and each against its own checkpoints and those in `given`, signed by `keys`.

    Without `keys` no signature is looked at. Raises ConfigurationError as `verify_ledger` does.
    """
    by_origin: defaultdict[str, list[SignedCheckpoint]] = defaultdict(list)
    for signed in given.found if given else ():
        by_origin[signed.checkpoint.origin].append(signed)
    told = _told_prunings(ledger)
    logs = []
    for folder in list_logs(ledger):
        own = folder / CHECKPOINTS
        held = _Held(own=list(read_checkpoints(own).found) if own.exists() else [])
        logs.append(_verdict(folder, held, by_origin, keys, is_given=given is not None, told=told, fast=fast))
    logs += [LogVerdict(origin, None, Completeness.ABSENT, checkpoints=len(left)) for origin, left in by_origin.items()]
    return LedgerVerdict(tuple(logs), given.damaged if given else 0)


def _verdict(
    folder: Path,
    held: _Held,
    by_origin: dict[str, list[SignedCheckpoint]],
    keys: PublicKeys | None,
    *,
    is_given: bool,
    told: Mapping[tuple[str, str, int], str],
    fast: bool,
) -> LogVerdict:
    """Takes what is of this log out of `by_origin`."""
    sizes = {signed.checkpoint.size for one in (*by_origin.values(), held.own) for signed in one}
    report = _told(folder, verify_ledger(folder, sizes=sizes, fast=fast), told)
    held.given = by_origin.pop(_origin(folder, report), [])
    verdict = _completeness(held, report, _origin(folder, report), keys)
    holding = [signed.checkpoint.size for signed in held.given if signed.checkpoint.size in report.roots]
    if verdict is Completeness.SHOWN and not held.given:
        verdict = Completeness.UNCOVERED if is_given else Completeness.UNSHOWN
    return LogVerdict(
        folder.name,
        report,
        verdict,
        covered=max(holding, default=0) if verdict is Completeness.SHOWN else 0,
        checkpoints=len(held.given),
        unchecked=sum(_is_inside(signed.checkpoint, report) for signed in held.all),
    )


def _completeness(held: _Held, report: LedgerReport, origin: str, keys: PublicKeys | None) -> Completeness:
    """The worst that any checkpoint says."""
    for signed in held.all:
        if signed.checkpoint.origin != origin:
            return Completeness.REPLACED
        if keys is not None and not _is_signed(signed, keys):
            return Completeness.UNSIGNED
    sizes = [signed.checkpoint for signed in held.all]
    if not all(_root_holds(one, report) for one in sizes):
        return Completeness.REPLACED
    # A chain that is broken has no end: what comes after the flaw is not counted as cut off.
    if report.chain_ok and any(one.size > report.records for one in sizes):
        return Completeness.CUT
    return Completeness.SHOWN


def _is_signed(signed: SignedCheckpoint, keys: PublicKeys) -> bool:
    try:
        signed.verify(keys.keys)
    except BadNote:
        return False
    return True


def _root_holds(checkpoint: Checkpoint, report: LedgerReport) -> bool:
    return report.roots.get(checkpoint.size, checkpoint.root) == checkpoint.root


def _is_inside(checkpoint: Checkpoint, report: LedgerReport) -> bool:
    """Whether the checkpoint is of a size at which no root is left."""
    return checkpoint.size < report.pruned and checkpoint.size not in report.roots


def _origin(folder: Path, report: LedgerReport) -> str:
    try:
        return origin_line(report.origin, folder.name)
    except ValueError:  # an old ledger in a folder of any name, or one without a record: it has no checkpoints
        return ""


def _told_prunings(ledger: Path) -> dict[tuple[str, str, int], str]:
    """The root of what was pruned, by log, origin and number of records, as the log of prunings tells."""
    folder = ledger / PRUNING
    found: dict[tuple[str, str, int], str] = {}
    if folder not in list_logs(ledger):
        return found
    try:
        for record in read_records(folder):
            if record.event is LedgerEvent.PRUNED:
                told = record.facts["pruned"]
                found[told["log"], told["origin"], told["records"]] = told["root"]
    except ConfigurationError:
        return found  # that log is broken, and its own report says so
    return found


def _told(folder: Path, report: LedgerReport, told: Mapping[tuple[str, str, int], str]) -> LedgerReport:
    """The report, with a flaw where records are gone of which no pruning tells."""
    if not report.pruned or not report.chain_ok:
        return report
    root = report.roots.get(report.pruned, b"").hex()
    if told.get((folder.name, report.origin, report.pruned)) == root:
        return report
    return replace(report, flaw=Flaw.UNTOLD, broken_at=0, place="pruned.json")
