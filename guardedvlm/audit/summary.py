"""A finished request as its records tell it: all facts together, and when each stage ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from guardedvlm.audit.facts import Facts, Method, Stage
from guardedvlm.audit.record import Record


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took (measured), and when its record was written."""

    stage: Stage
    milliseconds: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """One request. `sequence` is the number of its closing record: where an auditor finds it in the ledger."""

    request: str
    outcome: str
    sequence: int
    facts: Facts
    stages: tuple[StageTime, ...]
    began: datetime
    ended: datetime

    @property
    def asks(self) -> bool:
        """Whether the call is for a model."""
        return self.facts.get("method") not in (Method.REDACT_IMAGE, Method.GET_POLICY)


def summarize(records: Sequence[Record]) -> Summary:
    """Put the records of one request together; where two state the same fact, the later one holds.

    Raises ValueError when there is none or when they belong to no request.
    """
    if not records or records[0].request is None:
        raise ValueError("no records of a request")
    facts = Facts()
    stages: list[StageTime] = []
    for record in records:
        facts.update(record.facts)
        timings = record.facts.get("timings", {})
        stages += [StageTime(stage, taken, record.at) for stage, taken in timings.items()]
    last = records[-1]
    return Summary(
        request=records[0].request,
        outcome=last.event.value,
        sequence=last.sequence,
        facts=facts,
        stages=tuple(stages),
        began=records[0].at,
        ended=last.at,
    )
