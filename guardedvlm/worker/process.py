"""The parent's end of one worker: its child process, its deadline, its replacement."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import TypeAdapter

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import GuardedVLMError, Reason, Refused, TimedOut, Unavailable
from guardedvlm.sandbox import Sandboxed
from guardedvlm.worker.message import Array, error_from, receive, send
from guardedvlm.worker.spec import Challenge, WorkerSpec

LOG = logging.getLogger("guardedvlm")
T = TypeVar("T")

START_SECONDS = 120.0
"""Loading weights on a busy machine; measured 2-15 s."""
KEPT_ENVIRONMENT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ"})
"""What a child inherits: no token, proxy or key that happens to be in the parent's environment."""


class Worker:
    """The parent's end. One call at a time; others wait in order. Safe to use from several tasks and threads."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"worker-{spec.role}")
        self._starts = 0
        self.sandboxed = Sandboxed()
        """What holds the child that was started last."""

    @property
    def pid(self) -> int | None:
        """Process id of the running child."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def restarts(self) -> int:
        """How often the child had to be replaced."""
        return max(0, self._starts - 1)

    def start(self) -> None:
        """Start the child and wait until its object is built and it is confined.

        Raises Unavailable(DETECTOR_MISSING), Unavailable(SANDBOX_MISSING) or its own error.
        """
        with self._lock:
            self._start()

    async def call(self, method: str, result: type[T], /, *arrays: Array, **args: Any) -> tuple[T, list[Array]]:
        """Call `method(*arrays, **args)` of the role's object; returns its JSON value as `result` and its arrays.

        Raises what the child raised (a GuardedVLMError), TimedOut(STAGE_TIMEOUT), Unavailable(WORKER_DIED).
        """
        run = functools.partial(self.call_sync, method, result, *arrays, **args)
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def call_sync(self, method: str, result: type[T], /, *arrays: Array, **args: Any) -> tuple[T, list[Array]]:
        """`call` for code without an event loop."""
        with self._lock:
            if self.pid is None:
                self._start()
            try:
                return self._exchange(method, result, arrays, args, Deadline.after(self.spec.call_seconds))
            except (TimedOut, TimeoutError):
                self._kill()
                raise TimedOut(Reason.STAGE_TIMEOUT, stage=self.spec.role) from None
            except GuardedVLMError:
                raise  # the role's own
            except Exception:
                # Dead, or taken over: a reply that is not of the agreed form, however it fails to be read (too deep for
                # the recursion limit, sides too large for an array), ends the process that sent it.
                raise self._death() from None

    async def challenged(self, challenge: Challenge) -> None:
        """Ask the role what it must know. Raises Refused(DETECTOR_FAILED) when it does not, and has it replaced."""
        found, _ = await self.call(challenge.method, challenge.result, **challenge.args)
        if not challenge.holds(found):
            await asyncio.to_thread(self.replace)
            raise Refused(Reason.DETECTOR_FAILED, stage=self.spec.role)

    def replace(self) -> None:
        """End the child, whatever it does; the next call starts another one."""
        process = self._process
        if process is not None:
            # Before the lock: a call that hangs holds it, and ends with its process.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        with self._lock:
            self._kill()

    def stop(self) -> None:
        """End the child, whatever it does; idempotent."""
        self.replace()
        self._thread.shutdown(wait=False)

    def _start(self) -> None:
        self._kill()
        self._starts += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        spec = {
            "role": self.spec.role,
            "target": self.spec.target,
            "options": dict(self.spec.options),
            "memory_bytes": self.spec.memory_bytes,
            "confinement": self.spec.confinement,
            "sandbox": self.spec.sandbox,
            "readable": list(self.spec.readable),
        }
        environment = {key: value for key, value in os.environ.items() if key in KEPT_ENVIRONMENT}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [sys.executable, "-m", "guardedvlm.worker", str(theirs.fileno()), json.dumps(spec)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Native libraries write what they like to stderr, file names and pixel rows included.
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        self._socket = ours
        try:
            reply, _ = receive(ours, Deadline.after(START_SECONDS))
            if "error" not in reply:
                self.sandboxed = TypeAdapter(Sandboxed).validate_python(reply["value"])
        except Exception:
            self._kill()
            raise Unavailable(Reason.WORKER_DIED, stage=self.spec.role) from None
        if "error" in reply:
            self._kill()
            raise error_from(reply["error"], self.spec.role)

    def _exchange(
        self, method: str, result: type[T], arrays: Sequence[Array], args: Mapping[str, Any], limit: Deadline
    ) -> tuple[T, list[Array]]:
        assert self._socket is not None
        send(self._socket, {"method": method, "args": args}, arrays, limit)
        reply, found = receive(self._socket, limit)
        if "error" in reply:
            raise error_from(reply["error"], self.spec.role)
        return TypeAdapter(result).validate_json(json.dumps(reply["value"])), found

    def _death(self) -> GuardedVLMError:
        """End the child, if it has not ended yet; what its end says of the call."""
        process = self._process
        self._kill()
        ended_by = -process.returncode if process is not None else 0
        if ended_by == signal.SIGXCPU:
            return TimedOut(Reason.STAGE_TIMEOUT, stage=self.spec.role)
        if ended_by == signal.SIGSYS:
            LOG.error("the worker %s tried what its sandbox forbids and was ended", self.spec.role)
        return Unavailable(Reason.WORKER_DIED, stage=self.spec.role)

    def _kill(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # nothing where it has ended by itself
            self._process.wait()
            self._process = None
