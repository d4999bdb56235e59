"""One role in one child process: own memory limit, deadline, sandbox, replacement when it dies. No content in errors.

A worker is `python -m guardedvlm.worker`, joined to its parent by a Unix socket pair. Calls go out as JSON; pixels go
as anonymous memory files (memfd), so nothing has a name in a file system and nothing outlives the processes. Answers
come back as JSON that is validated against the type that the parent expects: a worker that was taken over by a hostile
picture can send wrong values but no objects (there is no pickle on this path). What else it may still do: `sandbox`.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import functools
import importlib
import json
import logging
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import GuardedVLMError, Internal, Reason, Refused, TimedOut, Unavailable, from_wire
from guardedvlm.sandbox import Confinement, Sandbox, Sandboxed, confine_calls, confine_files, drop_privileges
from guardedvlm.sandbox import harden_process as harden_process

LOG = logging.getLogger("guardedvlm")
T = TypeVar("T")
Array = npt.NDArray[np.uint8]

_SHAPES: TypeAdapter[list[tuple[int, ...]]] = TypeAdapter(list[tuple[int, ...]])
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
"""Made here: pydantic loads a part of itself for its first adapter, and a confined worker may open no file."""
MAX_ARRAYS = 200
"""File descriptors in one message; Linux allows 253 (SCM_MAX_FD)."""
MAX_HEADER = 64 * 2**20
START_SECONDS = 120.0
"""Loading weights on a busy machine; measured 2-15 s."""
TURN_SECONDS = 0.02
"""Before a look whether the worker whose turn it is has become idle."""
MAX_REPLY_BYTES = 2**30
"""Arrays of one message; a document of 200 pages is limited by its pixels long before."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker runs: `target` is "module:factory"; the factory gets `options` and returns the role's object."""

    role: str
    target: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    memory_bytes: int = 0  # RLIMIT_AS; 0 = no limit (torch and onnxruntime reserve far more than they use)
    call_seconds: float = 60.0  # the stage's own limit for one call
    confinement: Confinement = Confinement.DETECTOR
    sandbox: Sandbox = Sandbox.REQUIRED
    readable: Sequence[str] = ()  # files and folders beside the installed packages


@dataclass(frozen=True, slots=True)
class Challenge:
    """A call whose answer is known. A role that is asked one before its work, in the same process, cannot have gone
    blind unnoticed: nobody else looks at what it should have found."""

    method: str
    result: Any
    args: Mapping[str, Any]
    holds: Callable[[Any], bool]


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
            reply, _ = _receive(ours, Deadline.after(START_SECONDS))
            if "error" not in reply:
                self.sandboxed = TypeAdapter(Sandboxed).validate_python(reply["value"])
        except Exception:
            self._kill()
            raise Unavailable(Reason.WORKER_DIED, stage=self.spec.role) from None
        if "error" in reply:
            self._kill()
            raise _error_from(reply["error"], self.spec.role)

    def _exchange(
        self, method: str, result: type[T], arrays: Sequence[Array], args: Mapping[str, Any], limit: Deadline
    ) -> tuple[T, list[Array]]:
        assert self._socket is not None
        _send(self._socket, {"method": method, "args": args}, arrays, limit)
        reply, found = _receive(self._socket, limit)
        if "error" in reply:
            raise _error_from(reply["error"], self.spec.role)
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


class WorkerPool:
    """`replicas` workers of one role; a call goes to an idle one, others wait in order."""

    def __init__(self, spec: WorkerSpec, replicas: int = 1) -> None:
        self.spec = spec
        self.workers = tuple(Worker(spec) for _ in range(replicas))
        self.waiting = 0
        """Calls that wait for an idle worker."""
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self.workers:
            self._idle.put_nowait(worker)

    def start(self) -> None:
        """Start every child and wait for them."""
        for worker in self.workers:
            worker.start()

    async def call(
        self,
        method: str,
        result: type[T],
        /,
        *arrays: Array,
        deadline: Deadline,
        challenge: Challenge | None = None,
        **args: Any,
    ) -> tuple[T, list[Array]]:
        """As `Worker.call`, and TimedOut(DEADLINE_EXCEEDED); the wait for an idle worker counts too. With `challenge`
        the same worker is asked that first."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                worker = await self._next_idle()
                # The child goes on when its caller leaves and becomes idle when it is done: killing it would let
                # callers with short deadlines keep every role loading its weights.
                work = functools.partial(worker.call, method, result, *arrays, **args)
                call = asyncio.ensure_future(_proved(worker, challenge, work))
                call.add_done_callback(functools.partial(self._release, worker))
                return await asyncio.shield(call)
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None

    async def call_each(
        self, method: str, result: type[T], /, *arrays: Array, deadline: Deadline, **args: Any
    ) -> tuple[T, ...]:
        """The values of `Worker.call` on every worker, one after the other. Raises as `call`."""
        found: dict[Worker, T] = {}
        try:
            async with asyncio.timeout(deadline.remaining()):
                while len(found) < len(self.workers):
                    worker = await self._next_idle()
                    if worker in found:  # its turn was before: the next one is busy
                        self._idle.put_nowait(worker)
                        await asyncio.sleep(TURN_SECONDS)
                        continue
                    call = asyncio.ensure_future(worker.call(method, result, *arrays, **args))
                    call.add_done_callback(functools.partial(self._release, worker))
                    found[worker] = (await asyncio.shield(call))[0]
        except TimeoutError:
            raise TimedOut(Reason.DEADLINE_EXCEEDED) from None
        return tuple(found.values())

    async def _next_idle(self) -> Worker:
        self.waiting += 1
        try:
            return await self._idle.get()
        finally:
            self.waiting -= 1

    def _release(self, worker: Worker, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # marks it as seen: the awaiting caller may be gone
        self._idle.put_nowait(worker)

    @property
    def restarts(self) -> int:
        """How many children had to be replaced."""
        return sum(worker.restarts for worker in self.workers)

    def replace(self) -> None:
        """End every child; the next calls start others."""
        for worker in self.workers:
            worker.replace()

    def stop(self) -> None:
        """End every child; idempotent."""
        for worker in self.workers:
            worker.stop()


async def _proved(
    worker: Worker, challenge: Challenge | None, work: Callable[[], Awaitable[tuple[T, list[Array]]]]
) -> tuple[T, list[Array]]:
    if challenge is not None:
        await worker.challenged(challenge)
    return await work()


KEPT_ENVIRONMENT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ"})
"""What a child inherits: no token, proxy or key that happens to be in the parent's environment."""


def _error_from(wire: object, role: str) -> GuardedVLMError:
    """An error from the child's JSON; a malformed one is a failed detector."""
    try:
        parts = TypeAdapter(tuple[str, str, dict[str, int | float | str]]).validate_python(wire)
        return from_wire(*parts)
    except (ValidationError, ValueError):
        return Refused(Reason.DETECTOR_FAILED, stage=role)


def _memory_file(values: Array) -> int:
    """An anonymous memory file with the bytes of `values`; the caller closes it."""
    descriptor = os.memfd_create("guardedvlm", os.MFD_CLOEXEC)
    view = np.ascontiguousarray(values).data.cast("B") if values.size else memoryview(b"")
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _send(
    sock: socket.socket, header: Mapping[str, Any], arrays: Sequence[Array], limit: Deadline | None = None
) -> None:
    if len(arrays) > MAX_ARRAYS:
        raise Internal(Reason.INTERNAL)
    body = json.dumps({**header, "shapes": [list(item.shape) for item in arrays]}).encode()
    descriptors: list[int] = []
    try:
        for item in arrays:
            descriptors.append(_memory_file(item))
        sock.settimeout(limit.remaining() if limit else None)
        prefix = struct.pack(">Q", len(body))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sock.sendmsg([prefix], rights)
        sock.sendall(body)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _receive(sock: socket.socket, limit: Deadline | None) -> tuple[dict[str, Any], list[Array]]:
    sock.settimeout(limit.remaining() if limit else None)
    prefix, descriptors, _, _ = socket.recv_fds(sock, 8, MAX_ARRAYS)
    try:
        if not prefix:
            raise EOFError
        while len(prefix) < 8:
            prefix += _read(sock, 8 - len(prefix), limit)
        (length,) = struct.unpack(">Q", prefix)
        if length > MAX_HEADER:
            raise EOFError
        header = json.loads(_read(sock, length, limit))
        shapes = _SHAPES.validate_python(header["shapes"])
        if len(shapes) != len(descriptors) or sum(os.fstat(one).st_size for one in descriptors) > MAX_REPLY_BYTES:
            raise EOFError
        return header, [_map(descriptor, shape) for descriptor, shape in zip(descriptors, shapes, strict=True)]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read(sock: socket.socket, length: int, limit: Deadline | None) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        sock.settimeout(limit.remaining() if limit else None)
        part = sock.recv(min(2**20, length - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _map(descriptor: int, shape: tuple[int, ...]) -> Array:
    """Copy-on-write view of a memory file as uint8 of `shape`."""
    length = os.fstat(descriptor).st_size
    if any(side < 0 for side in shape) or int(np.prod(shape, dtype=object)) != length:
        raise EOFError
    if length == 0:
        return np.zeros(shape, np.uint8)
    # The sender keeps a handle on the pages: a private copy is taken so that it cannot change what was checked.
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_READ) as mapped:
        return np.frombuffer(mapped[:], np.uint8).reshape(shape)


# ---------------------------------------------------------------- the child's end


def main(arguments: Sequence[str]) -> None:
    """Entry point of the child process."""
    harden_process()
    drop_privileges()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    spec = json.loads(arguments[1])
    landlock = confine_files(spec["readable"])  # before there is another thread
    threading.Thread(target=_end_with_parent, args=(sock.fileno(),), daemon=True).start()
    try:
        worker = _role(spec)
        if spec["memory_bytes"]:
            resource.setrlimit(resource.RLIMIT_AS, (spec["memory_bytes"], spec["memory_bytes"]))
        filtered = confine_calls(Confinement(spec["confinement"]), files_confined=landlock > 0)
        if not filtered and spec["sandbox"] == Sandbox.REQUIRED:
            raise Unavailable(Reason.SANDBOX_MISSING)
    except BaseException as failure:
        _send(sock, {"error": _error_to(failure)}, [])
        return
    _send(sock, {"value": asdict(Sandboxed(landlock, filtered))}, [])
    while True:
        try:
            request, arrays = _receive(sock, None)
        except EOFError:
            return
        _answer(sock, worker, request, arrays)


def _role(spec: Mapping[str, Any]) -> object:
    module, _, name = str(spec["target"]).partition(":")
    return getattr(importlib.import_module(module), name)(**spec["options"])


def _end_with_parent(descriptor: int) -> None:
    """Wait until the parent's end of the socket is closed, then end, whatever runs: no orphan keeps pictures.

    Not PR_SET_PDEATHSIG: that follows the *thread* that started the child.
    """
    poller = select.poll()
    poller.register(descriptor, select.POLLRDHUP | select.POLLHUP)
    poller.poll()
    os._exit(0)


def _answer(sock: socket.socket, worker: object, request: dict[str, Any], arrays: list[Array]) -> None:
    found: list[Array] = []
    try:
        value = getattr(worker, request["method"])(*arrays, **request["args"])
        if isinstance(value, WithArrays):
            value, found = value.value, list(value.arrays)
        reply: dict[str, Any] = {"value": json.loads(_ANYTHING.dump_json(value))}
    except Exception as failure:
        reply, found = {"error": _error_to(failure)}, []
    _send(sock, reply, found)


@dataclass(frozen=True, slots=True)
class WithArrays:
    """A method's return value when it gives arrays back beside its JSON value."""

    value: Any
    arrays: Sequence[Array]


def _error_to(failure: BaseException) -> tuple[str, str, dict[str, int | float | str]]:
    """What may be told of an exception: its reason when it is ours, its kind otherwise; never its text."""
    if isinstance(failure, GuardedVLMError):
        return type(failure).__name__, failure.reason.value, failure.details
    if isinstance(failure, ImportError):
        return "Unavailable", Reason.DETECTOR_MISSING.value, {}
    if isinstance(failure, MemoryError):
        return "InvalidInput", Reason.IMAGE_TOO_LARGE.value, {}
    return "Refused", Reason.DETECTOR_FAILED.value, {"error": type(failure).__name__[:64]}


if __name__ == "__main__":
    # The module that the role's code imports, not its twin named __main__: WithArrays must be one class.
    importlib.import_module("guardedvlm.worker").main(sys.argv[1:])
