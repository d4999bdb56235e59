"""What a process may still become: nothing. No new privileges, no capabilities, no core dump, few files."""

from __future__ import annotations

import ctypes
import resource
import struct
import sys

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
MOST_FILES = 1024
"""Open files. A document has at most 200 pages, each of which is one on its way."""


def harden_process() -> None:
    """Core dumps off and not attachable: a dump would hold pictures."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop_privileges() -> None:
    """No privilege through a program's file, no capability even for root (who could raise its limits again), and
    bounds on open files and message queues."""
    for limit, most in ((resource.RLIMIT_NOFILE, MOST_FILES), (getattr(resource, "RLIMIT_MSGQUEUE", None), 0)):
        if limit is not None:
            _, hard = resource.getrlimit(limit)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(limit, (most, most))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
