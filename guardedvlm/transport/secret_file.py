"""Files that hold a secret: not readable by others, never created wider than they end."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from guardedvlm.core.private_file import replace
from guardedvlm.errors import ConfigurationError, Reason

MAX_BYTES = 64 * 1024
KEY_BYTES = 32
"""Length of a new HMAC key: the output length of SHA-256 (RFC 2104, section 3)."""

_HEX_KEY = re.compile(rb"(?:[0-9a-f]{2}){32,128}\Z")


def read_secret(path: Path) -> bytes:
    """The content of a secret's file.

    The group may read it, because Kubernetes mounts secrets so; others may not.
    Raises ConfigurationError(SETTINGS_INVALID) when it is absent, readable by others, empty or too long.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _invalid(path, "cannot be read") from None
    if mode & stat.S_IRWXO:
        raise _invalid(path, "may be used by others; take their rights away (chmod o-rwx)")
    if not 0 < len(content) <= MAX_BYTES:
        raise _invalid(path, f"must hold 1 to {MAX_BYTES} bytes")
    return content


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may use, replacing what was there. Raises OSError."""
    replace(path, content)


def read_key(path: Path) -> bytes:
    """An HMAC key of at least 32 bytes, which the file holds as hex. Raises ConfigurationError(SETTINGS_INVALID)."""
    content = read_secret(path).strip()
    if not _HEX_KEY.match(content):
        raise _invalid(path, f"must hold at least {2 * KEY_BYTES} hex digits in lower case")
    return bytes.fromhex(content.decode("ascii"))


def write_key(path: Path) -> bytes:
    """Make a random HMAC key, write it to `path` and return it. Raises OSError."""
    key = secrets.token_bytes(KEY_BYTES)
    write_secret(path, key.hex().encode() + b"\n")
    return key


def _invalid(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
