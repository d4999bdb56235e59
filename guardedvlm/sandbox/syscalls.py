"""System calls by name: their numbers on the machines that we run on, and the sets that a filter speaks of.

Numbers are the kernel's stable interface: asm/unistd_64.h (x86-64) and asm-generic/unistd.h (AArch64). A name that a
machine does not have is absent from its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# fmt: off
_X86_64: Mapping[str, int] = {
    "accept": 43, "accept4": 288, "access": 21, "acct": 163, "add_key": 248, "bind": 49, "bpf": 321, "brk": 12,
    "capset": 126, "chmod": 90, "chown": 92, "chroot": 161, "clock_getres": 229, "clock_gettime": 228,
    "clock_nanosleep": 230, "clock_settime": 227, "clone": 56, "clone3": 435, "close": 3, "connect": 42, "creat": 85,
    "delete_module": 176, "execve": 59, "execveat": 322, "exit": 60, "exit_group": 231, "faccessat": 269,
    "faccessat2": 439, "fanotify_init": 300, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "fchown": 93,
    "fchownat": 260, "fcntl": 72, "file_setattr": 469, "finit_module": 313, "fork": 57, "fremovexattr": 199,
    "fsconfig": 431, "fsetxattr": 190, "fsmount": 432, "fsopen": 430, "fspick": 433, "fstat": 5, "ftruncate": 77,
    "futex": 202, "futimesat": 261, "get_robust_list": 274, "getcpu": 309, "getcwd": 79, "getdents64": 217,
    "getegid": 108, "geteuid": 107, "getgid": 104, "getpid": 39, "getppid": 110, "getrandom": 318, "getrlimit": 97,
    "getrusage": 98, "gettid": 186, "gettimeofday": 96, "getuid": 102, "init_module": 175, "inotify_init": 253,
    "inotify_init1": 294, "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425, "ioctl": 16,
    "ioperm": 173, "iopl": 172, "kexec_file_load": 320, "kexec_load": 246, "keyctl": 250, "kill": 62, "lchown": 94,
    "link": 86, "linkat": 265, "listen": 50, "lremovexattr": 198, "lseek": 8, "lsetxattr": 189, "lstat": 6,
    "madvise": 28, "membarrier": 324, "memfd_create": 319, "memfd_secret": 447, "mkdir": 83, "mkdirat": 258,
    "mknod": 133, "mknodat": 259, "mmap": 9, "modify_ldt": 154, "mount": 165, "mount_setattr": 442, "move_mount": 429,
    "mprotect": 10, "mq_open": 240, "mremap": 25, "msgget": 68, "munmap": 11, "nanosleep": 35, "newfstatat": 262,
    "open": 2, "open_by_handle_at": 304, "open_tree": 428, "open_tree_attr": 467, "openat": 257, "openat2": 437,
    "perf_event_open": 298, "pidfd_getfd": 438, "pidfd_open": 434, "pidfd_send_signal": 424, "pivot_root": 155,
    "poll": 7, "ppoll": 271, "prctl": 157, "pread64": 17, "prlimit64": 302, "process_mrelease": 448,
    "process_vm_readv": 310, "process_vm_writev": 311, "pselect6": 270, "ptrace": 101, "pwrite64": 18, "quotactl": 179,
    "quotactl_fd": 443, "read": 0, "readlink": 89, "readlinkat": 267, "readv": 19, "reboot": 169, "recvfrom": 45,
    "recvmsg": 47, "removexattr": 197, "removexattrat": 466, "rename": 82, "renameat": 264, "renameat2": 316,
    "request_key": 249, "restart_syscall": 219, "rmdir": 84, "rseq": 334, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigqueueinfo": 129, "rt_sigreturn": 15, "rt_tgsigqueueinfo": 297, "sched_getaffinity": 204, "sched_yield": 24,
    "seccomp": 317, "select": 23, "semget": 64, "sendmsg": 46, "sendto": 44, "set_robust_list": 273,
    "set_tid_address": 218, "setgid": 106, "setgroups": 116, "sethostname": 170, "setns": 308, "setpgid": 109,
    "setregid": 114, "setresgid": 119, "setresuid": 117, "setreuid": 113, "setsid": 112, "settimeofday": 164,
    "setuid": 105, "setxattr": 188, "setxattrat": 463, "shmat": 30, "shmget": 29, "sigaltstack": 131, "socket": 41,
    "socketpair": 53, "stat": 4, "statx": 332, "swapoff": 168, "swapon": 167, "symlink": 88, "symlinkat": 266,
    "sysinfo": 99, "syslog": 103, "tgkill": 234, "time": 201, "times": 100, "tkill": 200, "truncate": 76,
    "umount2": 166, "uname": 63, "unlink": 87, "unlinkat": 263, "unshare": 272, "userfaultfd": 323, "utime": 132,
    "utimensat": 280, "utimes": 235, "vfork": 58, "write": 1, "writev": 20,
}
_AARCH64: Mapping[str, int] = {
    "accept": 202, "accept4": 242, "acct": 89, "add_key": 217, "bind": 200, "bpf": 280, "brk": 214, "capset": 91,
    "chroot": 51, "clock_getres": 114, "clock_gettime": 113, "clock_nanosleep": 115, "clock_settime": 112, "clone": 220,
    "clone3": 435, "close": 57, "connect": 203, "delete_module": 106, "execve": 221, "execveat": 281, "exit": 93,
    "exit_group": 94, "faccessat": 48, "faccessat2": 439, "fanotify_init": 262, "fchmod": 52, "fchmodat": 53,
    "fchmodat2": 452, "fchown": 55, "fchownat": 54, "fcntl": 25, "file_setattr": 469, "finit_module": 273,
    "fremovexattr": 16, "fsconfig": 431, "fsetxattr": 7, "fsmount": 432, "fsopen": 430, "fspick": 433, "fstat": 80,
    "ftruncate": 46, "futex": 98, "get_robust_list": 100, "getcpu": 168, "getcwd": 17, "getdents64": 61, "getegid": 177,
    "geteuid": 175, "getgid": 176, "getpid": 172, "getppid": 173, "getrandom": 278, "getrlimit": 163, "getrusage": 165,
    "gettid": 178, "gettimeofday": 169, "getuid": 174, "init_module": 105, "inotify_init1": 26, "io_uring_enter": 426,
    "io_uring_register": 427, "io_uring_setup": 425, "ioctl": 29, "kexec_file_load": 294, "kexec_load": 104,
    "keyctl": 219, "kill": 129, "linkat": 37, "listen": 201, "lremovexattr": 15, "lseek": 62, "lsetxattr": 6,
    "madvise": 233, "membarrier": 283, "memfd_create": 279, "memfd_secret": 447, "mkdirat": 34, "mknodat": 33,
    "mmap": 222, "mount": 40, "mount_setattr": 442, "move_mount": 429, "mprotect": 226, "mq_open": 180, "mremap": 216,
    "msgget": 186, "munmap": 215, "nanosleep": 101, "newfstatat": 79, "open_by_handle_at": 265, "open_tree": 428,
    "open_tree_attr": 467, "openat": 56, "openat2": 437, "perf_event_open": 241, "pidfd_getfd": 438, "pidfd_open": 434,
    "pidfd_send_signal": 424, "pivot_root": 41, "ppoll": 73, "prctl": 167, "pread64": 67, "prlimit64": 261,
    "process_mrelease": 448, "process_vm_readv": 270, "process_vm_writev": 271, "pselect6": 72, "ptrace": 117,
    "pwrite64": 68, "quotactl": 60, "quotactl_fd": 443, "read": 63, "readlinkat": 78, "readv": 65, "reboot": 142,
    "recvfrom": 207, "recvmsg": 212, "removexattr": 14, "removexattrat": 466, "renameat": 38, "renameat2": 276,
    "request_key": 218, "restart_syscall": 128, "rseq": 293, "rt_sigaction": 134, "rt_sigprocmask": 135,
    "rt_sigqueueinfo": 138, "rt_sigreturn": 139, "rt_tgsigqueueinfo": 240, "sched_getaffinity": 123, "sched_yield": 124,
    "seccomp": 277, "semget": 190, "sendmsg": 211, "sendto": 206, "set_robust_list": 99, "set_tid_address": 96,
    "setgid": 144, "setgroups": 159, "sethostname": 161, "setns": 268, "setpgid": 154, "setregid": 143,
    "setresgid": 149, "setresuid": 147, "setreuid": 145, "setsid": 157, "settimeofday": 170, "setuid": 146,
    "setxattr": 5, "setxattrat": 463, "shmat": 196, "shmget": 194, "sigaltstack": 132, "socket": 198, "socketpair": 199,
    "statx": 291, "swapoff": 225, "swapon": 224, "symlinkat": 36, "sysinfo": 179, "syslog": 116, "tgkill": 131,
    "times": 153, "tkill": 130, "truncate": 45, "umount2": 39, "uname": 160, "unlinkat": 35, "unshare": 97,
    "userfaultfd": 282, "utimensat": 88, "write": 64, "writev": 66,
}
# fmt: on
NEWEST = 469
"""The last call that was looked at: file_setattr, Linux 6.17. Newer ones have numbers above it, on every machine."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor: what a filter checks the caller's convention with (linux/audit.h), and its numbers."""

    architecture: int
    numbers: Mapping[str, int] = field(repr=False)
    x32: bool = False
    """Whether calls above 0x40000000 are those of a second convention, with other numbers."""


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(0xC000003E, _X86_64, x32=True),
    "aarch64": Machine(0xC00000B7, _AARCH64),
}
"""By `platform.machine()`. On others there is no filter."""

_HARMLESS = """
read write readv writev pread64 pwrite64 close lseek fstat newfstatat stat lstat statx access faccessat
faccessat2 readlink readlinkat getdents64 sendto sendmsg recvfrom recvmsg poll ppoll select pselect6 munmap
mremap madvise brk membarrier memfd_create ftruncate futex set_robust_list get_robust_list rseq
sched_yield sched_getaffinity set_tid_address getcpu rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
restart_syscall clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getpid gettid getppid
getuid geteuid getgid getegid getcwd getrandom getrusage getrlimit sysinfo uname times exit exit_group
"""
HARMLESS = frozenset(_HARMLESS.split())
"""What reading, computing, waiting and answering need."""
_HOSTILE = """
socket socketpair connect bind listen accept accept4 execve execveat fork vfork ptrace process_vm_readv
process_vm_writev kill tkill pidfd_open pidfd_getfd pidfd_send_signal bpf perf_event_open userfaultfd io_uring_setup
io_uring_enter io_uring_register keyctl add_key request_key mount umount2 unshare setns chroot pivot_root open_tree
open_tree_attr move_mount fsopen fsconfig fspick fsmount mount_setattr init_module finit_module delete_module
kexec_load kexec_file_load reboot swapon swapoff iopl ioperm modify_ldt open_by_handle_at setuid setgid setreuid
setregid setresuid setresgid setgroups capset settimeofday clock_settime sethostname acct quotactl quotactl_fd
process_mrelease syslog
"""
HOSTILE = frozenset(_HOSTILE.split())
"""What only somebody who took a worker over has a use for: the network, other processes, the machine."""
_WRITING = """
creat openat2 truncate unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir link linkat symlink symlinkat
mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr lsetxattr fsetxattr setxattrat
removexattr lremovexattr fremovexattr removexattrat file_setattr utime utimes utimensat futimesat shmget shmat
msgget semget mq_open memfd_secret setsid setpgid inotify_init inotify_init1 fanotify_init
"""
WRITING = frozenset(_WRITING.split())
"""What makes, changes or removes something with a name. No filter reads openat2's flags, behind a pointer."""
