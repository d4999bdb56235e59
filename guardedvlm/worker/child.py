"""The child's end: confine this process, build the role's object, answer one call at a time."""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from guardedvlm.errors import Reason, Unavailable
from guardedvlm.sandbox import (
    Confinement,
    Sandbox,
    Sandboxed,
    confine_calls,
    confine_files,
    drop_privileges,
    harden_process,
    is_held,
)
from guardedvlm.worker.message import Array, error_to, receive, send

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
"""Made here: pydantic loads a part of itself for its first adapter, and a confined worker may open no file."""


@dataclass(frozen=True, slots=True)
class WithArrays:
    """A method's return value when it gives arrays back beside its JSON value."""

    value: Any
    arrays: Sequence[Array]


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
        confinement = Confinement(spec["confinement"])
        filtered = confine_calls(confinement, files_confined=landlock > 0)
        if spec["sandbox"] == Sandbox.REQUIRED and not is_held(confinement, Sandboxed(landlock, filtered)):
            raise Unavailable(Reason.SANDBOX_MISSING)
    except BaseException as failure:
        send(sock, {"error": error_to(failure)}, [])
        return
    send(sock, {"value": asdict(Sandboxed(landlock, filtered))}, [])
    while True:
        try:
            request, arrays = receive(sock, None)
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
        reply, found = {"error": error_to(failure)}, []
    send(sock, reply, found)
