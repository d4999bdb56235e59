"""Where checkpoints go: a log's own file, and a place that the ledger's writer cannot take back.

One seam, one method: `deliver` returns when the checkpoint is there and raises SinkFailed when it is not known to be.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TextIO

from guardedvlm.audit.checkpoint import SignedCheckpoint, encode_entry, encode_line
from guardedvlm.core.private_file import fsync_folder


class Sink(StrEnum):
    """Kinds of second places."""

    NONE = "none"
    FILE = "file"
    STDOUT = "stdout"
    OTLP = "otlp"


class SinkFailed(Exception):
    """A checkpoint may not have arrived."""


class CheckpointSink(Protocol):
    """A place for checkpoints. Used from one thread."""

    def deliver(self, signed: SignedCheckpoint) -> None:
        """Return when the checkpoint is there. Raises SinkFailed."""
        ...

    def close(self) -> None:
        """Give up what is held."""
        ...


class FileSink:
    """A file that is only appended to, opened at each delivery: a volume may come back.

    An entry is written at once and synced, so that replicas may share a file. What a crash left half written is ended
    with an empty line before the next entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, signed: SignedCheckpoint) -> None:
        """Append and sync."""
        try:
            self._append(encode_entry(signed))
        except OSError:
            raise SinkFailed from None

    def close(self) -> None:
        """Nothing is held."""

    def _append(self, entry: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        is_new = not self._path.exists()
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 2, max(0, size - 2)) != b"\n\n"
            block = b"\n\n" + entry if is_torn else entry
            if os.write(descriptor, block) != len(block):
                raise OSError
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            fsync_folder(self._path.parent)


class LineSink:
    """A stream of lines that somebody else keeps, such as the standard output of a container: one line of JSON each."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def deliver(self, signed: SignedCheckpoint) -> None:
        """Write and flush."""
        try:
            self._out.write(encode_line(signed).decode())
            self._out.flush()
        except (OSError, ValueError):
            raise SinkFailed from None

    def close(self) -> None:
        """The stream is the caller's."""
