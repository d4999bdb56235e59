"""Checkpoints (C2SP tlog-checkpoint): a log's name, its size and its root, in a signed note.

Two that are kept where the ledger's writer cannot reach them show later that no record between them was taken away or
put in another's place, and that the end was not cut off. A log is called

    guardedvlm/<pseudonym of the replica that began it>/<name of the log's folder>

which is both the origin line and the name of the key in the note, as the specification recommends.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.audit.keys import PublicKey, Signer
from guardedvlm.audit.merkle import HASH_BYTES
from guardedvlm.audit.note import BadNote, Note, NoteSignature
from guardedvlm.errors import ConfigurationError, Reason

CHECKPOINTS = "checkpoints"
"""The file of a log's own checkpoints, in its folder: notes, each followed by an empty line."""
MAX_SIZE = 2**53
"""Records of a log (audit.record.Record.sequence)."""
ED25519_BYTES = 64
TAIL_BYTES = 64 * 2**10
"""Of a file in which the last checkpoint is looked for; one has some 300 bytes."""
EVENT_NAME = "guardedvlm.checkpoint"
"""Of the log record that a collector gets."""
LINE_KEY = "guardedvlm_checkpoint"
"""A sink that is a stream of lines has a checkpoint as JSON: one key, whose value is the note."""
_ORIGIN = re.compile(r"guardedvlm/([0-9a-f]{32})/([a-z][a-z0-9-]{0,63})\Z")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}\Z")
_ROOT = re.compile(r"[A-Za-z0-9+/]{43}=\Z")
_BLOCK = re.compile(rb"[^\n]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n(?:[^\n]+\n)*\n(?:\xe2\x80\x94 [^\n]+\n)+(?=\n)")
"""A note of a checkpoint that stands in a file; `decode` says whether it is one."""


def origin_line(origin: str, log: str) -> str:
    """What a log is called in its checkpoints. Raises ValueError on what is no pseudonym or no log's name."""
    line = f"guardedvlm/{origin}/{log}"
    if not _ORIGIN.match(line):
        raise ValueError("not a log")
    return line


def begun_by(origin: str) -> str:
    """The pseudonym in a log's origin line, "" in a line that is none."""
    match = _ORIGIN.match(origin)
    return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and root. `extensions` are lines that others may have put in; ours have none.

    Raises BadNote on what no checkpoint says.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin or any(not line or "\n" in line for line in self.extensions):
            raise BadNote("a line of a checkpoint is not empty")
        if not 0 <= self.size < MAX_SIZE or len(self.root) != HASH_BYTES:
            raise BadNote("a checkpoint has a size and a root")

    @property
    def text(self) -> str:
        """The text of its note."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Inverse of `text`. Raises BadNote."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not _SIZE.match(lines[1]) or not _ROOT.match(lines[2]):
            raise BadNote("not a checkpoint")
        try:
            found = cls(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True), tuple(lines[3:]))
        except binascii.Error:
            raise BadNote("not base64") from None
        if found.text != text:
            raise BadNote("not as a checkpoint is written")
        return found


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that it stands in; whose signatures hold is `verify`'s to say."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def decode(cls, content: bytes) -> SignedCheckpoint:
        """From a note's exact bytes. Raises BadNote."""
        note = Note.decode(content)
        if not any(len(one.signature) == ED25519_BYTES for one in note.signatures):
            raise BadNote("no whole signature")  # what a crash leaves may be base64 all the same
        return cls(Checkpoint.parse(note.text), note)

    def verify(self, keys: tuple[PublicKey, ...]) -> PublicKey:
        """The key among `keys` that signed it under its own origin. Raises BadNote."""
        return self.note.verify(self.checkpoint.origin, keys)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer, key_of: Callable[[str], PublicKey]) -> SignedCheckpoint:
    """Sign with the signer's active key; `key_of` gives the public key of an id. Raises Unavailable, UnknownKey."""
    made = signer.sign(checkpoint.text.encode())
    hashed = key_of(made.key_id).note_hash(checkpoint.origin)
    return SignedCheckpoint(checkpoint, Note(checkpoint.text, (NoteSignature(checkpoint.origin, hashed, made.value),)))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """What a file of checkpoints holds, in its order. `damaged` counts the pieces of it that are none."""

    found: tuple[SignedCheckpoint, ...]
    damaged: int


def encode_entry(signed: SignedCheckpoint) -> bytes:
    """A checkpoint as a file of them holds it."""
    return signed.note.encode() + b"\n"


def encode_line(signed: SignedCheckpoint) -> bytes:
    """A checkpoint as one line of JSON."""
    return json.dumps({LINE_KEY: signed.note.encode().decode()}).encode() + b"\n"


def read_checkpoints(path: Path) -> CheckpointFile:
    """Every checkpoint of a file: notes with an empty line between, lines of JSON, or both.

    Raises ConfigurationError(INPUT_UNREADABLE).
    """
    try:
        return parse_checkpoints(path.read_bytes())
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation="cannot be read") from None


def last_checkpoint(path: Path) -> SignedCheckpoint | None:
    """The largest checkpoint at the end of a file, None where there is none; whether it is signed is not looked at.

    Raises ConfigurationError(INPUT_UNREADABLE).
    """
    return max(newest_checkpoints(path), key=lambda one: one.checkpoint.size, default=None)


def newest_checkpoints(path: Path) -> tuple[SignedCheckpoint, ...]:
    """The checkpoints at the end of a file, none where there is none. Raises ConfigurationError(INPUT_UNREADABLE)."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return parse_checkpoints(stream.read()).found
    except FileNotFoundError:
        return ()
    except OSError:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=path.name, explanation="cannot be read") from None


def is_checkpoint(note: str) -> bool:
    """Whether a text is a checkpoint of ours with a signature, and nothing else: pseudonym, log, size, root."""
    try:
        found = SignedCheckpoint.decode(note.encode())
    except (BadNote, UnicodeError):
        return False
    checkpoint, signed = found.checkpoint, [(one.name, len(one.signature)) for one in found.note.signatures]
    is_ours = _ORIGIN.match(checkpoint.origin) is not None and not checkpoint.extensions
    return is_ours and signed == [(checkpoint.origin, ED25519_BYTES)]


def parse_checkpoints(content: bytes) -> CheckpointFile:
    """As `read_checkpoints`, of a file's content."""
    found: list[SignedCheckpoint] = []
    damaged = 0
    for piece in _pieces(content):
        try:
            found.append(SignedCheckpoint.decode(piece))
        except BadNote:
            damaged += 1
    return CheckpointFile(tuple(found), damaged)


def _pieces(content: bytes) -> Iterator[bytes]:
    """Notes, and what stands between them, in order; empty lines are nothing."""
    at = 0
    for match in _BLOCK.finditer(content):
        yield from _lines(content[at : match.start()])
        yield match[0]
        at = match.end()
    yield from _lines(content[at:])


def _lines(between: bytes) -> Iterator[bytes]:
    """Notes in lines of JSON; other lines as they are."""
    for line in between.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)[LINE_KEY]
            yield value.encode() if isinstance(value, str) else line
        except (ValueError, KeyError, TypeError):
            yield line
