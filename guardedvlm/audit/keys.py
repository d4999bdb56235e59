"""The keys that sign evidence: one that signs now, and the public halves of all that signed before.

    keys/evidence/ring.json   0600, in a folder 0700: the active key's private half, and the retired public ones
    evidence-keys.json        what `guardedvlm keys export-public` writes: public halves only, for an auditor

A ring is one file, so a rotation is one rename: a process that dies in it leaves the old ring or the new one. The
private half of a retired key is gone; what it signed verifies as long as somebody has its public half. Every signature
names its key by the start of the public half's SHA-256.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from guardedvlm.audit.facts import CLOSED
from guardedvlm.audit.record import Time, now
from guardedvlm.core.private_file import PRIVATE_FOLDER, PUBLIC_FILE, create_once, read_private, replace
from guardedvlm.errors import ConfigurationError, Reason

RING = "ring.json"
KEY_ID_HEX = 16
"""64 bits: a site has a handful of keys."""
MAX_BYTES = 256 * 2**10
MAX_KEYS = 1_000
"""A key a month is 72 in the six years that records are kept."""
NOTE_ED25519 = b"\x01"
"""Signature type of Ed25519 in C2SP signed-note."""
NOTE_HASH_BYTES = 4

KeyId = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{KEY_ID_HEX}}}$")]
_Raw = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")]  # base64 of 32 bytes
M = TypeVar("M", bound=BaseModel)


class Signature(NamedTuple):
    """An Ed25519 signature (64 bytes) and the id of the key that made it."""

    key_id: str
    value: bytes


class Signer(Protocol):
    """Who signs evidence: a ring in this process, or a process whose memory this one cannot read."""

    def sign(self, message: bytes) -> Signature:
        """Sign with the active key.

        A message begins with what it is: keys sign receipts and checkpoints, and none of one is one of the other.
        Raises Unavailable(EVIDENCE_UNSIGNED).
        """
        ...


class UnknownKey(ValueError):
    """A signature names a key that is not among those that were given."""


class WrongSignature(ValueError):
    """A signature is not by the key that it names, or not of this message."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of an evidence key, and when it was active. `retired` is "" for one that still is."""

    raw: bytes
    created: str
    retired: str = ""

    @property
    def id(self) -> str:
        """What signatures call it: 16 hex digits."""
        return hashlib.sha256(self.raw).hexdigest()[:KEY_ID_HEX]

    def note_hash(self, name: str) -> bytes:
        """The four bytes that stand for this key under `name` in a C2SP signed note."""
        return hashlib.sha256(name.encode() + b"\n" + NOTE_ED25519 + self.raw).digest()[:NOTE_HASH_BYTES]

    def verifier_key(self, name: str) -> str:
        """This key as C2SP signed-note tools take it: NAME+HASH+KEY."""
        return f"{name}+{self.note_hash(name).hex()}+{_encoded(NOTE_ED25519 + self.raw)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return when `signature` is of `message` by this key. Raises WrongSignature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            raise WrongSignature from None


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What an auditor needs: public halves, the active one and the retired ones, of one ring or of several."""

    keys: tuple[PublicKey, ...]

    def __add__(self, other: PublicKeys) -> PublicKeys:
        return PublicKeys((*self.keys, *(key for key in other.keys if key not in self.keys)))

    def find(self, key_id: str) -> PublicKey:
        """The key with this id. Raises UnknownKey."""
        for key in self.keys:
            if key.id == key_id:
                return key
        raise UnknownKey

    def verify(self, message: bytes, signature: Signature) -> PublicKey:
        """The key that signed `message`. Raises UnknownKey and WrongSignature."""
        key = self.find(signature.key_id)
        key.verify(message, signature.value)
        return key

    def encode(self) -> bytes:
        """What the file for an auditor holds."""
        listed = tuple(_Public.of(key) for key in self.keys)
        return _json(_PublicFile(version=1, keys=listed))

    @classmethod
    def decode(cls, content: bytes) -> PublicKeys:
        """Inverse of `encode`. Raises ValueError, which says nothing of the content."""
        return _parsed(_PublicFile, content).public_keys()

    def write(self, path: Path) -> None:
        """Write them into one file, for everybody to read. Raises ConfigurationError(OUTPUT_UNWRITABLE)."""
        try:
            replace(path, self.encode(), PUBLIC_FILE)
        except OSError:
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.name) from None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a folder as they were when it was read: a `Signer`."""

    active: PublicKey
    retired: tuple[PublicKey, ...]
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> Signature:
        """Sign with the active key."""
        return Signature(self.active.id, self._private.sign(message))

    @property
    def public(self) -> PublicKeys:
        """All public halves, the active one first, then the retired ones, the newest first."""
        return PublicKeys((self.active, *self.retired))


class _Public(BaseModel):
    model_config = CLOSED

    id: KeyId
    public: _Raw
    created: Time
    retired: Time | None = None

    @classmethod
    def of(cls, key: PublicKey) -> Self:
        """As a file has it."""
        return cls(id=key.id, public=_encoded(key.raw), created=key.created, retired=key.retired or None)

    def key(self) -> PublicKey:
        """Raises ValueError where the id is another key's."""
        found = PublicKey(base64.b64decode(self.public), self.created, self.retired or "")
        if found.id != self.id or _encoded(found.raw) != self.public:
            raise ValueError
        return found


class _PublicFile(BaseModel):
    model_config = CLOSED

    version: Literal[1]
    keys: Annotated[tuple[_Public, ...], Field(min_length=1, max_length=MAX_KEYS)]

    def public_keys(self) -> PublicKeys:
        found = tuple(one.key() for one in self.keys)
        if len({key.id for key in found}) < len(found):
            raise ValueError
        return PublicKeys(found)


class _Active(BaseModel):
    model_config = CLOSED

    private: _Raw = Field(repr=False)
    created: Time


class _RingFile(BaseModel):
    model_config = CLOSED

    version: Literal[1]
    active: _Active
    retired: Annotated[tuple[_Public, ...], Field(max_length=MAX_KEYS)] = ()

    @classmethod
    def fresh(cls, retired: Sequence[PublicKey] = ()) -> Self:
        """A ring with a new key, and what is kept of the old ones."""
        private = Ed25519PrivateKey.generate().private_bytes_raw()
        kept = tuple(_Public.of(key) for key in retired)
        return cls(version=1, active=_Active(private=_encoded(private), created=now()), retired=kept)

    def ring(self) -> KeyRing:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.active.private))
        active = PublicKey(private.public_key().public_bytes_raw(), self.active.created)
        retired = tuple(one.key() for one in self.retired)
        if not all(key.retired for key in retired) or len({active.id, *(key.id for key in retired)}) <= len(retired):
            raise ValueError
        return KeyRing(active, retired, private)


def load_keys(folder: Path) -> KeyRing:
    """The ring in `folder`.

    Raises ConfigurationError(SETTINGS_INVALID) where there is none, where others may read it, and for one that was
    changed by hand.
    """
    try:
        content = read_private(folder / RING, MAX_BYTES)
    except FileNotFoundError:
        raise _invalid(RING, "there is no evidence key; guardedvlm keys init makes one") from None
    try:
        return _parsed(_RingFile, content).ring()
    except ValueError:
        raise _invalid(RING, "is not a ring of evidence keys") from None


def create_keys(folder: Path) -> KeyRing:
    """The ring in `folder`, made there where there is none: processes that begin together have one key.

    Raises ConfigurationError(SETTINGS_INVALID).
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if not (folder / RING).exists():
            create_once(folder / RING, _json(_RingFile.fresh()))
    except OSError:
        raise _invalid(folder.name, "the folder for evidence keys cannot be written") from None
    return load_keys(folder)


def rotate_keys(folder: Path) -> KeyRing:
    """Give the ring in `folder` a new active key, and forget the private half of the old one.

    Raises ConfigurationError(SETTINGS_INVALID) as `load_keys` does, and where the folder cannot be written.
    """
    try:
        with _alone(folder):
            old = load_keys(folder)
            ended = PublicKey(old.active.raw, old.active.created, now())
            replace(folder / RING, _json(_RingFile.fresh((ended, *old.retired))))
            return load_keys(folder)
    except OSError:
        raise _invalid(folder.name, "the folder for evidence keys cannot be written") from None


def load_public(path: Path) -> PublicKeys:
    """The public keys in a file that `PublicKeys.write` wrote. Raises ConfigurationError(SETTINGS_INVALID)."""
    try:
        with path.open("rb") as stream:
            return PublicKeys.decode(stream.read(MAX_BYTES + 1))
    except OSError:
        raise _invalid(path.name, "cannot be read") from None
    except ValueError:
        raise _invalid(path.name, "is not what guardedvlm keys export-public writes") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One rotation at a time. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _parsed(model: type[M], content: bytes) -> M:
    """Raises ValueError that says nothing of the content."""
    if len(content) > MAX_BYTES:
        raise ValueError
    try:
        return model.model_validate_json(content)
    except ValidationError:
        raise ValueError from None


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=2, exclude_none=True).encode("ascii") + b"\n"


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _invalid(place: str, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=place, explanation=explanation)
