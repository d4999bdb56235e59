"""Who signs evidence: the key ring's folder in this process, or a process of its own over a unix socket.

    signer: unix:/run/guardedvlm/signer.sock        (settings; guardedvlm keys serve --socket ...)

A question is four bytes of length and the message; the answer a byte, four bytes of length and, where the byte is zero,
the key's id (8 bytes) and the signature (64). An empty message asks for the public keys, as the file for auditors has
them. Both ends ask the kernel whose process the other one is: a receipt has a nonce that nobody else may read.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from guardedvlm.audit.keys import KEY_ID_HEX, MAX_BYTES, RING, KeyRing, PublicKeys, Signature, Signer, load_keys
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

MAX_MESSAGE = 64 * 2**10
"""Bytes of one message; a receipt has some 3 KB, a checkpoint 200 bytes."""
LENGTH = struct.Struct(">I")
SIGNED = b"\x00"
REFUSED = b"\x01"
KEY_ID_BYTES, SIGNATURE_BYTES = KEY_ID_HEX // 2, 64
SECONDS = 5.0
"""How long an answer may take; signing takes less than a thousandth of it."""
PAUSE_SECONDS = 5.0
"""How long a signer that did not answer is not asked again: who waits for a signature is then refused at once, instead
of one after the other after SECONDS each."""
_CREDENTIALS = struct.Struct("3i")  # struct ucred of SO_PEERCRED: pid, uid, gid


class EvidenceSigner(Signer, Protocol):
    """A signer that knows its public keys."""

    def public(self) -> PublicKeys:
        """All public keys as they are now. Raises Unavailable(EVIDENCE_UNSIGNED) where nothing can be signed."""
        ...


def is_ready(signer: EvidenceSigner) -> bool:
    """Whether it would sign now."""
    try:
        signer.public()
    except Unavailable:
        return False
    return True


class FolderSigner:
    """Signs with the ring in a folder; a rotation is taken over by the next signature."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError(SETTINGS_INVALID) as `load_keys` does."""
        self._folder = folder
        self._lock = threading.Lock()
        self._ring = load_keys(folder)
        self._seen = (0, 0)

    def sign(self, message: bytes) -> Signature:
        """Sign with the active key. Raises Unavailable(EVIDENCE_UNSIGNED) where the ring cannot be read any more: a key
        that was taken away signs nothing."""
        return self._current().sign(message)

    def public(self) -> PublicKeys:
        """The ring's. Raises Unavailable(EVIDENCE_UNSIGNED)."""
        return self._current().public

    def _current(self) -> KeyRing:
        with self._lock:
            try:
                version = self._version()
                if version != self._seen:
                    self._ring, self._seen = load_keys(self._folder), version
            except (OSError, ConfigurationError):
                raise Unavailable(Reason.EVIDENCE_UNSIGNED) from None
            return self._ring

    def _version(self) -> tuple[int, int]:
        """A rotation puts a new file in the place of the old one."""
        found = (self._folder / RING).stat()
        return found.st_ino, found.st_mtime_ns


class SocketSigner:
    """Signs in the process that listens at a socket; one connection, kept open, for all threads.

    `user` is the number of the user that the other process must run as. One that takes a question and does not answer
    is left alone for PAUSE_SECONDS: until then nothing is signed.
    """

    def __init__(self, path: Path, user: int) -> None:
        self._path = path
        self._user = user
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._silent_until = 0.0

    def sign(self, message: bytes) -> Signature:
        """Sign there. Raises Unavailable(EVIDENCE_UNSIGNED) where nobody answers, somebody else does, or the signer
        does not sign such a message."""
        answer = self._answer(message)
        if len(answer) != KEY_ID_BYTES + SIGNATURE_BYTES:
            raise Unavailable(Reason.EVIDENCE_UNSIGNED)
        return Signature(answer[:KEY_ID_BYTES].hex(), answer[KEY_ID_BYTES:])

    def public(self) -> PublicKeys:
        """The other process's. Raises Unavailable(EVIDENCE_UNSIGNED)."""
        try:
            return PublicKeys.decode(self._answer(b""))
        except ValueError:
            raise Unavailable(Reason.EVIDENCE_UNSIGNED) from None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _answer(self, message: bytes) -> bytes:
        """The signer's answer, on a fresh connection where the old one was gone: signing twice does no harm."""
        with self._lock:
            for is_kept in (True, False):
                if time.monotonic() < self._silent_until:
                    break
                if (self._connection is not None) is is_kept and (answer := self._asked(message)) is not None:
                    return answer
        raise Unavailable(Reason.EVIDENCE_UNSIGNED)

    def _asked(self, message: bytes) -> bytes | None:
        """None where it is not signed; without a connection where that is because nobody answered."""
        try:
            if self._connection is None:
                self._connection = self._connected()
            receive = _within(self._connection, SECONDS)
            self._connection.sendall(LENGTH.pack(len(message)) + message)
            status = received(receive, 1)
            (length,) = LENGTH.unpack(received(receive, LENGTH.size))
            if length > MAX_BYTES:
                raise EOFError
            answer = received(receive, length)
        except (OSError, EOFError) as failure:
            self._drop()
            if isinstance(failure, TimeoutError):
                self._silent_until = time.monotonic() + PAUSE_SECONDS
            return None
        return answer if status == SIGNED else None

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(SECONDS)
            connection.connect(str(self._path))
            if peer_user(connection) != self._user:
                raise PermissionError
        except OSError:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _within(connection: socket.socket, seconds: float) -> Callable[[int], bytes]:
    """Receives until `seconds` from now, however small the pieces. It raises TimeoutError then, and OSError."""
    end = time.monotonic() + seconds
    connection.settimeout(seconds)

    def receive(most: int) -> bytes:
        if (left := end - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left)
        return connection.recv(most)

    return receive


def received(receive: Callable[[int], bytes], length: int) -> bytes:
    """Exactly `length` bytes. Raises EOFError where the other end closed before, and OSError."""
    found = b""
    while len(found) < length:
        if not (part := receive(length - len(found))):
            raise EOFError
        found += part
    return found


def peer_user(connection: socket.socket) -> int:
    """The number of the user whose process is at the other end of a unix socket. Raises OSError."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def this_user() -> int:
    """The number of the user that this process runs as."""
    return os.geteuid()
