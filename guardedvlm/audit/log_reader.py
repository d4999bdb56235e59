"""Reads one log while it is written: complete lines in order, across segments, each once it is durable.

What a writer has put into a file and not synced yet it may still cut off (`audit.writer`). So the reader goes as far as
the writer says (`audit.durable`). Of a log of an earlier version nobody says it, and the reader syncs the file itself
before it hands a line out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from guardedvlm.audit.durable import durable_sequence
from guardedvlm.audit.record import MAX_LINE
from guardedvlm.audit.segment import Segment, list_segments
from guardedvlm.errors import ConfigurationError, Reason

READ_BYTES = 2**20
"""Lines of one reading end at the first past this size: a few of the longest, and thousands of the usual ones."""


class LogReader:
    """Lines of the log in `folder` from record `sequence` on; None begins with the oldest that is there. Records
    before `known` are durable, whatever the writer says.

    Raises ConfigurationError(LEDGER_BROKEN) where lines that should follow are not there: pruned before they were read,
    or cut off after they were; ConfigurationError(INPUT_UNREADABLE) when a file cannot be read.
    """

    def __init__(self, folder: Path, sequence: int | None, known: int = 0) -> None:
        self._folder = folder
        self._known = known
        self._segment: Segment | None = None
        self._offset = 0
        segments = list_segments(folder)
        self.sequence = sequence if sequence is not None else segments[0].first if segments else 0

    def read(self, most: int) -> list[bytes]:
        """The next lines, at most `most`; none when all that is durable has been read."""
        segments = list_segments(self._folder)  # before the lines: of all but the last nothing more is written now
        if self._segment is None and not self._find(segments):
            return []
        durable = durable_sequence(self._folder)
        if durable is not None:
            most = min(most, max(durable, self._known) - self.sequence)
        if most <= 0:
            return []
        lines = self._lines(most)
        while not lines and self._go_on(segments):
            lines = self._lines(most)
        return lines

    def peek(self) -> bytes | None:
        """The next line, which stays the next one."""
        before = self._segment, self._offset, self.sequence
        lines = self.read(1)
        self._segment, self._offset, self.sequence = before
        return lines[0] if lines else None

    def skip_to(self, sequence: int) -> None:
        """Go on to record `sequence`, before which all is durable, or to the end when it is not there yet."""
        self._known = max(self._known, sequence)
        while self.sequence < sequence and self.read(sequence - self.sequence):
            continue

    def _find(self, segments: Sequence[Segment]) -> bool:
        """Stand before record `sequence`. False while the log has no segment for it."""
        wanted = self.sequence
        before = [segment for segment in segments if segment.first <= wanted]
        if not before:
            if segments:
                raise _broken("records that were not read yet are not there any more")
            return False
        self._segment, self._offset, self.sequence = before[-1], 0, before[-1].first
        while self.sequence < wanted:
            if not self._lines(wanted - self.sequence):
                raise _broken("the log ends before what was read of it")
        return True

    def _go_on(self, segments: Sequence[Segment]) -> bool:
        """Step into the segment after this one, when this one is over."""
        if self._segment is None:  # pruned meanwhile: the next reading looks for what is there
            return False
        later = [segment for segment in segments if segment.first > self._segment.first]
        if not later:
            return False
        if later[0].first != self.sequence:
            raise _broken("a segment does not begin where the one before it ends")
        self._segment, self._offset = later[0], 0
        return True

    def _lines(self, most: int) -> list[bytes]:
        if self._segment is None:
            return []
        try:
            with self._segment.path.open("rb") as stream:
                lines, end = _complete_lines(stream, self._offset, most)
                if lines:
                    os.fdatasync(stream.fileno())
        except FileNotFoundError:
            self._segment = None
            return []
        except OSError:
            raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="a segment cannot be read") from None
        self._offset = end
        self.sequence += len(lines)
        return lines


def _complete_lines(stream: BinaryIO, offset: int, most: int) -> tuple[list[bytes], int]:
    """Lines from `offset` on without their ends, and where they end."""
    stream.seek(offset)
    lines: list[bytes] = []
    end = offset
    while len(lines) < most and end - offset < READ_BYTES:
        line = stream.readline(MAX_LINE + 1)
        if not line.endswith(b"\n"):
            if len(line) > MAX_LINE:
                raise _broken("a line is too long for a record")
            break
        lines.append(line[:-1])
        end += len(line)
    return lines, end


def newest_sequence(folder: Path) -> int:
    """Number of the record that the log's next one will have. Raises ConfigurationError as `LogReader` does."""
    segments = list_segments(folder)
    if not segments:
        return 0
    newest = segments[-1]
    try:
        with newest.path.open("rb") as stream:
            return newest.first + sum(block.count(b"\n") for block in iter(lambda: stream.read(READ_BYTES), b""))
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="a segment cannot be read") from None


def _broken(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.LEDGER_BROKEN, explanation=explanation)
