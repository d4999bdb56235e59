"""The two confinements, as rules: a decoder's, which names what it may do, and a detector's, which names what not.

A decoder reads a stranger's bytes with native code; it is small, so that all that it needs is known, and whatever is
not on the list fails. What only an intruder does ends the process: the request is refused and the worker replaced. A
detector sees pixels that a decoder made, of checked sizes; its libraries are large and do more, so that its list is one
of refusals.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from guardedvlm.sandbox.landlock import restrict
from guardedvlm.sandbox.seccomp import ALLOW, KILL, Argument, Rule, install, refusal
from guardedvlm.sandbox.syscalls import HARMLESS, HOSTILE, WRITING


class Sandbox(StrEnum):
    """What a site asks for where the kernel cannot hold a worker as its role demands (a setting)."""

    REQUIRED = "required"  # no worker starts without one
    WHEN_POSSIBLE = "when-possible"  # it starts with what the kernel has, or limits alone


class Confinement(StrEnum):
    """How tightly a role is held."""

    DECODER = "decoder"
    DETECTOR = "detector"


@dataclass(frozen=True, slots=True)
class Sandboxed:
    """What is in force in a worker: the version of Landlock (0 = none), and whether its system calls are filtered."""

    landlock: int = 0
    filtered: bool = False


_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo")
"""Shared libraries; the zones of dates."""
_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts")
"""Those that a PDF may name without bringing them; where PDFium looks for them."""
_MACHINE = ("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo")
_PROCESSORS = ("/sys/devices/system/cpu", "/proc/self")
"""Numerical libraries ask how many there are, and where their own memory lies."""

_OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY
_CLONE_THREAD = 0x10000
_FCNTL = (1, 2, 3, 4, 1030)  # descriptor flags, status flags, a duplicate that is closed on exec
_IOCTL = (0x5421, 0x5401, 0x5451)  # FIONBIO (timeouts of sockets), TCGETS (is it a terminal?), FIOCLEX
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15
_RLIMIT_CPU = 0
_NOT_THERE = refusal(errno.ENOSYS)
"""The C library falls back to `clone`, whose flags are no pointer."""


def confine_files(readable: Sequence[str] = ()) -> int:
    """Let this process read the interpreter, the installed packages and `readable`, and write nothing.

    Returns the version of Landlock, 0 where the kernel has none. Comes before any other thread.
    """
    named = (*_SYSTEM, *_FONTS, *_MACHINE, *_PROCESSORS, *readable)
    return restrict((*_interpreter(), *map(Path, named)), (Path("/dev/null"),))


def confine_calls(confinement: Confinement, *, files_confined: bool) -> bool:
    """Filter the system calls of every thread of this process, for good. False where the kernel cannot.

    Where `files_confined` is False a decoder cannot open any file at all: a filter cannot tell one from another.
    """
    if confinement is Confinement.DETECTOR:
        return install(tuple(_detector()), ALLOW)
    return install(tuple(_decoder(files_confined)), refusal())


def is_held(confinement: Confinement, found: Sandboxed) -> bool:
    """Whether `found` is all that the role demands. Without Landlock a filter lets a decoder open no file, but a
    detector every one that its user may read: keys and the ledger among them."""
    return found.filtered and (confinement is Confinement.DECODER or found.landlock > 0)


def kernel_has_filters() -> bool:
    """Whether the kernel knows system call filters. Told by what it lists, not by trying: a filter stays."""
    try:
        return "errno" in Path("/proc/sys/kernel/seccomp/actions_avail").read_text("ascii").split()
    except OSError:
        return False


def _decoder(may_open: bool) -> Iterator[Rule]:
    yield from (Rule(name, KILL) for name in sorted(HOSTILE))
    yield from (Rule(name, ALLOW) for name in sorted(HARMLESS))
    if may_open:
        yield from _opened_to_read()
    for call in ("mmap", "mprotect"):
        yield Rule(call, ALLOW, (Argument(2, (0,), mmap.PROT_EXEC),))  # no code that was not there before
    yield Rule("fcntl", ALLOW, (Argument(1, _FCNTL),))
    yield Rule("ioctl", ALLOW, (Argument(1, _IOCTL),))
    yield Rule("prctl", ALLOW, (Argument(0, (_PR_SET_NAME,)),))
    # its own time for the next document; the hard limits stand, and other processes have theirs
    yield Rule("prlimit64", ALLOW, (Argument(0, (0,)), Argument(1, (_RLIMIT_CPU,))))
    yield Rule("tgkill", ALLOW, (Argument(0, (os.getpid(),)),))  # abort()
    yield from _threads_only(KILL)


def _detector() -> Iterator[Rule]:
    yield from (Rule(name, refusal()) for name in sorted(HOSTILE | WRITING))
    yield from _opened_to_read()
    yield from (Rule(name, refusal()) for name in ("openat", "open"))
    yield Rule("prctl", refusal(), (Argument(0, (_PR_SET_DUMPABLE,)),))
    # a library may set its own process's limits
    yield Rule("prlimit64", ALLOW, (Argument(0, (0, os.getpid())),))
    yield Rule("prlimit64", refusal())
    # abort(), and nobody else's: without Landlock a process of the same user would take the signal
    for name in ("tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        yield Rule(name, ALLOW, (Argument(0, (os.getpid(),)),))
        yield Rule(name, refusal())
    yield from _threads_only(refusal())


def _opened_to_read() -> Iterator[Rule]:
    for name, index in (("openat", 2), ("open", 1)):
        yield Rule(name, ALLOW, (Argument(index, (0,), _OPENED_TO_WRITE),))


def _threads_only(otherwise: int) -> Iterator[Rule]:
    yield Rule("clone", ALLOW, (Argument(0, (_CLONE_THREAD,), _CLONE_THREAD),))
    yield Rule("clone", otherwise)
    yield Rule("clone3", _NOT_THERE)


def _interpreter() -> Iterator[Path]:
    """Where Python, its packages and ours lie. Not the working folder, where a site may keep its keys."""
    ours, here = Path(__file__).parents[1], Path.cwd()
    yield from (ours, Path(sys.base_prefix) / "lib", Path(sys.prefix) / "pyvenv.cfg")
    yield from (Path(place) for name, place in sysconfig.get_paths().items() if name.endswith("lib"))
    yield from (entry for entry in map(Path, sys.path) if entry.absolute() not in {here, ours.parent})
