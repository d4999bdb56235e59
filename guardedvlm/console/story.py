"""One request, read from the ledger itself and checked while it is read.

The index says where its records lie and is believed in nothing else: every line is decoded in canonical form, must be
of this request, and must link to the line before it and from the line after it. What does not hold is a flaw on
the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from guardedvlm.audit.facts import Facts, Shadow, Stage
from guardedvlm.audit.record import GENESIS, MAX_LINE, LedgerEvent, Record, record_hash
from guardedvlm.audit.segment import Segment, list_segments
from guardedvlm.audit.summary import Summary, summarize
from guardedvlm.core.lifecycle import FINAL, TRANSITIONS, State
from guardedvlm.errors import ConfigurationError


class Flaw(StrEnum):
    """What does not hold of one record."""

    MISSING = "the ledger no longer has this line"
    UNREADABLE = "the line is not a record in canonical form"
    OTHER = "the record is not of this request"
    BEFORE = "the record does not link to the one before it: one of the two was changed"
    AFTER = "the record after it does not link to it: one of the two was changed"
    LIFE_CYCLE = "the life cycle has no such step"


@dataclass(frozen=True, slots=True)
class Step:
    """A record of the request, or what stands where it was. `line` is its bytes in the ledger, b"" when they are
    gone."""

    log: str
    segment: int
    record: Record | None
    line: bytes
    flaws: tuple[Flaw, ...]
    newest: bool = False
    """Whether it is its log's last record, which nothing links to yet."""


@dataclass(frozen=True, slots=True)
class Story:
    """One request: its steps in order, all facts together, and what a candidate policy said of it."""

    request: str
    steps: tuple[Step, ...]
    summary: Summary | None
    shadow: Shadow | None

    @property
    def holds(self) -> bool:
        """Whether every record was there and nothing was wrong with any."""
        return bool(self.steps) and not any(step.flaws for step in self.steps)

    @property
    def finished(self) -> bool:
        """Whether there is a closing record."""
        return any(step.record is not None and step.record.event in FINAL for step in self.steps)

    @property
    def facts(self) -> Facts:
        """What the records say; of two that state the same fact, the later one's."""
        return self.summary.facts if self.summary else Facts()

    @property
    def timings(self) -> list[tuple[str, int]]:
        """Measured stages in the order of the data, without the total."""
        taken = {time.stage: time.milliseconds for time in self.summary.stages} if self.summary else {}
        return [(stage.value, taken[stage]) for stage in Stage if stage in taken and stage is not Stage.TOTAL]


def read_story(ledger: Path, logs: dict[int, str], request: str, places: str, shadows: str = "") -> Story:
    """The request whose records the index places at `places`; `logs` names the folders. Raises nothing about content:
    what is missing or changed is a flaw of its step."""
    steps = [_step(ledger, logs, place, request) for place in places.split()]
    steps.sort(key=lambda step: (step.record.time if step.record else "", step.record.sequence if step.record else -1))
    checked = _lived(steps)
    records = [step.record for step in checked if step.record is not None and step.record.request == request]
    told = [_step(ledger, logs, place, None) for place in shadows.split()]
    shadow = next((step.record.facts["shadow"] for step in told if _tells_of(step, request)), None)  # type: ignore[union-attr]
    return Story(request, tuple(checked), summarize(records) if records else None, shadow)


def _tells_of(step: Step, request: str) -> bool:
    record = step.record
    return (
        record is not None
        and not step.flaws
        and record.event is LedgerEvent.SHADOWED
        and record.facts["shadow"]["of"] == request
    )


def _step(ledger: Path, logs: dict[int, str], place: str, request: str | None) -> Step:
    number, first, offset = map(int, place.split(":"))
    name = logs.get(number, "")
    folder = ledger / name if name else ledger
    try:
        segments = list_segments(folder)
        position = next(index for index, segment in enumerate(segments) if segment.first == first)
        before, line, after = _three_lines(segments, position, offset)
    except (OSError, ConfigurationError, StopIteration):
        return Step(name, first, None, b"", (Flaw.MISSING,))
    if not line:
        return Step(name, first, None, b"", (Flaw.MISSING,))
    try:
        record = Record.decode(line)
    except ValueError:
        return Step(name, first, None, line, (Flaw.UNREADABLE,))
    flaws = []
    if request is not None and record.request != request:
        flaws.append(Flaw.OTHER)
    pruned = before == b"" and position == 0 and record.sequence == segments[0].first != 0
    if not pruned and record.previous != (record_hash(before) if before else GENESIS):
        flaws.append(Flaw.BEFORE)
    if after and not _links(after, line):
        flaws.append(Flaw.AFTER)
    return Step(name, first, record, line, tuple(flaws), newest=not after)


def _links(after: bytes, line: bytes) -> bool:
    try:
        return Record.decode(after).previous == record_hash(line)
    except ValueError:
        return False


def _three_lines(segments: Sequence[Segment], position: int, offset: int) -> tuple[bytes, bytes, bytes]:
    """The line at `offset` of a segment, and the complete ones before and after it; b"" where there is none."""
    with segments[position].path.open("rb") as stream:
        start = max(0, offset - MAX_LINE - 2)
        stream.seek(start)
        before = stream.read(offset - start).removesuffix(b"\n").rpartition(b"\n")[2]
        line, after = (_complete(stream.readline(MAX_LINE + 1)) for _ in range(2))
    if offset == 0 and position > 0:
        before = _last_line(segments[position - 1])
    if not after and position + 1 < len(segments):
        with segments[position + 1].path.open("rb") as stream:
            after = _complete(stream.readline(MAX_LINE + 1))
    return before, line, after


def _complete(line: bytes) -> bytes:
    return line[:-1] if line.endswith(b"\n") else b""


def _last_line(segment: Segment) -> bytes:
    with segment.path.open("rb") as stream:
        end = stream.seek(0, 2)
        stream.seek(max(0, end - MAX_LINE - 2))
        return stream.read().removesuffix(b"\n").rpartition(b"\n")[2]


def _lived(steps: Sequence[Step]) -> list[Step]:
    """The steps with LIFE_CYCLE added where the table has none from the one before."""
    state: State | None = None
    found = []
    for step in steps:
        event = step.record.event if step.record else None
        if isinstance(event, State):
            allowed = {State.RECEIVED} if state is None else TRANSITIONS[state]
            state, fits = event, event in allowed
            if not fits:
                found.append(replace(step, flaws=(*step.flaws, Flaw.LIFE_CYCLE)))
                continue
        found.append(step)
    return found
