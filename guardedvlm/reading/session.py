"""ONNX sessions on one CPU thread: the only way in which a reader or a detector of the guard runs a network.

One thread a session, because the service runs one worker process a role and pictures in parallel: with a busy neighbour
two threads were 2 to 20 times slower than one. No CPU arena, because it keeps the largest picture's memory for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

QUIET = 4
"""Severity "fatal": onnxruntime's messages quote shapes and paths, and nothing reads them."""


def open_session(model: Path | bytes) -> Any:
    """An `onnxruntime.InferenceSession` of a file or of its bytes, CPU only, one thread, no spinning, no arena."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
