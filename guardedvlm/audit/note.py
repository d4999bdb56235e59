"""Signed notes (C2SP signed-note): a text, an empty line, and lines of signatures, in exactly these bytes.

    guardedvlm/1f0e.../years-6        the text: lines of UTF-8, the last one ended
    57
    8e2c...=
                                      an empty line
    — NAME base64(4 bytes that stand for the key, signature)

The parser takes what the specification allows and nothing beside it: what it has read, `Note.encode` writes again, byte
for byte. A note says who signed it; whether that is so is `verify`'s to say. Signatures by unknown keys are ignored, as
the specification has it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from guardedvlm.audit.keys import NOTE_HASH_BYTES, PublicKey, WrongSignature

MAX_NOTE = 1_000_000
"""Bytes; the limit of Go's implementation."""
MAX_SIGNATURES = 100
"""The limit of Go's implementation."""
_SIGNATURES = b"\n\n\xe2\x80\x94 "
_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class BadNote(ValueError):
    """Not a signed note, or not signed by the key that it names. Says nothing of what it holds."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line of a note: `key_hash` is the four bytes that stand for the key of `name`."""

    name: str
    key_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and its signatures, at least one. Raises BadNote on what no note has."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n") or _CONTROL.search(self.text):
            raise BadNote("the text of a note is whole lines")
        if not 0 < len(self.signatures) <= MAX_SIGNATURES:
            raise BadNote("a note has signatures")
        for one in self.signatures:
            if not is_key_name(one.name) or len(one.key_hash) != NOTE_HASH_BYTES or not one.signature:
                raise BadNote("a signature has a name, a key and a value")

    def encode(self) -> bytes:
        """The note's bytes."""
        lines = (
            f"\u2014 {one.name} {base64.b64encode(one.key_hash + one.signature).decode()}\n" for one in self.signatures
        )
        return f"{self.text}\n{''.join(lines)}".encode()

    @classmethod
    def decode(cls, content: bytes) -> Note:
        """Inverse of `encode`. Raises BadNote."""
        if len(content) > MAX_NOTE:
            raise BadNote("too long")
        # A text may hold empty lines: the signatures are what follows the last one.
        at = content.rfind(b"\n\n")
        if at < 0 or not content.startswith(_SIGNATURES, at) or not content.endswith(b"\n"):
            raise BadNote("no signatures")
        try:
            text, lines = content[: at + 1].decode(), content[at + 2 : -1].decode().split("\n")
        except UnicodeDecodeError:
            raise BadNote("not UTF-8") from None
        note = cls(text, tuple(map(_signature, lines)))
        if note.encode() != content:
            raise BadNote("not as a note is written")
        return note

    def verify(self, name: str, keys: Iterable[PublicKey]) -> PublicKey:
        """The key among `keys` that signed the note under `name`.

        Raises BadNote when none of them did, and when a signature that names one of them is not by it.
        """
        found: PublicKey | None = None
        for key in keys:
            value = key.note_hash(name)
            for one in self.signatures:
                if (one.name, one.key_hash) != (name, value):
                    continue
                try:
                    key.verify(self.text.encode(), one.signature)
                except WrongSignature:
                    raise BadNote("a signature does not hold") from None
                found = found or key
        if found is None:
            raise BadNote("signed by none of these keys")
        return found


def is_key_name(name: str) -> bool:
    """Whether a key may be called so: not empty, without spaces and plus signs."""
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and not _CONTROL.search(name)


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadNote("not a signature")
    try:
        value = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise BadNote("not base64") from None
    return NoteSignature(match[1], value[:NOTE_HASH_BYTES], value[NOTE_HASH_BYTES:])
