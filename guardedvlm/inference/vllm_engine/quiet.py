"""What vLLM may say, and to whom. On a failure it writes the request into its log, schema and pixels included, and a
traceback quotes whatever it likes: so once there can be content, nothing that vLLM writes goes anywhere.

Its processes inherit a pipe as stdout and stderr. While they load there is no request, and what they say is passed on
to the operator; then the outlet is shut, and what comes through the pipe is read and forgotten. In this process vLLM's
loggers keep level and place of a record, and nothing of its text.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK_BYTES = 65_536
STDOUT, STDERR = 1, 2

_SET = {
    # Nothing is told to vLLM's makers, and nothing asked from the network.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # A fork would copy gRPC's threads' locks, and the pixels of requests.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # Of the plugins that are installed, ours alone.
    "VLLM_PLUGINS": "guardedvlm_cogvlm2",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "0",
    "VLLM_SERVER_DEV_MODE": "0",
    "VLLM_TRACE_FUNCTION": "0",
}
_UNSET = ("VLLM_LOGGING_CONFIG_PATH", "VLLM_DEBUG_DUMP_PATH", "VLLM_CONFIGURE_LOGGING")
"""What would write to a file of its own, or around our handler."""
_UNLESS_SET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Its processes are on one machine; to learn its address vLLM would connect to a name server outside.
    "VLLM_HOST_IP": "127.0.0.1",
}


def prepare_environment() -> tempfile.TemporaryDirectory[str]:
    """Set what vLLM reads when it is imported, and what its processes inherit. Returns the folder of its sockets, which
    is this user's alone."""
    os.environ.update(_SET)
    for name in _UNSET:
        os.environ.pop(name, None)
    for name, value in _UNLESS_SET.items():
        os.environ.setdefault(name, value)
    sockets = tempfile.TemporaryDirectory(prefix="guardedvlm-vllm-", ignore_cleanup_errors=True)
    os.environ["VLLM_RPC_BASE_PATH"] = sockets.name
    return sockets


class Outlet:
    """The stdout and stderr of vLLM's processes: passed on until `shut`, then forgotten."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._shown = os.dup(STDERR)
        self._is_shut = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="vllm-outlet", daemon=True)
        self._thread.start()

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Processes that are started inside write into the pipe. Once."""
        _flush()
        kept = [(number, os.dup(number)) for number in (STDOUT, STDERR)]
        try:
            for number, _ in kept:
                os.dup2(self._write, number)
            yield
        finally:
            _flush()
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
            os.close(self._write)

    def shut(self) -> None:
        """From here on nothing is passed on. Idempotent."""
        self._is_shut.set()

    def _drain(self) -> None:
        while piece := os.read(self._read, CHUNK_BYTES):
            if not self._is_shut.is_set():
                os.write(self._shown, piece)
        os.close(self._read)
        os.close(self._shown)


class Places(logging.Handler):
    """Writes level, logger and line of a record: what happened where, and no word of it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print(f"{record.levelname} {record.name}:{record.lineno}", file=sys.stderr)


def silence_loggers() -> None:
    """Give vLLM's loggers in this process a handler without words, and no other."""
    logger = logging.getLogger("vllm")
    logger.handlers[:] = [Places(logging.WARNING)]
    logger.propagate = False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
