"""A ledger against its checkpoints: what a chain alone cannot show.

Integrity is what the records say of one another (`audit.verify`). Completeness is whether they are all there, and the
ones that were there: a checkpoint kept elsewhere tells the size and the root that a log once had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointFile,
    SignedCheckpoint,
    begun_by,
    origin_line,
    read_checkpoints,
)
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.logs import list_kept
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.prunings import Prunings, pruning_log, read_prunings, with_beginning
from guardedvlm.audit.remains import LogFiles, log_files
from guardedvlm.audit.retention import SERVICE
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
    UNCHECKED = "unchecked"
    """Checkpoints of this log were given, and it has no root left that one of them could be compared with."""
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
    """All logs of a ledger. `damaged` counts pieces of the given file that are no checkpoints; `others` are logs that
    have checkpoints in it and were begun by none of this ledger's replicas."""

    logs: tuple[LogVerdict, ...]
    damaged: int = 0
    others: tuple[str, ...] = ()

    @property
    def chain_ok(self) -> bool:
        """Whether the records of every log verify; a ledger without logs has none that do."""
        return bool(self.logs) and all(log.report is None or log.report.chain_ok for log in self.logs)

    @property
    def complete(self) -> bool:
        """Whether no checkpoint speaks against a log, and none of those that were given leaves one out or is damaged:
        what a damaged one said is not known."""
        return not self.damaged and all(log.completeness in GOOD for log in self.logs)

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


class _Elsewhere:
    """The checkpoints that were given, by log; `is_given` is False where there was no file of them."""

    def __init__(self, given: CheckpointFile | None, keys: PublicKeys | None) -> None:
        self.is_given = given is not None
        self.keys = keys
        self._by_origin: defaultdict[str, list[SignedCheckpoint]] = defaultdict(list)
        for signed in given.found if given else ():
            self._by_origin[signed.checkpoint.origin].append(signed)
        self.sizes = frozenset(signed.checkpoint.size for signed in (given.found if given else ()))

    def of(self, origin: str) -> list[SignedCheckpoint]:
        """Those of one log."""
        return self._by_origin.get(origin, [])

    def without(self, origins: Collection[str]) -> dict[str, list[SignedCheckpoint]]:
        """Those of all other logs."""
        return {origin: found for origin, found in self._by_origin.items() if origin not in origins}


def verify_logs(
    ledger: Path, given: CheckpointFile | None = None, keys: PublicKeys | None = None, *, fast: bool = True
) -> LedgerVerdict:
    """Check every log of a ledger, and each against its own checkpoints and those in `given`, signed by `keys`.

    Without `keys` no signature is looked at. Raises ConfigurationError as `verify_ledger` does.
    """
    elsewhere = _Elsewhere(given, keys)
    prunings = _prunings(ledger, elsewhere, fast=fast)
    folders = list_kept(ledger)
    found = [_verdict(folder, elsewhere, prunings, fast=fast) for folder in folders]
    left = elsewhere.without({origin for origin, _ in found})
    replicas = _replicas(folders)
    absent = [
        LogVerdict(origin, None, Completeness.ABSENT, checkpoints=len(some))
        for origin, some in left.items()
        if begun_by(origin) in replicas
    ]
    others = tuple(origin for origin in left if begun_by(origin) not in replicas)
    logs = (*(verdict for _, verdict in found), *absent)
    return LedgerVerdict(logs, given.damaged if given else 0, others)


def _prunings(ledger: Path, elsewhere: _Elsewhere, *, fast: bool) -> Prunings:
    """The prunings that count: all, or those that the checkpoints from elsewhere cover."""
    folder = pruning_log(ledger)
    if not elsewhere.is_given or not folder.is_dir():
        return read_prunings(ledger)
    _, verdict = _verdict(folder, elsewhere, {}, fast=fast)
    return read_prunings(ledger, verdict.covered)


def _verdict(folder: Path, elsewhere: _Elsewhere, prunings: Prunings, *, fast: bool) -> tuple[str, LogVerdict]:
    """What its checkpoints call the log, and what they say."""
    path = folder / CHECKPOINTS
    held = _Held(own=list(read_checkpoints(path).found) if path.exists() else [])
    sizes = elsewhere.sizes | {signed.checkpoint.size for signed in held.own}
    report = with_beginning(folder, _with_segments(verify_ledger(folder, sizes=sizes, fast=fast)), prunings)
    origin = _origin(folder, report, held.own)
    held.given = elsewhere.of(origin)
    verdict = _completeness(held, report, origin, elsewhere.keys)
    covered = max((one.checkpoint.size for one in held.given if one.checkpoint.size in report.roots), default=0)
    if verdict is Completeness.SHOWN and not covered:
        verdict = _unshown(held, is_given=elsewhere.is_given)
    return origin, LogVerdict(
        folder.name,
        report,
        verdict,
        covered=covered if verdict is Completeness.SHOWN else 0,
        checkpoints=len(held.given),
        unchecked=sum(_is_inside(signed.checkpoint, report) for signed in held.all),
    )


def _unshown(held: _Held, *, is_given: bool) -> Completeness:
    """What is said where nothing speaks against the log, and no root from elsewhere was compared with it."""
    if held.given:
        return Completeness.UNCHECKED
    return Completeness.UNCOVERED if is_given else Completeness.UNSHOWN


def _with_segments(report: LedgerReport) -> LedgerReport:
    """A pruning leaves the newest segment, so a log without any has lost it."""
    if report.segments or not report.chain_ok:
        return report
    return replace(report, flaw=Flaw.EMPTY, broken_at=report.records, place="")


def _completeness(held: _Held, report: LedgerReport, origin: str, keys: PublicKeys | None) -> Completeness:
    """The worst that any checkpoint says."""
    for signed in held.all:
        if signed.checkpoint.origin != origin:
            return Completeness.REPLACED
        if keys is not None and not _is_signed(signed, keys):
            return Completeness.UNSIGNED
    sizes = [signed.checkpoint for signed in held.all]
    if any(_is_contradicted(one, report) for one in sizes):
        return Completeness.REPLACED
    # A chain that is broken has no end: what comes after the flaw is not counted as cut off.
    if (report.chain_ok or not report.segments) and any(one.size > report.records for one in sizes):
        return Completeness.CUT
    return Completeness.SHOWN


def _is_signed(signed: SignedCheckpoint, keys: PublicKeys) -> bool:
    try:
        signed.verify(keys.keys)
    except BadNote:
        return False
    return True


def _is_contradicted(checkpoint: Checkpoint, report: LedgerReport) -> bool:
    """Whether the log has another root at that size; where it has none left, nothing is compared (`covered`)."""
    return report.roots.get(checkpoint.size, checkpoint.root) != checkpoint.root


def _is_inside(checkpoint: Checkpoint, report: LedgerReport) -> bool:
    """Whether the checkpoint is of a size at which no root is left."""
    return checkpoint.size < report.pruned and checkpoint.size not in report.roots


def _origin(folder: Path, report: LedgerReport, own: Sequence[SignedCheckpoint]) -> str:
    if not report.origin and own:
        return own[-1].checkpoint.origin  # the records that would tell are gone
    try:
        return origin_line(report.origin, folder.name)
    except ValueError:  # an old ledger in a folder of any name, or one without a record: it has no checkpoints
        return ""


def _replicas(folders: Iterable[Path]) -> frozenset[str]:
    """Who wrote the ledger: every start is a record of `service`, and each segment begins with somebody's."""
    found: set[str] = set()
    for folder in folders:
        files = log_files(folder)
        found.add(files.origin())
        found.update(LogFiles(None, [segment]).origin() for segment in files.segments)
        if folder.name == SERVICE:
            with suppress(ConfigurationError):  # the log is broken, and its own report says so
                found.update(record.origin for record in read_records(folder))
        path = folder / CHECKPOINTS
        found.update(begun_by(one.checkpoint.origin) for one in (read_checkpoints(path).found if path.exists() else ()))
    return frozenset(found - {""})
