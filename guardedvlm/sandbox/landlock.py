"""Which files a process may read: Landlock (Linux 5.13 and later), which needs no privilege.

A closed list of folders to read; everything else, keys and the ledger among it, does not open, and nothing is written,
made or removed. Later kernels also take TCP, signals to others and abstract sockets away. It holds for the calling
thread and what that starts, so it comes before any other thread.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers on every machine."""
_VERSION_FLAG, _PATH_BENEATH = 1, 1
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights over files by the version that brought them: 13 to begin with, then refer, truncate, device control."""
_TCP, _TCP_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""Abstract Unix sockets and signals stay within the process's own domain."""


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 where it has none or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def restrict(readable: Iterable[Path], writable: Iterable[Path] = ()) -> int:
    """Let the calling thread read below `readable` and write the files `writable`, and nothing else.

    Paths that do not exist are left out. Returns the version in force, 0 where there is none. The caller must have
    given up new privileges (PR_SET_NO_NEW_PRIVS).
    """
    version = landlock_version()
    if not version:
        return 0
    handled = sum(rights for since, rights in _RIGHTS.items() if since <= version)
    attributes = struct.pack("=Q", handled)
    if version >= _TCP_SINCE:
        attributes += struct.pack("=Q", _TCP)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = int(_libc().syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            _allow(ruleset, path, READ_FILE | READ_DIR)
        for path in writable:
            _allow(ruleset, path, READ_FILE | WRITE_FILE)
        return version if _libc().syscall(_RESTRICT, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= ~READ_DIR  # a right over folders, which the kernel refuses for a file
        # struct landlock_path_beneath_attr, packed
        _libc().syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
