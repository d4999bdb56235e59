"""The guard's signing key on disk, and the public halves that an inference service trusts.

    keys/clearance.key   PKCS #8 PEM, Ed25519, for the guard alone
    keys/clearance.pub   SubjectPublicKeyInfo PEM: what `guardedvlm serve-inference --guard-key` is given

A key's id is the start of its public half's SHA-256, so that no file has to name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from guardedvlm.core.private_file import PUBLIC_FILE, create_once, replace
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.transport.secret_file import read_secret

PRIVATE_KEY, PUBLIC_KEY = "clearance.key", "clearance.pub"
KEY_ID_HEX = 16
"""64 bits: a site has a handful of keys."""
MAX_BYTES = 4096
"""An Ed25519 public key in PEM form has 113."""


def key_id(public: Ed25519PublicKey) -> str:
    """What clearances call this key: 16 hex digits."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:KEY_ID_HEX]


def load_or_create_signing_key(folder: Path) -> Ed25519PrivateKey:
    """The key in `folder`, or a new one there, mode 0600, with its public half beside it.

    Several processes that begin at the same time end up with one key. Raises ConfigurationError(SETTINGS_INVALID) for a
    key that cannot be used, or a folder that cannot be written.
    """
    path = folder / PRIVATE_KEY
    try:
        if not path.exists():
            fresh = Ed25519PrivateKey.generate()
            create_once(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private = read_private_key(path)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        beside = folder / PUBLIC_KEY
        if not beside.exists() or beside.read_bytes() != public:
            replace(beside, public, PUBLIC_FILE)
    except OSError:
        raise _invalid(path, "cannot be written") from None
    return private


def load_public_keys(paths: Sequence[Path]) -> dict[str, Ed25519PublicKey]:
    """Public keys by id. Raises ConfigurationError(SETTINGS_INVALID) for a file that holds none, or for no file."""
    if not paths:
        explanation = "an inference service needs the public key of at least one guard"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="guard-key", explanation=explanation)
    keys = [read_public_key(path) for path in paths]
    return {key_id(key): key for key in keys}


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in the file `path`. Raises ConfigurationError(SETTINGS_INVALID)."""
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _invalid(path, "is not an unencrypted Ed25519 private key in PEM form")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in the file `path`. Raises ConfigurationError(SETTINGS_INVALID)."""
    try:
        with path.open("rb") as file:
            key = load_pem_public_key(file.read(MAX_BYTES))
    except OSError:
        raise _invalid(path, "cannot be read") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _invalid(path, "is not an Ed25519 public key in PEM form")
    return key


def _invalid(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
