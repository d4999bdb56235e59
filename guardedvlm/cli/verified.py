"""Records that a command may count: those of a log that verified, and none that was written since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from guardedvlm.audit.record import Record
from guardedvlm.audit.verify import LedgerReport, read_records


def verified_records(folder: Path, found: LedgerReport) -> Iterator[Record]:
    """The records of the log in `folder` up to where verification, `found`, came."""
    for record in read_records(folder) if found.records else ():
        yield record
        if record.sequence + 1 >= found.records:
            return  # what comes next may be no record at all
