"""Keyed digests: how the audit names a tenant, a caller or a payload without holding it.

HMAC-SHA256 under a key that only the guard has, with a purpose as domain separation: a digest made for one purpose
never equals one made for another, and nobody without the key can try candidates (an unkeyed hash of a person's number
is found by counting; PCI DSS 4.0.1, 3.5.1.1). Destroying the key file turns every digest made with it into noise.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from guardedvlm.core.private_file import create_once, read_private
from guardedvlm.errors import ConfigurationError, Reason

KEY_BYTES = 32
"""As long as the hash's output (RFC 2104, section 3)."""
PSEUDONYM_HEX = 32
"""128 bits of the HMAC: enough that no two tenants of a site share a pseudonym."""
_CONTEXT = b"guardedvlm.v1.audit-digest\x00"
_KEY_FILE = re.compile(rb"[0-9a-f]{64}\n?\Z")


class Purpose(StrEnum):
    """What a digest is of; part of the message, so that digests of different things cannot be compared."""

    TENANT = "tenant"
    CALLER = "caller"
    REPLICA = "replica"
    REQUEST_ID = "request_id"
    INPUT = "input"
    IMAGE = "image"
    PROMPT = "prompt"
    ANSWER = "answer"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class AuditKey:
    """The key of the audit's digests. Raises ConfigurationError when it is not `KEY_BYTES` long."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ConfigurationError(Reason.SETTINGS_INVALID, explanation=f"an audit key has {KEY_BYTES} bytes")

    def digest(self, purpose: Purpose, *parts: bytes | str) -> str:
        """HMAC-SHA256 over `purpose` and `parts`, as 64 hex digits.

        Every part goes in with its length, so ("ab", "c") and ("a", "bc") differ. Values that belong together, such as
        a request_id and the tenant and caller whose it is, are parts of one digest.
        """
        state = hmac.new(self.secret, _CONTEXT, hashlib.sha256)
        for part in (purpose.value, *parts):
            encoded = part.encode() if isinstance(part, str) else part
            state.update(struct.pack(">Q", len(encoded)))
            state.update(encoded)
        return state.hexdigest()

    def pseudonym(self, purpose: Purpose, *parts: bytes | str) -> str:
        """First 128 bits of the digest, as 32 hex digits: what stands for a tenant, a caller or a replica."""
        return self.digest(purpose, *parts)[:PSEUDONYM_HEX]


def load_or_create_key(path: Path) -> AuditKey:
    """Read the key at `path` (64 hex digits), or make one there, mode 0600.

    Two processes that create it at the same time end up with the same key. Raises ConfigurationError when the file is
    not a plain file of this user, when others may read it, or when it does not hold a key.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read_key(path)
    _create_key(path)
    return _read_key(path)


def load_key(path: Path) -> AuditKey:
    """Read the key at `path`. Raises ConfigurationError as `load_or_create_key` does, and where there is none."""
    try:
        return _read_key(path)
    except FileNotFoundError:
        raise _bad_key("there is no audit key at this place") from None


def _read_key(path: Path) -> AuditKey:
    content = read_private(path, KEY_BYTES * 2 + 1)
    if not _KEY_FILE.match(content):
        raise _bad_key("the audit key is not 64 lower-case hex digits")
    return AuditKey(bytes.fromhex(content.decode()))


def _create_key(path: Path) -> None:
    try:
        create_once(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    except OSError:
        raise _bad_key("the audit key cannot be created") from None


def _bad_key(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, explanation=explanation)
