"""Files of samples and keys: read, written once, overwritten before they go."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from guardedvlm.core.private_file import fsync_folder


def read_plain(path: Path, most: int) -> bytes:
    """At most `most` bytes of a file that is no link. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(most)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file; returns when it is on disk. Raises OSError: then it is not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fsync_folder(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def shred(path: Path, size: int) -> bool:
    """Overwrite a file's first `size` bytes in place, sync, unlink, sync the folder. False when it was gone.
    Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, secrets.token_bytes(size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    fsync_folder(path.parent)
    return True
