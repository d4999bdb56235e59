"""The chain: each record states the hash of the one before it. One checker, used at start and by `audit.verify`."""

from __future__ import annotations

from enum import StrEnum

from guardedvlm.audit.record import GENESIS, Record, record_hash


class Flaw(StrEnum):
    """What is wrong with a ledger, at the first place where something is."""

    EMPTY = "empty"
    """No record at all; a ledger that was ever opened has one."""
    UNREADABLE = "unreadable"
    """A line that is not a record in canonical form."""
    TAMPERED = "tampered"
    """A record does not link to the one before it: one of the two was changed."""
    GAP = "gap"
    """Records are missing here."""
    REORDERED = "reordered"
    """A record stands earlier or later than its number says."""
    UNTOLD = "untold"
    """Records at the beginning are gone, and the ledger does not tell that they were pruned when their time was
    over."""
    LIFE_CYCLE = "life_cycle"
    """A request took a step that `core.lifecycle` does not have."""


class BrokenChain(Exception):
    """The chain does not hold at `sequence`, the number that the record there should have."""

    def __init__(self, flaw: Flaw, sequence: int) -> None:
        super().__init__(flaw)
        self.flaw = flaw
        self.sequence = sequence


class Chain:
    """Where a chain stands: the next record's number, and the hash it must state."""

    def __init__(self, sequence: int = 0, previous: str = GENESIS) -> None:
        self.sequence = sequence
        self.previous = previous

    def extend(self, line: bytes) -> Record:
        """Check that `line` is the next record and step over it. Raises BrokenChain."""
        try:
            record = Record.decode(line)
        except ValueError:
            raise BrokenChain(Flaw.UNREADABLE, self.sequence) from None
        if record.sequence != self.sequence:
            raise BrokenChain(Flaw.GAP if record.sequence > self.sequence else Flaw.REORDERED, self.sequence)
        if record.previous != self.previous:
            raise BrokenChain(Flaw.TAMPERED, self.sequence)
        self.sequence += 1
        self.previous = record_hash(line)
        return record
