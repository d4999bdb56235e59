"""The receipt: what the ledger says of one request, and what was seen of its document, signed for the caller.

    Closed (what the records say)  +  a fresh nonce and three commitments  --sign-->  Receipt (a DSSE envelope)

Of the document it holds commitments: HMAC-SHA256 under 256 random bits that stand in this receipt and nowhere else. Who
has the receipt and the file can show that they belong together; who has the ledger and the file cannot find one by the
other. The service makes the nonce when the response is done and keeps none: a repeated request_id gets a
receipt of its own, of the same record with another nonce (`Closed` has none, so what a replay remembers has none).

The answer has no commitment: it is short, and whoever holds a receipt could try candidates until one fits.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from guardedvlm.audit import dsse
from guardedvlm.audit.facts import (
    CLOSED,
    MAX_DETECTORS,
    MAX_PAGES,
    Bytes,
    Component,
    ComponentName,
    Count,
    Digest,
    Method,
    Permille,
    PolicyUsed,
    Pseudonym,
    Verification,
    VerifyVerdict,
)
from guardedvlm.audit.keys import Signature, Signer
from guardedvlm.audit.record import Record, RequestId, Time, now, record_hash
from guardedvlm.audit.segment import LogName
from guardedvlm.audit.summary import summarize
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Internal, Reason

TYPE = "application/vnd.guardedvlm.receipt.v1+json"
NONCE_BYTES = 32
CHUNK_BYTES = 2**20
_CONTEXT = b"guardedvlm.v1.receipt\x00"


class Outcome(StrEnum):
    """How the request ended."""

    RELEASED = "released"
    REFUSED = "refused"


class Of(StrEnum):
    """What a commitment is of; part of what it covers."""

    INPUT = "input"
    """The document's bytes as they came."""
    CLEARED = "cleared"
    """The raster digests (`core.clearance.raster_digest`, 32 bytes each) of all pages that were cleared, in order."""
    REDACTED = "redacted"
    """The bytes of the redacted file that went out."""


class Position(BaseModel):
    """Where the request's closing record stands. Its hash covers every record before it."""

    model_config = CLOSED

    origin: Pseudonym
    log: LogName
    sequence: Annotated[int, Field(ge=0, lt=2**53)]
    record_hash: Digest


class File(BaseModel):
    """A file's length, and the commitment of its bytes."""

    model_config = CLOSED

    bytes: Bytes
    commitment: Digest


class Pages(BaseModel):
    """How many pages were cleared, and the commitment of their rasters."""

    model_config = CLOSED

    pages: Annotated[int, Field(ge=1, le=MAX_PAGES)]
    commitment: Digest


class Recorded(BaseModel):
    """What a receipt repeats of the ledger: no tenant, no caller, no name of a file, no content."""

    model_config = CLOSED

    audit_id: RequestId
    method: Method
    outcome: Outcome
    reason: Reason | None = None
    policy: PolicyUsed | None = None
    detectors: Annotated[tuple[Component, ...], Field(max_length=MAX_DETECTORS)] | None = None
    engine: ComponentName | None = None
    model: Component | None = None
    regions: dict[Kind, Count] | None = None
    area_permille: dict[Kind, Permille] | None = None
    actions: dict[Action, Count] | None = None
    verification: Verification | None = None
    began: Time
    ended: Time
    position: Position

    @classmethod
    def of(cls, records: Sequence[Record], log: str) -> Self:
        """What the records of one finished request in the log `log` say. Raises ValueError where they do not fit."""
        found = summarize(records)
        last = records[-1]
        told = {name: found.facts[name] for name in _REPEATED if name in found.facts}  # type: ignore[literal-required]
        return cls(
            audit_id=found.request,
            outcome=_OUTCOMES.get(last.event),  # type: ignore[arg-type]  # None is refused
            began=records[0].time,
            ended=max(records[0].time, last.time),  # a clock may be set back meanwhile
            position=Position(
                origin=last.origin, log=log, sequence=last.sequence, record_hash=record_hash(last.encode())
            ),
            **told,
        )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.reason is not None) != (self.outcome is Outcome.REFUSED):
            raise ValueError("a reason belongs to a refusal")
        if self.ended < self.began:
            raise ValueError("it ended before it began")
        if self.outcome is Outcome.RELEASED:
            if self.policy is None or not self.detectors or self.regions is None or self.verification is None:
                raise ValueError("nothing is released without a policy, detectors and verification")
            if self.verification["verdict"] is not VerifyVerdict.CLEARED:
                raise ValueError("nothing is released that was not cleared")
        return self


_OUTCOMES: Mapping[object, Outcome] = {State.RELEASED: Outcome.RELEASED, State.REFUSED: Outcome.REFUSED}
_REPEATED = frozenset(Recorded.model_fields) - {"audit_id", "outcome", "began", "ended", "position"}


class Statement(Recorded):
    """What is signed: what the ledger says, when this was signed, and the commitments under a nonce that stands here
    alone. `issued` is later than `ended` where the response is a remembered one."""

    version: Literal[1]
    issued: Time
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    input: File
    cleared: Pages | None = None
    redacted: File | None = None

    @model_validator(mode="after")
    def _commits(self) -> Self:
        if self.outcome is Outcome.RELEASED and self.cleared is None:
            raise ValueError("what was released was cleared")
        if self.redacted is not None and self.cleared is None:
            raise ValueError("no file goes out that was not cleared")
        if self.issued < self.ended:
            raise ValueError("it was issued before the request ended")
        return self

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        values = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, payload: bytes) -> Statement:
        """Inverse of `encode`. Raises ValueError, which says nothing of the content, when a byte differs from it."""
        try:
            found = cls.model_validate_json(payload)
        except ValidationError:
            raise ValueError("not a receipt") from None
        if found.encode() != payload:
            raise ValueError("not in canonical form")
        return found

    def recorded(self) -> Recorded:
        """The part of it that the ledger says, too."""
        return Recorded.model_construct(**{name: getattr(self, name) for name in Recorded.model_fields})

    def commitment(self, of: Of, chunks: Iterable[bytes]) -> str:
        """What the commitment of these bytes is under this receipt's nonce."""
        return commitment(bytes.fromhex(self.nonce), of, chunks)


@dataclass(frozen=True, slots=True)
class Closed:
    """A request that is over, and what its durable records say; `pages` are the raster digests (hex) of what was
    cleared. It has no nonce: a receipt is made of it for each response."""

    recorded: Recorded
    pages: tuple[str, ...] = ()

    @classmethod
    def of(cls, records: Sequence[Record], log: str, pages: Sequence[str]) -> Closed:
        """Raises Internal where the records do not make a receipt."""
        try:
            return cls(Recorded.of(records, log), tuple(pages))
        except ValueError:
            raise Internal(Reason.INTERNAL) from None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signed statement. `decode` does not check the signature: `audit.receipt_proof` does."""

    statement: Statement
    signature: Signature = field(repr=False)

    @property
    def message(self) -> bytes:
        """What is signed."""
        return dsse.message(TYPE, self.statement.encode())

    def encode(self) -> bytes:
        """The receipt as it goes out and stands in a file."""
        return dsse.Envelope(TYPE, self.statement.encode(), self.signature).encode()

    @classmethod
    def decode(cls, content: bytes) -> Receipt:
        """Inverse of `encode`. Raises ValueError, which says nothing of the content, when a byte differs from it."""
        envelope = dsse.Envelope.decode(content)
        if envelope.payload_type != TYPE:
            raise ValueError("not a receipt")
        return cls(Statement.decode(envelope.payload), envelope.signature)


class Receipts:
    """Makes the receipts of a service."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def issue(self, closed: Closed, document: bytes, redacted: bytes) -> Receipt:
        """The receipt of a request for `document`, with the file that went out (b"" = none), under a fresh nonce. A
        stream may have given its file before it was refused.

        It reads both files and may wait for another process. Raises Unavailable(EVIDENCE_UNSIGNED).
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        values: dict[str, Any] = {name: getattr(closed.recorded, name) for name in Recorded.model_fields}
        pages = closed.pages
        statement = Statement(
            **values,
            version=1,
            issued=max(now(), closed.recorded.ended),
            nonce=nonce.hex(),
            input=_file(nonce, Of.INPUT, document),
            cleared=Pages(pages=len(pages), commitment=commitment(nonce, Of.CLEARED, map(bytes.fromhex, pages)))
            if pages
            else None,
            redacted=_file(nonce, Of.REDACTED, redacted) if redacted else None,
        )
        return Receipt(statement, self._signer.sign(dsse.message(TYPE, statement.encode())))


def commitment(nonce: bytes, of: Of, chunks: Iterable[bytes]) -> str:
    """HMAC-SHA256 under `nonce` of what is committed to: "guardedvlm.v1.receipt", a zero byte, its name, a zero byte,
    and the bytes."""
    state = hmac.new(nonce, _CONTEXT + of.value.encode("ascii") + b"\x00", "sha256")
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def _file(nonce: bytes, of: Of, content: bytes) -> File:
    return File(bytes=len(content), commitment=commitment(nonce, of, (content,)))
