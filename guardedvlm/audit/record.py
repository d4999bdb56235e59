"""The audit record: one event of a request's life cycle, or of the ledger itself, in one canonical encoding.

An `Entry` is what is to be recorded; a `Record` is an entry in its place in the chain. The encoding is JSON with sorted
keys, no spaces and ASCII only, and `Record.decode` refuses every other spelling of the same values, so that one record
has one hash. The salt keeps two equal events from having equal hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, model_validator

from guardedvlm.audit.facts import CLOSED, Digest, Facts, Pseudonym
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Internal, Reason

VERSION = 1
GENESIS = "0" * 64
"""`previous` of a ledger's first record."""
MAX_LINE = 512 * 2**10
"""Bytes of one encoded record; 500 pages of grids take 129 KB."""
CONTEXT = b"guardedvlm.v1.record\x00"
"""Before a record's bytes in its hash: none of another kind is one of a record."""


class LedgerEvent(StrEnum):
    """Events of the ledger itself; they belong to no request."""

    OPENED = "OPENED"
    """A process began to write; `torn_bytes` says how much of an incomplete last line it cut off."""
    RESUMED = "RESUMED"
    """Writing works again after a failure; requests in between were refused."""
    POLICIES = "POLICIES"
    """Which policies are in force from now on, and which of them because their new file is broken."""
    SHADOWED = "SHADOWED"
    """What a candidate policy would have said of a request that is over, beside what was said."""
    PRUNED = "PRUNED"
    """Records whose time was over were removed; written before they are."""


REQUIRED: Mapping[State | LedgerEvent, frozenset[str]] = {
    State.RECEIVED: frozenset({"method"}),
    State.ADMITTED: frozenset({"tenant", "caller", "policy"}),
    State.REDACTED: frozenset({"regions"}),
    State.CLEARED: frozenset({"verification"}),
    State.REFUSED: frozenset({"reason"}),
    LedgerEvent.OPENED: frozenset({"torn_bytes"}),
    LedgerEvent.POLICIES: frozenset({"policies"}),
    LedgerEvent.SHADOWED: frozenset({"shadow"}),
    LedgerEvent.PRUNED: frozenset({"pruned"}),
}
"""Facts without which a step is not evidence."""

OF_LEDGER: Mapping[LedgerEvent, frozenset[str]] = {
    LedgerEvent.OPENED: frozenset({"torn_bytes"}),
    LedgerEvent.RESUMED: frozenset({"torn_bytes"}),
    LedgerEvent.POLICIES: frozenset({"policies", "policies_kept", "policy_problems"}),
    LedgerEvent.SHADOWED: frozenset({"shadow"}),
    LedgerEvent.PRUNED: frozenset({"pruned"}),
}
"""What an event of the ledger may say, and a request may not."""


def _real_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[
    str,
    StringConstraints(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$"),
    AfterValidator(_real_time),
]
"""RFC 3339, UTC, milliseconds."""
RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits made by the server for each request."""


class Entry(BaseModel):
    """An event that is to be recorded: `request` is set exactly for the states of a request."""

    model_config = CLOSED

    event: State | LedgerEvent
    request: RequestId | None = None
    facts: Facts

    @model_validator(mode="after")
    def _fits_event(self) -> Self:
        if isinstance(self.event, State) != (self.request is not None):
            raise ValueError("a state has a request, a ledger event has none")
        if not REQUIRED.get(self.event, frozenset()) <= self.facts.keys():
            raise ValueError("a required fact is missing")
        if ("reason" in self.facts) != (self.event is State.REFUSED):
            raise ValueError("a reason belongs to a refusal")
        if isinstance(self.event, LedgerEvent) and not self.facts.keys() <= OF_LEDGER[self.event]:
            raise ValueError("a ledger event says nothing about requests")
        if isinstance(self.event, State) and not self.facts.keys().isdisjoint(frozenset().union(*OF_LEDGER.values())):
            raise ValueError("a request says nothing about the ledger")
        return self


class Record(Entry):
    """An entry in its place in the chain. `origin` is the pseudonym of the replica that wrote it."""

    version: Literal[1]
    sequence: Annotated[int, Field(ge=0, lt=2**53)]
    previous: Digest
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    time: Time
    origin: Pseudonym

    def encode(self) -> bytes:
        """Canonical JSON, without the line's end."""
        values = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, line: bytes) -> Record:
        """Inverse of `encode`. Raises ValueError, which says nothing of the line, when a byte differs from it."""
        try:
            record = cls.model_validate_json(line)
        except ValidationError:
            raise ValueError("not a record") from None
        if record.encode() != line:
            raise ValueError("not in canonical form")
        return record

    @property
    def at(self) -> datetime:
        """`time` as an aware datetime."""
        return datetime.fromisoformat(self.time)


def record_hash(line: bytes) -> str:
    """SHA-256 of an encoded record, as hex: `previous` of the record after it."""
    return hashlib.sha256(CONTEXT + line).hexdigest()


def make_entry(event: State | LedgerEvent, request: str | None, facts: Mapping[str, Any]) -> Entry:
    """Check facts and make an entry.

    Raises Internal when they do not fit the schema: pydantic's own message would repeat a key that somebody wrote.
    """
    try:
        return Entry(event=event, request=request, facts=facts)  # type: ignore[arg-type]  # checked by the model
    except ValidationError:
        raise Internal(Reason.INTERNAL) from None


def now() -> str:
    """The current time as a record writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
