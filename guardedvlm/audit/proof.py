"""Inclusion proofs: the records of one request, and the way from each to the root of a signed checkpoint.

A proof is one JSON file that is checked without the ledger: with the public keys and, to know that the log is the one
that others see too, with a checkpoint from elsewhere. It shows that these records are in the log. That the log has no
others of the request it cannot show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from guardedvlm.audit.checkpoint import CHECKPOINTS, Checkpoint, SignedCheckpoint, read_checkpoints
from guardedvlm.audit.facts import CLOSED, Digest
from guardedvlm.audit.keys import PublicKey, PublicKeys
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.merkle import Tree, is_included, leaf_hash
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.record import MAX_LINE, Record
from guardedvlm.audit.remains import log_files
from guardedvlm.audit.segment import read_lines
from guardedvlm.audit.verify import read_lines_of
from guardedvlm.errors import ConfigurationError, Reason

MAX_RECORDS = 64
"""Of a request: its life cycle has nine states."""


class ProofFailed(ValueError):
    """A proof does not hold. Says nothing of what it holds."""


class ProvenRecord(BaseModel):
    """One record: its line, its number, and its audit path (RFC 6962, section 2.1.1) from the leaf up."""

    model_config = CLOSED

    line: Annotated[str, Field(max_length=MAX_LINE)]
    index: Annotated[int, Field(ge=0, lt=2**53)]
    path: Annotated[tuple[Digest, ...], Field(max_length=53)]


class InclusionProof(BaseModel):
    """The records of one request, and the note of the checkpoint whose tree they are in."""

    model_config = CLOSED

    version: Literal[1] = 1
    checkpoint: Annotated[str, Field(max_length=100_000)]
    records: Annotated[tuple[ProvenRecord, ...], Field(min_length=1, max_length=MAX_RECORDS)]

    def encode(self) -> bytes:
        """The proof's file."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> InclusionProof:
        """Inverse of `encode`. Raises ProofFailed."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise ProofFailed("not a proof") from None


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof that holds shows."""

    checkpoint: Checkpoint
    key: PublicKey
    records: tuple[Record, ...]


def prove(ledger: Path, request: str) -> InclusionProof:
    """A proof of every record of the request `request`, under the log's own largest checkpoint.

    Raises ConfigurationError: INPUT_UNREADABLE where the ledger has no record of it or cannot be read, LEDGER_BROKEN
    where the log is not the one that its checkpoint tells, EVIDENCE_UNSIGNED while no checkpoint covers its records.
    """
    for folder in list_logs(ledger):
        found = list(read_lines_of(folder, request=request))
        if found:
            return _prove(folder, [(record.sequence, line) for line, record in found])
    raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the ledger has no record of this request")


def _prove(folder: Path, lines: Sequence[tuple[int, bytes]]) -> InclusionProof:
    signed = _covering(folder, lines[-1][0])
    size = signed.checkpoint.size
    files = log_files(folder)
    tree = Tree(files.tree(), (leaf_hash(line.content) for part in files.segments for line in read_lines(part)))
    try:
        if tree.root(size) != signed.checkpoint.root:
            raise LookupError
        records = [
            ProvenRecord(line=line.decode(), index=index, path=tuple(one.hex() for one in tree.inclusion(index, size)))
            for index, line in lines
        ]
    except LookupError:
        raise ConfigurationError(
            Reason.LEDGER_BROKEN, place=folder.name, explanation="the log is not the one that its checkpoint tells"
        ) from None
    return InclusionProof(checkpoint=signed.note.encode().decode(), records=tuple(records))


def _covering(folder: Path, index: int) -> SignedCheckpoint:
    """The log's largest checkpoint, which covers record `index`."""
    path = folder / CHECKPOINTS
    found = read_checkpoints(path).found if path.exists() else ()
    largest = max(found, key=lambda one: one.checkpoint.size, default=None)
    if largest is None or largest.checkpoint.size <= index:
        raise ConfigurationError(
            Reason.EVIDENCE_UNSIGNED, place=folder.name, explanation="no checkpoint covers the records yet"
        )
    return largest


def check_proof(proof: InclusionProof, keys: PublicKeys) -> Proven:
    """Check a proof, in order: who signed the checkpoint, that each line is a record of one request in its place, and
    that each is in the tree. Raises ProofFailed."""
    try:
        signed = SignedCheckpoint.decode(proof.checkpoint.encode())
        key = signed.verify(keys.keys)
    except BadNote:
        raise ProofFailed("the checkpoint is not signed by any of these keys") from None
    records = tuple(_checked(one, signed.checkpoint) for one in proof.records)
    if len({record.request for record in records}) != 1 or records[0].request is None:
        raise ProofFailed("the records are not of one request")
    numbers = [record.sequence for record in records]
    if numbers != sorted(set(numbers)):
        raise ProofFailed("the records are not in their order")
    return Proven(signed.checkpoint, key, records)


def _checked(proven: ProvenRecord, checkpoint: Checkpoint) -> Record:
    line = proven.line.encode()
    try:
        record = Record.decode(line)
    except ValueError:
        raise ProofFailed("a line is not a record") from None
    if record.sequence != proven.index:
        raise ProofFailed("a record is not the one with that number")
    path = [bytes.fromhex(value) for value in proven.path]
    if not is_included(leaf_hash(line), proven.index, checkpoint.size, path, checkpoint.root):
        raise ProofFailed("a record is not in the tree")
    return record
