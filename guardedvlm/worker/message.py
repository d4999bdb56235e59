"""One message between a worker and its parent: JSON on a Unix socket, pixels as anonymous memory files."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import GuardedVLMError, Internal, Reason, Refused, from_wire

Array = npt.NDArray[np.uint8]

_SHAPES: TypeAdapter[list[tuple[int, ...]]] = TypeAdapter(list[tuple[int, ...]])
"""Made here: pydantic loads a part of itself for its first adapter, and a confined worker may open no file."""
MAX_ARRAYS = 200
"""File descriptors in one message; Linux allows 253 (SCM_MAX_FD)."""
MAX_HEADER = 64 * 2**20
MAX_REPLY_BYTES = 2**30
"""Arrays of one message; a document of 200 pages is limited by its pixels long before."""


def send(
    sock: socket.socket, header: Mapping[str, Any], arrays: Sequence[Array], limit: Deadline | None = None
) -> None:
    """Send `header` and `arrays`. Raises Internal for more than MAX_ARRAYS, OSError or TimeoutError as the socket."""
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


def receive(sock: socket.socket, limit: Deadline | None) -> tuple[dict[str, Any], list[Array]]:
    """The next header, and private copies of its arrays.

    Raises EOFError at the end of the socket and for a message over the limits. A sender that was taken over can make
    it fail in other ways too: a parent takes any exception for the end of its worker.
    """
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
        lengths = [os.fstat(one).st_size for one in descriptors]  # asked once: the sender can change them
        if len(shapes) != len(lengths) or sum(lengths) > MAX_REPLY_BYTES:
            raise EOFError
        return header, list(map(_copied, descriptors, lengths, shapes))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _memory_file(values: Array) -> int:
    """An anonymous memory file with the bytes of `values`; the caller closes it."""
    descriptor = os.memfd_create("guardedvlm", os.MFD_CLOEXEC)
    view = np.ascontiguousarray(values).data.cast("B") if values.size else memoryview(b"")
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _read(sock: socket.socket, length: int, limit: Deadline | None) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        sock.settimeout(limit.remaining() if limit else None)
        part = sock.recv(min(2**20, length - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _copied(descriptor: int, length: int, shape: tuple[int, ...]) -> Array:
    """The first `length` bytes of a memory file as uint8 of `shape`. Raises EOFError where it has fewer.

    Read and not mapped: the sender keeps a handle on the file. It could change mapped pixels after they were checked,
    or make the file shorter, and the next look at a page that is gone would end this process (SIGBUS).
    """
    if any(side < 0 for side in shape) or int(np.prod(shape, dtype=object)) != length:
        raise EOFError
    values = np.empty(length, np.uint8)
    missing = values.data
    # The sender may move the position, which is of the file and not of the handle: then it has sent other bytes.
    os.lseek(descriptor, 0, os.SEEK_SET)
    while missing:
        count = os.readv(descriptor, [missing])
        if count == 0:
            raise EOFError
        missing = missing[count:]
    values.setflags(write=False)
    return values.reshape(shape)


def error_to(failure: BaseException) -> tuple[str, str, dict[str, int | float | str]]:
    """What may be told of an exception: its reason when it is ours, its kind otherwise; never its text."""
    if isinstance(failure, GuardedVLMError):
        return type(failure).__name__, failure.reason.value, failure.details
    if isinstance(failure, ImportError):
        return "Unavailable", Reason.DETECTOR_MISSING.value, {}
    if isinstance(failure, MemoryError):
        return "InvalidInput", Reason.IMAGE_TOO_LARGE.value, {}
    return "Refused", Reason.DETECTOR_FAILED.value, {"error": type(failure).__name__[:64]}


def error_from(wire: object, role: str) -> GuardedVLMError:
    """An error from the child's JSON; a malformed one is a failed detector."""
    try:
        parts = TypeAdapter(tuple[str, str, dict[str, int | float | str]]).validate_python(wire)
        return from_wire(*parts)
    except (ValidationError, ValueError):
        return Refused(Reason.DETECTOR_FAILED, stage=role)
