"""`guardedvlm keys serve`: the process that has the private key, and signs receipts and checkpoints, nothing else."""

from __future__ import annotations

import re
import socket
import socketserver
from collections.abc import Collection
from pathlib import Path

from guardedvlm.audit import dsse
from guardedvlm.audit.receipt import TYPE, Statement
from guardedvlm.audit.signer import (
    LENGTH,
    MAX_MESSAGE,
    REFUSED,
    SECONDS,
    SIGNED,
    EvidenceSigner,
    peer_user,
    received,
)
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

IDLE_SECONDS = 3600.0
"""A connection that says nothing for so long is closed; a client opens another one."""
SOCKET_MODE = 0o666
"""Who may connect is the kernel's answer to whose process it is; the folder may say more."""
_CHECKPOINT = re.compile(
    rb"guardedvlm/[0-9a-f]{32}/[a-z][a-z0-9-]{0,31}\n"  # origin: replica and log
    rb"(?:0|[1-9][0-9]{0,15})\n"  # tree size
    rb"[A-Za-z0-9+/]{43}=\n"  # root hash
    rb"(?:[!-~][ -~]{0,199}\n){0,4}\Z"  # extension lines (C2SP tlog-checkpoint)
)


def is_evidence(message: bytes) -> bool:
    """Whether `message` is a receipt or a checkpoint, whole and in canonical form."""
    if _CHECKPOINT.match(message):
        return True
    _, found, payload = message.partition(b" {")
    if not found:
        return False
    try:
        return dsse.message(TYPE, Statement.decode(b"{" + payload).encode()) == message
    except ValueError:
        return False


class SignerServer(socketserver.ThreadingUnixStreamServer):
    """Signs for processes of `users` at the socket `path`, with the keys of `signer`."""

    daemon_threads = True

    def __init__(self, path: Path, signer: EvidenceSigner, users: Collection[int]) -> None:
        """Raises ConfigurationError(PORT_TAKEN) when something else is at `path`."""
        self.signer = signer
        self.users = frozenset(users)
        self.path = path
        self._is_ours = False
        try:
            if path.is_socket() and not _is_answered(path):
                path.unlink()  # of a signer that died
            super().__init__(str(path), _Connection)
            self._is_ours = True
            path.chmod(SOCKET_MODE)
        except OSError:
            raise ConfigurationError(Reason.PORT_TAKEN, place=str(path)) from None

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002
        """Whether it is a process of a user that may have signatures."""
        try:
            return isinstance(request, socket.socket) and peer_user(request) in self.users
        except OSError:
            return False

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is closed, and nothing is printed."""

    def server_close(self) -> None:
        """Close the socket and take its name away; also called where something else had that name."""
        super().server_close()
        if self._is_ours:
            self.path.unlink(missing_ok=True)


class _Connection(socketserver.BaseRequestHandler):
    """One client: frames until it leaves."""

    server: SignerServer
    request: socket.socket

    def handle(self) -> None:
        while True:
            self.request.settimeout(IDLE_SECONDS)
            try:
                (length,) = LENGTH.unpack(received(self.request.recv, LENGTH.size))
                if length > MAX_MESSAGE:
                    return
                self.request.settimeout(SECONDS)
                self.request.sendall(self._answer(received(self.request.recv, length)))
            except (EOFError, OSError):
                return

    def _answer(self, message: bytes) -> bytes:
        try:
            answer = self._signed(message) if message else self.server.signer.public().encode()
        except Unavailable:
            answer = None
        return REFUSED + LENGTH.pack(0) if answer is None else SIGNED + LENGTH.pack(len(answer)) + answer

    def _signed(self, message: bytes) -> bytes | None:
        if not is_evidence(message):
            return None
        signature = self.server.signer.sign(message)
        return bytes.fromhex(signature.key_id) + signature.value


def _is_answered(path: Path) -> bool:
    """Whether a process listens at the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
