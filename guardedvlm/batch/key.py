"""The batch's own key: names of documents, and file names that travel, mean nothing without it.

It lies in the batch's folder, for its owner alone. A document's name is a keyed digest of its bytes: equal files are
one document, and whoever has a table and a candidate file cannot tell whether it is in there.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guardedvlm.core.private_file import create_once, read_private
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason

KEY_BYTES = 32
"""The output length of SHA-256 (RFC 2104, section 3), and the key length of AES-256."""
ID_DIGITS = 32
"""128 bits of a digest: among 2**32 documents two equal ones have a probability below 2**-64."""
NONCE_BYTES = 12
"""Of AES-GCM (NIST SP 800-38D, 8.2.1); random, for far fewer than 2**32 names."""
_CONTEXT = b"guardedvlm.v1.batch\x00"


class BatchKey:
    """A key for one batch."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sealing = AESGCM(hmac.digest(key, _CONTEXT + b"uri", "sha256"))

    @classmethod
    def fresh(cls) -> BatchKey:
        """A key that is written nowhere."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> BatchKey:
        """The key in a file. Raises ConfigurationError(SETTINGS_INVALID), FileNotFoundError."""
        key = read_private(path, KEY_BYTES)
        if len(key) != KEY_BYTES:
            explanation = "is not the key of a batch"
            raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path) -> BatchKey:
        """The key in a file, made there where there is none. Raises ConfigurationError(SETTINGS_INVALID), OSError."""
        create_once(path, secrets.token_bytes(KEY_BYTES))
        return cls.load(path)

    def document(self, chunks: Iterable[bytes]) -> str:
        """The name of a document with these bytes."""
        return self._digest(b"document", chunks)

    def unreadable(self, uri: str) -> str:
        """The name of a file whose bytes cannot be read."""
        return self._digest(b"unreadable", (uri.encode(),))

    def asked(self, text: str) -> str:
        """What a manifest tells of a question or a schema."""
        return self._digest(b"asked", (text.encode(),))

    def _digest(self, purpose: bytes, chunks: Iterable[bytes]) -> str:
        state = hmac.new(self._key, _CONTEXT + purpose + b"\x00", "sha256")
        for chunk in chunks:
            state.update(chunk)
        return state.hexdigest()[:ID_DIGITS]

    def seal(self, document: str, uri: str) -> bytes:
        """A URI that may travel with its document's name."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._sealing.encrypt(nonce, uri.encode(), document.encode())

    def open(self, document: str, sealed: bytes) -> str:
        """Inverse of `seal`. Raises InvalidInput(INPUT_UNREADABLE) for what was sealed for another document."""
        try:
            return self._sealing.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], document.encode()).decode()
        except (InvalidTag, ValueError):
            raise InvalidInput(Reason.INPUT_UNREADABLE) from None
