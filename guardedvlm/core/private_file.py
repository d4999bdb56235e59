"""Files of one owner, written whole: a name never shows half a file, and what it shows is on disk.

A file is written under another name in the same folder, synced, and then linked or renamed into place: several
processes may do it at once, and one that dies leaves the old file or the new one.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from guardedvlm.errors import ConfigurationError, Reason

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PUBLIC_FILE = 0o644


def create_once(path: Path, content: bytes) -> bool:
    """Put a private file at `path` where there is none. True when it is this one: of several that try, the first one's
    stays. Raises OSError."""
    with _draft(path, content, PRIVATE_FILE) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        fsync_folder(path.parent)
    return True


def replace(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Put a file at `path` in place of whatever is there: an old file's wider mode, or a handle on it, never meets the
    new content. Raises OSError."""
    with _draft(path, content, mode) as draft:
        draft.replace(path)
        fsync_folder(path.parent)


def read_private(path: Path, most: int) -> bytes:
    """At most `most` bytes of a file that this user alone may use.

    Raises FileNotFoundError, and ConfigurationError(SETTINGS_INVALID) for a link, a pipe, another user's file, one that
    others may use, a longer one or one that cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError:
        raise _unusable(path, "cannot be read") from None
    try:
        _check_private(path, os.fstat(descriptor))
        content = os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise _unusable(path, "is too long")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise _unusable(path, "is not a plain file of this user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _unusable(path, "may be used by others; chmod 600")


def fsync_folder(folder: Path) -> None:
    """Make names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """The content in a durable file beside `path`, gone at the end unless it was renamed."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield draft
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _unusable(path: Path, explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation=explanation)
