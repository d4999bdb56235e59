"""ONNX sessions on one CPU thread: the only way in which a reader or a detector of the guard runs a network.

One thread a session, because the service runs one worker process a role and pictures in parallel: with a busy neighbour
two threads were 2 to 20 times slower than one. No CPU arena, because it keeps the largest picture's memory for ever;
but the process keeps some of what it freed, because a run allocates the same large tensors layer after layer, and to
get each of them anew from the kernel took 5.7 of the 12.6 CPU-seconds in which 5 receipts were looked at for text.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime

T = TypeVar("T")

SIDE_BY_SIDE = 2
"""Runs at a time in one process. A run that waits for nobody does not lose what threads within a run lose beside a busy
neighbour; more would take the memory of as many pictures."""
KEPT, MOST_FREE = 256 << 20, 384 << 20
"""Bytes at the end of the heap: free ones beyond MOST_FREE go back to the kernel, but for KEPT. The tensors of a page
of 2 MP fit. A process of both readers and a face detector ended with 0.9 GB; left alone, it had 1.2 GB in pieces."""
LARGEST_ON_HEAP = 1 << 30
"""Bytes from which on an allocation is a mapping of its own, which goes back to the kernel when it is freed."""
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8
"""Parameters of mallopt(3)."""
QUIET = 4
"""Severity "fatal": onnxruntime's messages quote shapes and paths, and nothing reads them."""


def open_session(model: Path | bytes) -> Any:
    """An `onnxruntime.InferenceSession` of a file or of its bytes, CPU only, one thread, no spinning, no arena."""
    keep_freed_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@cache
def keep_freed_memory() -> None:
    """Let this process use freed memory again before it gives it back; nothing changes where libc is not glibc."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    # One heap: threads with heaps of their own would each keep as much, and give back none of it.
    settings = {ARENA_MAX: 1, MMAP_THRESHOLD: LARGEST_ON_HEAP, TRIM_THRESHOLD: MOST_FREE, TOP_PAD: KEPT}
    for parameter, value in settings.items():
        libc.mallopt(parameter, value)


def side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What the calls return, in their order, SIDE_BY_SIDE of them at a time. Raises what the first failing one raised.

    For runs of networks: onnxruntime lets go of the interpreter's lock meanwhile.
    """
    if len(calls) <= 1:
        return [call() for call in calls]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return list(threads.map(lambda call: call(), calls))
