"""What a log keeps beside its segments: the frontier of its tree, and what is left of pruned segments.

frontier.json   the tree before the newest segment: a start need not read the whole log. It is only a shortcut: one
                that is absent, does not fit or is not confirmed by a signed checkpoint is computed anew from the
                segments.
pruned.json     of each pruned segment the roots of its subtrees, and where the chain stood behind the last one:
                with these what is left verifies, and the whole tree has the root that its checkpoints tell.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from guardedvlm.audit.chain import Chain
from guardedvlm.audit.facts import CLOSED, Digest, Pseudonym
from guardedvlm.audit.merkle import CompactRange, leaf_hash
from guardedvlm.audit.record import Record, RequestId, Time
from guardedvlm.audit.segment import Segment, list_segments, read_lines
from guardedvlm.core.lifecycle import State
from guardedvlm.core.private_file import replace
from guardedvlm.errors import ConfigurationError, Reason

FRONTIER, PRUNED = "frontier.json", "pruned.json"
_Number = Annotated[int, Field(ge=0, lt=2**53)]
_Hashes = Annotated[tuple[Digest, ...], Field(max_length=110)]  # two for each level of the largest log


class Frontier(BaseModel):
    """The tree and the chain before record `size`. `check` is over the rest: a torn or changed file does not fit."""

    model_config = CLOSED

    version: Literal[1] = 1
    size: _Number
    previous: Digest
    hashes: _Hashes
    check: str = ""

    def sealed(self) -> Frontier:
        """With its check."""
        return self.model_copy(update={"check": self._check()})

    def fits(self, chain: Chain) -> bool:
        """Whether it is whole and stands where `chain` does."""
        return (self.size, self.previous, self.check) == (chain.sequence, chain.previous, self._check())

    def _check(self) -> str:
        said = " ".join((str(self.size), self.previous, *self.hashes))
        return hashlib.sha256(b"guardedvlm.v1.frontier\x00" + said.encode()).hexdigest()


class PrunedSegment(BaseModel):
    """A segment that is gone: the roots of the perfect subtrees over its records."""

    model_config = CLOSED

    first: _Number
    end: _Number
    hashes: _Hashes

    def range(self) -> CompactRange:
        """Raises ValueError when it has another number of roots."""
        return CompactRange(self.first, self.end, map(bytes.fromhex, self.hashes))


class Pruned(BaseModel):
    """What is left of the records before `end`, the first one that is there."""

    model_config = CLOSED

    version: Literal[1] = 1
    origin: Pseudonym  # of the log's first record
    end: _Number
    previous: Digest
    until: Time  # of the last record that is gone
    segments: Annotated[tuple[PrunedSegment, ...], Field(min_length=1)]
    running: dict[RequestId, State]  # requests that had not ended there

    @model_validator(mode="after")
    def _meets(self) -> Self:
        if self.prefix().end != self.end:
            raise ValueError("the segments do not meet")
        return self

    def prefix(self) -> CompactRange:
        """The tree of what is gone."""
        whole = CompactRange()
        for segment in self.segments:
            whole.extend(segment.range())
        return whole

    def roots(self) -> dict[int, bytes]:
        """The root that the log had at the end of each pruned segment, by its size then."""
        whole, found = CompactRange(), {}
        for segment in self.segments:
            whole.extend(segment.range())
            found[whole.end] = whole.root()
        return found

    def chain(self) -> Chain:
        """Where the chain stands behind what is gone."""
        return Chain(self.end, self.previous)


def read_pruned(folder: Path) -> Pruned | None:
    """What is left of the log's pruned segments; None where none was pruned.

    Raises ConfigurationError(LEDGER_BROKEN) for a file that does not say so, INPUT_UNREADABLE for one that cannot be
    read.
    """
    try:
        content = (folder / PRUNED).read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=PRUNED, explanation="cannot be read") from None
    try:
        return Pruned.model_validate_json(content)
    except ValidationError:
        raise ConfigurationError(
            Reason.LEDGER_BROKEN, place=PRUNED, explanation="does not say what is left of pruned segments"
        ) from None


def write_pruned(folder: Path, pruned: Pruned) -> None:
    """Put it in the place of what was there, durably. Raises OSError."""
    replace(folder / PRUNED, pruned.model_dump_json().encode() + b"\n")


def write_frontier(folder: Path, tree: CompactRange, previous: str) -> None:
    """Keep the frontier for the next start. One that cannot be written is only missing then."""
    frontier = Frontier(size=tree.end, previous=previous, hashes=tuple(value.hex() for value in tree.hashes))
    with contextlib.suppress(OSError):
        replace(folder / FRONTIER, frontier.sealed().model_dump_json().encode() + b"\n")


def read_frontier(folder: Path, chain: Chain) -> CompactRange | None:
    """The kept frontier when it fits where `chain` stands, else None."""
    try:
        found = Frontier.model_validate_json((folder / FRONTIER).read_bytes())
        return CompactRange(0, found.size, map(bytes.fromhex, found.hashes)) if found.fits(chain) else None
    except (OSError, ValueError):
        return None


def extend_tree(tree: CompactRange, segments: Iterable[Segment]) -> CompactRange:
    """`tree` with all records of `segments`. Raises ConfigurationError as `read_lines` does."""
    for segment in segments:
        tree.append_all([leaf_hash(line.content) for line in read_lines(segment)])
    return tree


@dataclass(frozen=True, slots=True)
class LogFiles:
    """A log as it lies in its folder: what is left of pruned segments, and the segments that are there."""

    pruned: Pruned | None
    segments: list[Segment]

    def chain(self) -> Chain:
        """Where the chain stands before the first segment."""
        return self.pruned.chain() if self.pruned else Chain()

    def tree(self) -> CompactRange:
        """The tree before the first segment."""
        return self.pruned.prefix() if self.pruned else CompactRange()

    def origin(self) -> str:
        """The pseudonym of the replica that began the log, "" for a log without records or whose first is none."""
        if self.pruned:
            return self.pruned.origin
        for segment in self.segments[:1]:
            for line in read_lines(segment):
                with contextlib.suppress(ValueError):
                    return Record.decode(line.content).origin
                return ""
        return ""


def log_files(folder: Path) -> LogFiles:
    """The files of a log. Segments that a pruning was about to remove when it died count as removed.

    Raises ConfigurationError as `read_pruned` does.
    """
    segments = list_segments(folder)
    pruned = read_pruned(folder)
    end = pruned.end if pruned else 0
    return LogFiles(pruned, [segment for segment in segments if segment.first >= end])
