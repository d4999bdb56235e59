"""What a worker process may still do once it looks at a stranger's bytes: read, compute and answer.

    privileges   none: no capability, no new privilege, no core dump
    landlock     files: the interpreter's and the site's model, to read; nothing to write; no TCP, no signals to others
    seccomp      system calls: no network, no other process, no other program, no file to write, nothing of the machine

`confine_files` comes before a role's code is loaded, `confine_calls` when its weights are in memory and before the
first request. Limits of memory, time and size stand where their numbers are known (`worker`, `guard.decode.isolated`).
"""

from guardedvlm.sandbox.confinement import (
    Confinement,
    Sandbox,
    Sandboxed,
    confine_calls,
    confine_files,
    is_held,
    kernel_has_filters,
)
from guardedvlm.sandbox.landlock import landlock_version
from guardedvlm.sandbox.privileges import drop_privileges, harden_process

__all__ = [
    "Confinement",
    "Sandbox",
    "Sandboxed",
    "confine_calls",
    "confine_files",
    "drop_privileges",
    "harden_process",
    "is_held",
    "kernel_has_filters",
    "landlock_version",
]
