"""One request's part of the ledger: each step of its life cycle is a durable record, in the table's order."""

from __future__ import annotations

import secrets

from typing_extensions import Unpack

from guardedvlm.audit.facts import Facts
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import Entry, Record, make_entry
from guardedvlm.audit.segment import log_called
from guardedvlm.core.lifecycle import FINAL, LifeCycle, State
from guardedvlm.errors import Internal, Reason, Unavailable


class RequestLog:
    """The life of one request. Made by `begin`; `advance` returns when the step's record is durable.

    A step that failed to become durable did not happen: from then on only REFUSED is left.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.request = secrets.token_hex(16)
        self._ledger = ledger
        self._life = LifeCycle()
        self._records: list[Record] = []
        self._lost = False

    @classmethod
    async def begin(cls, ledger: Ledger, **facts: Unpack[Facts]) -> RequestLog:
        """Record RECEIVED under a new random id.

        Raises Unavailable(LEDGER_UNWRITABLE), and Internal on facts that do not fit.
        """
        log = cls(ledger)
        await log.open(**facts)
        return log

    async def open(self, **facts: Unpack[Facts]) -> None:
        """`begin` of a log that is there already: who is cancelled meanwhile can still close it."""
        await self._append(make_entry(State.RECEIVED, self.request, facts))

    @property
    def state(self) -> State:
        """The last state that was asked for."""
        return self._life.state

    @property
    def finished(self) -> bool:
        """True after RELEASED or REFUSED was asked for."""
        return self._life.finished

    @property
    def closed(self) -> bool:
        """True after the record of RELEASED or REFUSED became durable."""
        return bool(self._records) and self._records[-1].event in FINAL

    @property
    def log(self) -> str:
        """What evidence calls the log that its records stand in."""
        return log_called(self._ledger.folder)

    @property
    def records(self) -> tuple[Record, ...]:
        """Durable records so far."""
        return tuple(self._records)

    async def advance(self, state: State, **facts: Unpack[Facts]) -> Record:
        """Take a step and return its record once that is durable.

        Raises Unavailable(LEDGER_UNWRITABLE), and Internal on a step that the life cycle does not have (finishing twice
        is one) or on facts that do not fit; facts that do not fit leave the state as it was.
        """
        if self._lost and state is not State.REFUSED:
            raise Unavailable(Reason.LEDGER_UNWRITABLE)
        entry = make_entry(state, self.request, facts)
        try:
            self._life.advance(state)
        except ValueError:
            raise Internal(Reason.INTERNAL) from None
        return await self._append(entry)

    async def _append(self, entry: Entry) -> Record:
        try:
            record = await self._ledger.append(entry)
        except BaseException:  # a cancelled wait too: whether the record is durable is not known
            self._lost = True
            raise
        self._records.append(record)
        return record
