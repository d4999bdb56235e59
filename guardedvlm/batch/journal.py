"""One line a step of a document: begun, or over with what became of it. The last line may be torn; no other one may."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardedvlm.batch.rows import Row
from guardedvlm.core.private_file import PRIVATE_FILE, fsync_folder
from guardedvlm.errors import ConfigurationError, Reason

_PATTERN = "journal-*.jsonl"


@dataclass(frozen=True, slots=True)
class Began:
    """A document is in work, for the `attempt`th time without an end."""

    document: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A document is over: its pages' rows, or the row of its failure; with neither it was called off."""

    document: str
    rows: tuple[Row, ...] = field(default=(), repr=False)
    failure: Row | None = None


Entry = Began | Ended


class Journal:
    """A new journal, being written."""

    def __init__(self, folder: Path, number: int) -> None:
        """Raises OSError, FileExistsError among them."""
        self.path = folder / f"journal-{number:08d}.jsonl"
        self.number = number
        self.ended = 0
        self._torn = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._stream = os.fdopen(os.open(self.path, flags, PRIVATE_FILE), "wb", buffering=0)
        fsync_folder(folder)

    def write(self, entry: Entry, *, durable: bool = False) -> None:
        """Append an entry; with `durable` it is on disk when this returns.

        Raises OSError, and from then on always: only the last line may be torn.
        """
        if self._torn:
            raise OSError
        line = memoryview(json.dumps(_encoded(entry), separators=(",", ":")).encode() + b"\n")
        self._torn = True
        while line:
            line = line[self._stream.write(line) :]
        if durable:
            os.fsync(self._stream.fileno())
        self._torn = False
        self.ended += isinstance(entry, Ended)

    def close(self) -> None:
        """Write no more; a second call does nothing."""
        self._stream.close()


def list_journals(folder: Path) -> list[Path]:
    """Journals that are not yet in the tables, in order."""
    return sorted(folder.glob(_PATTERN))


def number_of(path: Path) -> int:
    """The number of a journal, or of a part."""
    return int(path.stem.rpartition("-")[2])


def read_journal(path: Path) -> Iterator[Entry]:
    """Every whole line. Raises ConfigurationError(INPUT_UNREADABLE) for one that is none."""
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return  # the writer was killed here: what it says did not happen
            try:
                yield _decoded(json.loads(line))
            except (ValueError, KeyError, TypeError):
                explanation = "a line is damaged"
                raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation=explanation) from None


def _encoded(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Began):
        return {"began": entry.document, "attempt": entry.attempt}
    return {"ended": entry.document, "rows": entry.rows, "failure": entry.failure}


def _decoded(value: dict[str, Any]) -> Entry:
    if "began" in value:
        return Began(value["began"], int(value["attempt"]))
    return Ended(value["ended"], tuple(value["rows"]), value["failure"])
