"""The way back from labels: what PERSON-A stands for, sealed for a key that this service does not have.

    reidentify.key   X25519 private key, PKCS #8 PEM: with whoever may read the map, never on the guard's machine
    reidentify.pub   "x25519:" and base64 of the public key: what a tenant of the tenants file names

Sealing is HPKE in base mode (RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305) of the library, one
message a key encapsulation. A map is bound to the request that it belongs to: PERSON-A of another request is somebody
else. Base mode does not tell who sealed; the channel that the map came over does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from guardedvlm.core.private_file import PRIVATE_FOLDER
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.transport.secret_file import read_secret, write_secret

PRIVATE_KEY, PUBLIC_KEY = "reidentify.key", "reidentify.pub"
SCHEME = "x25519:"
KEY_ID_HEX = 16
"""64 bits: a tenant has a handful of keys."""
STEP_BYTES = 1024
"""Maps are filled up to a multiple of this, so that the length of a sealed one does not tell the length of a name."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_INFO = b"guardedvlm.v1.reidentification\x00"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed map: encapsulated key and ciphertext. `labels` is how many are in it."""

    key_id: str
    box: bytes = field(repr=False)
    labels: int


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public half, which can seal and not open."""

    raw: bytes  # 32 bytes, RFC 7748

    @classmethod
    def parse(cls, text: str) -> SealingKey:
        """The key in "x25519:<base64>", in the one spelling that it has.

        Raises ValueError for anything else, and for a point of low order, whose shared secret everybody knows.
        """
        try:
            raw = base64.b64decode(text.removeprefix(SCHEME), validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != 32 or str(cls(raw)) != text:
            raise ValueError("not an X25519 public key")
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw))
        return cls(raw)

    def __str__(self) -> str:
        return SCHEME + base64.b64encode(self.raw).decode("ascii")

    @property
    def id(self) -> str:
        """16 hex digits of the key's SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:KEY_ID_HEX]

    def seal(self, labels: Mapping[str, Sequence[str]], request: str) -> Sealed:
        """Seal what the labels of the request with this audit id stand for."""
        plain = json.dumps(labels, ensure_ascii=False, sort_keys=True).encode()
        padded = plain.ljust(-(-len(plain) // STEP_BYTES) * STEP_BYTES)
        public = X25519PublicKey.from_public_bytes(self.raw)
        return Sealed(self.id, _SUITE.encrypt(padded, public, _INFO + request.encode()), len(labels))


class OpeningKey:
    """The private half. It belongs with whoever may know the people; the service never has it."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def load(cls, path: Path) -> OpeningKey:
        """The key in a file. Raises ConfigurationError(SETTINGS_INVALID) for one that cannot be used or is open to
        others."""
        try:
            key = load_pem_private_key(read_secret(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, X25519PrivateKey):
            explanation = "is not an unencrypted X25519 private key in PEM form"
            raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
        return cls(key)

    @property
    def public(self) -> SealingKey:
        """The public half."""
        return SealingKey(self._private.public_key().public_bytes_raw())

    def open(self, box: bytes, request: str) -> dict[str, tuple[str, ...]]:
        """Label -> what was read there, the longest spelling first.

        Raises InvalidInput(SEAL_UNOPENED) for a map that was sealed for another key or request, or was changed.
        """
        try:
            plain = _SUITE.decrypt(box, self._private, _INFO + request.encode())
            return {str(label): tuple(map(str, read)) for label, read in json.loads(plain).items()}
        except (InvalidTag, ValueError, AttributeError, TypeError):
            raise InvalidInput(Reason.SEAL_UNOPENED) from None


def write_pair(folder: Path) -> SealingKey:
    """Make a pair and write both halves into `folder`; an earlier pair is never replaced.

    Raises ConfigurationError(OUTPUT_UNWRITABLE).
    """
    private = X25519PrivateKey.generate()
    public = OpeningKey(private).public
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if (folder / PRIVATE_KEY).exists():
            # Without it the maps that were sealed for it could never be opened again.
            explanation = f"{PRIVATE_KEY} is there already; nothing was changed"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder), explanation=explanation)
        write_secret(folder / PRIVATE_KEY, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / PUBLIC_KEY).write_text(f"{public}\n", "ascii")
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder)) from None
    return public


def read_public(path: Path) -> SealingKey:
    """The public key in a file. Raises ConfigurationError(SETTINGS_INVALID)."""
    try:
        return SealingKey.parse(path.read_text("ascii").strip())
    except (OSError, ValueError):
        explanation = f"is not a public key as `guardedvlm keys reidentify-init` writes it ({SCHEME}<base64>)"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation) from None
