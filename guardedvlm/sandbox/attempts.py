"""What an intruder would try first, tried in a worker on purpose: `guardedvlm doctor` and tests see what is refused.

True: it was possible. False: it was refused. A decoder may not survive an attempt: then its death is the refusal.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_X86_64 = os.uname().machine == "x86_64"
_QUEUED = struct.pack("=iii116x", 0, 0, -1)
"""struct siginfo with SI_QUEUE: signal 0, which asks only whether it would be taken."""


def _network(_: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        stream.setblocking(False)
        stream.connect_ex(("127.0.0.1", 9))


def _datagram(_: Path) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


def _unix_socket(_: Path) -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()


def _process(_: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _program(_: Path) -> None:
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
    os.waitpid(child, 0)


def _read(path: Path) -> None:
    path.read_bytes()


def _list(path: Path) -> None:
    os.listdir(path.parent)


def _write(path: Path) -> None:
    with path.open("ab"):
        pass


def _make(path: Path) -> None:
    descriptor = os.open(path.with_name(path.name + ".made"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)


def _make_folder(path: Path) -> None:
    path.with_name(path.name + ".folder").mkdir()


def _remove(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_name(path.name + ".moved"))


def _open_up(path: Path) -> None:
    path.chmod(0o777)


def _open_up_anew(path: Path) -> None:
    _checked(_LIBC.syscall(452, -100, os.fsencode(path), 0o777, 0))  # fchmodat2, since Linux 6.6


def _trace(_: Path) -> None:
    _checked(_LIBC.ptrace(0, 0, 0, 0))  # PTRACE_TRACEME


def _other_memory(_: Path) -> None:
    _checked(_LIBC.process_vm_readv(os.getppid(), None, 0, None, 0, 0))


def _signal(_: Path) -> None:
    os.kill(os.getppid(), 0)


def _abort_parent(_: Path) -> None:
    _checked(_LIBC.syscall(234 if _X86_64 else 131, os.getppid(), os.getppid(), 0))  # tgkill


def _queue_to_parent(_: Path) -> None:
    _checked(_LIBC.syscall(129 if _X86_64 else 138, os.getppid(), 0, _QUEUED))  # rt_sigqueueinfo


def _queue_to_parents_thread(_: Path) -> None:
    _checked(_LIBC.syscall(297 if _X86_64 else 240, os.getppid(), os.getppid(), 0, _QUEUED))  # rt_tgsigqueueinfo


def _limit_parent(_: Path) -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU)


def _raise_limit(_: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _own_code(_: Path) -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _dump(_: Path) -> None:
    _checked(_LIBC.prctl(4, 1, 0, 0, 0))  # PR_SET_DUMPABLE


def _mount(_: Path) -> None:
    _checked(_LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None))


def _namespace(_: Path) -> None:
    _checked(_LIBC.unshare(0x10000000))  # CLONE_NEWUSER


def _ring(_: Path) -> None:
    _checked(_LIBC.syscall(425, 1, ctypes.create_string_buffer(120)))  # io_uring_setup: calls that no filter sees


def _kernel_program(_: Path) -> None:
    _checked(_LIBC.syscall(321 if _X86_64 else 280, 0, None, 0))  # bpf


ATTEMPTS: dict[str, Callable[[Path], None]] = {
    "network": _network, "datagram": _datagram, "unix socket": _unix_socket, "process": _process, "program": _program,
    "read": _read, "list": _list, "write": _write, "make": _make, "make a folder": _make_folder, "remove": _remove,
    "rename": _rename, "open up": _open_up, "open up anew": _open_up_anew, "trace": _trace,
    "other memory": _other_memory, "signal": _signal, "abort another": _abort_parent,
    "queue to another": _queue_to_parent, "queue to another's thread": _queue_to_parents_thread,
    "limit another": _limit_parent, "raise a limit": _raise_limit, "own code": _own_code, "dump": _dump,
    "mount": _mount, "namespace": _namespace, "ring": _ring, "kernel program": _kernel_program,
}  # fmt: skip
"""What is tried; `path` is a file of somebody else's secrets, which the caller made for the purpose."""


class Attempts:
    """The role's object."""

    def attempt(self, *, name: str, path: str) -> bool:
        """Try; whether it was possible."""
        try:
            ATTEMPTS[name](Path(path))
        except (OSError, ValueError):  # setrlimit's way to say so
            return False
        return True


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
