"""The requests of one log that are not over, while its records go by: a request is told as a whole when it is."""

from __future__ import annotations

from dataclasses import replace

from guardedvlm.audit.conventions import UNFINISHED
from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.signals import trace_id
from guardedvlm.audit.summary import Summary, summarize
from guardedvlm.core.lifecycle import FINAL

MOST = 4_096
"""Requests at the same time, above which the oldest is told as unfinished: a service runs far fewer."""
_NOT_TOLD = frozenset({"hidden", "findings", "detectors"})
"""Facts of no span: of a long document they are most of its record."""


class OpenRequests:
    """Records of requests that have not ended."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}

    def add(self, record: Record) -> list[Summary]:
        """Take the log's next record; returns what is over with it.

        A process that begins to write (OPENED) ends all requests of the one before it: they are unfinished.
        """
        if record.event is LedgerEvent.OPENED:
            return self._give_up(len(self._records))
        if record.request is None:
            return []
        self._records.setdefault(record.request, []).append(_without_size(record))
        if record.event in FINAL:
            return [summarize(self._records.pop(record.request))]
        return self._give_up(len(self._records) - MOST)

    def trace_of(self, record: Record) -> str:
        """The trace that a record belongs to, as its request's first record says; "" when it belongs to no request."""
        if record.request is None:
            return ""
        known = self._records.get(record.request)
        return trace_id(record.request, known[0].facts if known else record.facts)

    def oldest(self, otherwise: int) -> int:
        """Number of the first record of a request that is not over; `otherwise` when all are."""
        return min((records[0].sequence for records in self._records.values()), default=otherwise)

    def _give_up(self, number: int) -> list[Summary]:
        """The oldest requests, as unfinished."""
        ended = [self._records.pop(request) for request in list(self._records)[: max(0, number)]]
        return [replace(summarize(records), outcome=UNFINISHED) for records in ended]


def _without_size(record: Record) -> Record:
    facts = {name: value for name, value in record.facts.items() if name not in _NOT_TOLD}
    return record.model_copy(update={"facts": facts})
