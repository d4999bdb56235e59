"""The clearance: what the guard signs and inference checks, and the two values that only a clearance lets through.

Encoding only: signing lives in `guard.verify`, checking in `inference.clearance`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Literal

from guardedvlm.core.region import Raster, Size

CONTEXT = b"guardedvlm.v1.clearance\x00"
"""Domain separation: a signature made for anything else is never a clearance."""


def raster_digest(raster: Raster) -> str:
    """SHA-256 over mode, width, height and bytes of an (H, W, 3) uint8 raster, as hex. Of cleared pixels only."""
    size = Size.of(raster)
    state = hashlib.sha256(b"guardedvlm.v1.raster\x00RGB" + struct.pack(">II", size.width, size.height))
    state.update(raster.data.cast("B") if raster.flags.c_contiguous else raster.tobytes())
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Turn:
    """A past question and its answer, both screened."""

    question: str = field(repr=False)
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClearedPrompt:
    """Question, history and answer schema after the screen. Made by `guard.screen`, re-admitted by inference alone."""

    question: str = field(repr=False)
    history: tuple[Turn, ...] = field(default=(), repr=False)
    schema: str = field(default="", repr=False)
    quoted: tuple[str, ...] = field(default=(), repr=False)
    """What the picture says to the model, for an engine that reads it to be told that it is no instruction."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All parts: the question, the turns, the schema and what is quoted."""
        turns = (text for turn in self.history for text in (turn.question, turn.answer))
        return self.question, *turns, self.schema, *self.quoted

    @property
    def chars(self) -> int:
        """Characters of all parts together."""
        return sum(map(len, self.texts))

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form, as hex."""
        body: dict[str, object] = {
            "question": self.question,
            "history": [[turn.question, turn.answer] for turn in self.history],
            "schema": self.schema,
        }
        if self.quoted:
            body["quoted"] = self.quoted
        encoded = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(b"guardedvlm.v1.prompt\x00" + encoded).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class ClearedImage:
    """A raster that verification passed: (H, W, 3) uint8 RGB, read-only, in the geometry that the engine declared.

    Made by `guard.verify` and re-admitted by inference after the clearance was checked; by nobody else (a contract test
    walks the syntax tree for other makers).
    """

    raster: Raster = field(repr=False)
    digest: str

    def __post_init__(self) -> None:
        if self.raster.flags.writeable:
            raise ValueError("cleared pixels must be read-only")

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size.of(self.raster)


@dataclass(frozen=True, slots=True)
class Clearance:
    """What is signed. `expires_at` is Unix time in milliseconds, no later than the request's deadline.

    scope = HMAC(epoch key, tenant, caller group, policy digest): it names nobody and bounds every cache.
    """

    raster_digest: str
    prompt_digest: str
    audience: str
    nonce: str
    scope: str
    key_id: str
    expires_at: int
    version: Literal[1] = 1

    def encode(self) -> bytes:
        """The exact bytes that are signed (canonical JSON under a context prefix)."""
        return CONTEXT + json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Clearance:
        """Inverse of `encode`. Raises ValueError when a byte differs from the canonical form."""
        if not encoded.startswith(CONTEXT) or len(encoded) > 4096:
            raise ValueError("not a clearance")
        try:
            found = cls(**json.loads(encoded[len(CONTEXT) :]))
        except (TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise ValueError("not a clearance") from None
        if found.encode() != encoded:
            raise ValueError("not the canonical form")
        return found


@dataclass(frozen=True, slots=True)
class SignedClearance:
    """A clearance and its Ed25519 signature (64 bytes) over `encoded`."""

    encoded: bytes = field(repr=False)
    signature: bytes = field(repr=False)
