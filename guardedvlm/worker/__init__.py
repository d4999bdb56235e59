"""One role in one child process: own memory limit, deadline, sandbox, replacement when it dies. No content in errors.

A worker is `python -m guardedvlm.worker`, joined to its parent by a Unix socket pair. Calls go out as JSON; pixels go
as anonymous memory files (memfd), so nothing has a name in a file system and nothing outlives the processes. Answers
come back as JSON that is validated against the type that the parent expects: a worker that was taken over by a hostile
picture can send wrong values but no objects (there is no pickle on this path). What else it may still do: `sandbox`.
"""

from guardedvlm.sandbox import harden_process
from guardedvlm.worker.child import WithArrays
from guardedvlm.worker.message import MAX_ARRAYS, Array
from guardedvlm.worker.pool import WorkerPool
from guardedvlm.worker.process import Worker
from guardedvlm.worker.spec import Challenge, WorkerSpec

__all__ = [
    "MAX_ARRAYS",
    "Array",
    "Challenge",
    "WithArrays",
    "Worker",
    "WorkerPool",
    "WorkerSpec",
    "harden_process",
]
