"""Segments: the files of a ledger. `segment-<number of the first record>.jsonl`, one record a line, only ever appended.

A folder belongs to one ledger and, through a lock, to one writer. Folder 0700, files 0600.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from guardedvlm.audit.record import MAX_LINE
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Reason

LOCK_NAME = "lock"
UNNAMED = "ledger"
"""What evidence calls a log whose folder has no name that it may repeat."""
LogName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_LOG_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_NAME = re.compile(r"segment-(\d{16})\.jsonl\Z")


@dataclass(frozen=True, slots=True)
class Segment:
    """One file; `first` is the number of its first record."""

    path: Path
    first: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a segment without its end; `complete` is False when the file ends within it. `number` counts from 1."""

    number: int
    content: bytes
    complete: bool


def log_called(folder: Path) -> str:
    """What evidence calls the log in `folder`: the folder's own name, where that is one."""
    return folder.name if _LOG_NAME.match(folder.name) else UNNAMED


def list_segments(folder: Path) -> list[Segment]:
    """Segments of a ledger in order. Raises ConfigurationError when the folder cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the ledger's folder cannot be read") from None
    found = (_NAME.match(name) for name in names)
    return sorted((Segment(folder / match[0], int(match[1])) for match in found if match), key=lambda one: one.first)


def segment_path(folder: Path, first: int) -> Path:
    """Path of the segment that begins with record `first`."""
    return folder / f"segment-{first:016d}.jsonl"


def read_lines(segment: Segment) -> Iterator[Line]:
    """Lines of a segment as they stand now; a line that is too long for a record comes cut, and fails to decode.

    Raises ConfigurationError when the file cannot be read.
    """
    try:
        with segment.path.open("rb") as stream:
            number = 0
            while content := stream.readline(MAX_LINE + 1):
                number += 1
                complete = content.endswith(b"\n") or len(content) > MAX_LINE
                yield Line(number, content.removesuffix(b"\n"), complete)
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="a segment cannot be read") from None


def create_segment(folder: Path, first: int) -> int:
    """Create a segment and make its name durable. Returns a descriptor that appends. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(segment_path(folder, first), flags, 0o600)
    try:
        fsync_folder(folder)
    except OSError:
        os.close(descriptor)
        segment_path(folder, first).unlink(missing_ok=True)
        raise
    return descriptor


def open_segment(segment: Segment) -> int:
    """Open an existing segment to append. Raises OSError."""
    return os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)


def lock_folder(folder: Path) -> int:
    """Create the folder and take its single-writer lock; the kernel gives it back when the process ends.

    Raises ConfigurationError(LEDGER_UNWRITABLE) when another writer holds it or the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        raise ConfigurationError(
            Reason.LEDGER_UNWRITABLE, explanation="the ledger's folder cannot be created or written"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigurationError(Reason.LEDGER_UNWRITABLE, explanation="another process writes this ledger") from None
    return descriptor
