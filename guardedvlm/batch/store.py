"""The folder of a batch: what is done, durable before it counts, whatever kills the process.

    pages/part-N.parquet    pages of documents that were answered     failures.parquet    the others, with their reasons
    files.parquet           which file is which document              batch.json          what this batch is
    receipts/ID.receipt.json                                          .state/             key, lock, journals

A document that is over becomes one line of the journal, synced before the next step. A journal of `part_documents`
lines becomes part N of the tables, each written whole, and is removed after them. So a journal that is still there is
written into its part again, which changes nothing, and no document is in two parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from guardedvlm.batch.journal import Began, Ended, Entry, Journal, list_journals, number_of, read_journal
from guardedvlm.batch.rows import Answered, Failed, Outcome, Row, failure_row, is_audit_id
from guardedvlm.batch.tables import FAILURES, PAGES, read_table, write_table
from guardedvlm.core.private_file import PRIVATE_FOLDER, replace
from guardedvlm.errors import ConfigurationError, Internal, Reason

PART_DOCUMENTS = 1000
"""Documents of a part: some 100 KB of Parquet, and read again after a kill in well under a second."""
STATE, LOCK, KEY, MANIFEST = ".state", "lock", "batch.key", "batch.json"
PARTS, FAILED, NAMES, RECEIPTS = "pages", "failures.parquet", "files.parquet", "receipts"


@dataclass(slots=True)
class Progress:
    """What a batch's folder says: documents that were answered, those that failed, and how often one was begun that
    did not end."""

    answered: dict[str, int] = field(default_factory=dict)  # document -> pages
    failed: dict[str, Row] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)

    def take(self, entry: Entry) -> None:
        """What a line of the journal says; a line that was taken before changes nothing."""
        if isinstance(entry, Began):
            self.begun[entry.document] = entry.attempt
            return
        if not entry.rows and entry.failure is None:  # it was called off, and is to be done
            del self.begun[entry.document]
            return
        del self.begun[entry.document]
        self.failed.pop(entry.document, None)
        if entry.failure is not None:
            self.failed[entry.document] = entry.failure
        else:
            self.answered[entry.document] = len(entry.rows)


def read_progress(folder: Path) -> Progress:
    """What a batch's folder says, changing nothing. Raises ConfigurationError(INPUT_UNREADABLE)."""
    found = Progress()
    for part in _parts(folder):
        found.answered.update(Counter(row["document"] for row in read_table(part, ["document"])))
    if (folder / FAILED).exists():
        found.failed = {row["document"]: row for row in read_table(folder / FAILED)}
    for journal in list_journals(folder / STATE):
        for entry in read_journal(journal):
            found.take(entry)
    found.failed = {name: row for name, row in found.failed.items() if name not in found.answered}
    return found


class Store:
    """The folder, held by this process. Made by `open_store`."""

    def __init__(self, folder: Path, part_documents: int) -> None:
        self.folder = folder
        self.progress = read_progress(folder)
        self._part_documents = part_documents
        for draft in (draft for place in (folder, folder / PARTS, folder / RECEIPTS) for draft in _drafts(place)):
            draft.unlink()
        last = max(map(number_of, (*_parts(folder), *list_journals(folder / STATE))), default=0)
        for journal in list_journals(folder / STATE):
            self._seal(journal)
        self._begin(last + 1)

    def begin(self, document: str) -> None:
        """Note that a document is in work; the note survives this process, if not a loss of power."""
        self.progress.begun[document] += 1
        self._journal.write(Began(document, self.progress.begun[document]))

    def call_off(self, document: str) -> None:
        """Note that a document was stopped on purpose and is to be done."""
        self._end(Ended(document))

    def end(self, document: str, outcome: Outcome) -> None:
        """Take a document's outcome; it is durable when this returns. A document that was answered stays as it is.

        Raises OSError, and Internal for a receipt whose name is no audit id.
        """
        if document in self.progress.answered:
            return
        self._keep_receipt(outcome)
        if isinstance(outcome, Answered):
            self._end(Ended(document, outcome.rows))
        else:
            self._end(Ended(document, failure=failure_row(document, outcome, self.progress.begun[document] or 1)))

    def close(self) -> None:
        """Make the last part, and the tables complete. Raises OSError."""
        self._journal.close()
        self._seal(self._journal.path)

    def _end(self, entry: Ended) -> None:
        self._journal.write(entry, durable=True)
        self.progress.take(entry)
        if self._journal.ended >= self._part_documents:
            self.close()
            self._begin(self._journal.number + 1)

    def _begin(self, number: int) -> None:
        self._journal = Journal(self.folder / STATE, number)
        for document, attempts in self.progress.begun.items():
            self._journal.write(Began(document, attempts))

    def _seal(self, journal: Path) -> None:
        """Write a journal into its part and the failures, then remove it."""
        ended = [entry for entry in read_journal(journal) if isinstance(entry, Ended)]
        rows = [row for entry in ended for row in entry.rows]
        if ended or not (self.folder / FAILED).exists():
            write_table(self.folder / FAILED, FAILURES, list(self.progress.failed.values()))
        if rows:
            write_table(self.folder / PARTS / f"part-{number_of(journal):08d}.parquet", PAGES, rows)
        journal.unlink()

    def _keep_receipt(self, outcome: Outcome) -> None:
        name = outcome.receipt_id if isinstance(outcome, Failed) else outcome.rows[0]["receipt_id"]
        if not outcome.receipt or not name:
            return
        if not is_audit_id(name):
            raise Internal(Reason.INTERNAL)  # it would lead out of the folder
        replace(self.folder / RECEIPTS / f"{name}.receipt.json", outcome.receipt)


@contextlib.contextmanager
def open_store(folder: Path, part_documents: int = PART_DOCUMENTS) -> Iterator[Store]:
    """A batch's folder, for this process alone, its tables complete at the end.

    Raises ConfigurationError: OUTPUT_UNWRITABLE where it cannot be written or another process has it, INPUT_UNREADABLE
    where what is in it is damaged.
    """
    try:
        with _held(folder):
            store = Store(folder, part_documents)
            try:
                yield store
            finally:
                store.close()
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder)) from None


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    for place in (folder, folder / STATE, folder / PARTS, folder / RECEIPTS):
        place.mkdir(mode=PRIVATE_FOLDER, parents=place is folder, exist_ok=True)
    descriptor = os.open(folder / STATE / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        explanation = "another batch runs in this folder"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder), explanation=explanation) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _drafts(folder: Path) -> list[Path]:
    """What a killed process had begun to write (`core.private_file`)."""
    return [path for path in folder.glob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{16}", path.name)]


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob("part-*.parquet"))
