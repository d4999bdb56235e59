"""What the log of prunings tells, and whether it answers for the records that a log lacks at its beginning.

Who can write into the folder can remove records and write down that they were pruned. So a pruning counts only where
the log's time had come when it was written, and, once there are checkpoints from elsewhere, where one of them is over
its record: a removal waits until its record is told there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from guardedvlm.audit.chain import Flaw
from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.remains import Pruned, read_pruned
from guardedvlm.audit.retention import PRUNING, days_kept
from guardedvlm.audit.verify import LedgerReport, read_records, verify_ledger
from guardedvlm.errors import ConfigurationError

Prunings = Mapping[tuple[str, str, int], Sequence[Record]]
"""Records of prunings, by log, origin and number of records."""


def pruning_log(ledger: Path) -> Path:
    """Where the prunings of a ledger, or of a folder that is one log of it, are written down."""
    return (ledger.parent if days_kept(ledger.name) is not None else ledger) / PRUNING


def read_prunings(ledger: Path, covered: int | None = None) -> Prunings:
    """The prunings on record; with `covered` only those among so many first records."""
    folder = pruning_log(ledger)
    found: defaultdict[tuple[str, str, int], list[Record]] = defaultdict(list)
    if not folder.is_dir():
        return found
    try:
        for record in read_records(folder):
            if record.event is LedgerEvent.PRUNED and (covered is None or record.sequence < covered):
                told = record.facts["pruned"]
                found[told["log"], told["origin"], told["records"]].append(record)
    except ConfigurationError:
        return found  # that log is broken, and its own report says so
    return found


def with_beginning(folder: Path, report: LedgerReport, prunings: Prunings) -> LedgerReport:
    """The report of a log, with a flaw where records are gone for which no pruning answers."""
    if not report.pruned or not report.chain_ok:
        return report
    pruned = read_pruned(folder)
    told = prunings.get((folder.name, report.origin, report.pruned), ())
    root = report.roots.get(report.pruned, b"").hex()
    if pruned is not None and any(_answers(record, folder.name, root, pruned) for record in told):
        return report
    return replace(report, flaw=Flaw.UNTOLD, broken_at=0, place="pruned.json")


def verify_log(ledger: Path, folder: Path) -> LedgerReport:
    """As `verify_ledger` of one log of `ledger`, and whether its prunings answer for its beginning."""
    return with_beginning(folder, verify_ledger(folder), read_prunings(ledger))


def _answers(record: Record, log: str, root: str, pruned: Pruned) -> bool:
    told, days = record.facts["pruned"], days_kept(log)
    if days is None or (told["root"], told["until"]) != (root, pruned.until):
        return False
    return datetime.fromisoformat(pruned.until) + timedelta(days=days) <= record.at
