"""A finished request as its records tell it: all facts together, and when each stage ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from guardedvlm.audit.facts import Facts, Method, Stage
from guardedvlm.audit.record import Record
from guardedvlm.core.lifecycle import State

CLOSED_BY: Mapping[Stage, State] = {
    Stage.ADMIT: State.ADMITTED,
    Stage.DECODE: State.DECODED,
    Stage.READ: State.REDACTED,
    Stage.PERSONAL: State.REDACTED,
    Stage.FACES: State.REDACTED,
    Stage.CODES: State.REDACTED,
    Stage.REDACT: State.REDACTED,
    Stage.VERIFY: State.CLEARED,
    Stage.PROMPT: State.GENERATING,
}
"""The record that is written when a stage is over; of other stages it is the one that tells their time."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took (measured), and when the record was written that closed it."""

    stage: Stage
    milliseconds: int
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """One request. `sequence` is the number of its closing record: where an auditor finds it in the ledger. `origin` is
    the pseudonym of the replica that served it."""

    request: str
    origin: str
    outcome: str
    sequence: int
    facts: Facts
    stages: tuple[StageTime, ...]
    began: datetime
    ended: datetime

    @property
    def asks(self) -> bool:
        """Whether the call is for a model."""
        return self.facts["method"] not in (Method.REDACT_IMAGE, Method.STREAM_REDACT_IMAGE, Method.GET_POLICY)


def summarize(records: Sequence[Record]) -> Summary:
    """Put the records of one request together; where two state the same fact, the later one holds.

    Raises ValueError when there is none or when they belong to no request.
    """
    if not records or records[0].request is None:
        raise ValueError("no records of a request")
    facts = Facts()
    times: dict[Stage, StageTime] = {}
    written = {record.event: record.at for record in records}
    for record in records:
        facts.update(record.facts)
        for stage, taken in record.facts.get("timings", {}).items():
            closing = CLOSED_BY.get(stage, record.event)
            times[stage] = StageTime(stage, taken, written.get(closing, record.at))
    last = records[-1]
    return Summary(
        request=records[0].request,
        origin=records[0].origin,
        outcome=last.event.value,
        sequence=last.sequence,
        facts=facts,
        stages=tuple(times.values()),
        began=records[0].at,
        ended=last.at,
    )
