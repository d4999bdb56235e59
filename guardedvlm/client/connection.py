"""Channels to a guard, and what goes with every call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from guardedvlm.errors import ConfigurationError, NotIdentified, Reason
from guardedvlm.transport.listen import CHANNEL_OPTIONS, UNIX
from guardedvlm.transport.tls import channel_credentials

MAX_RECEIVE = 512 * 2**20
"""A redacted document comes back as one file."""
OPTIONS = tuple({**dict(CHANNEL_OPTIONS), "grpc.max_receive_message_length": MAX_RECEIVE}.items())
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the guard is, and how it and the caller know each other: with `ca` (PEM) TLS, with `certificate` and `key`
    mutual TLS. Without `ca` pictures and tokens would go out in clear: to this machine only."""

    target: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def channel(self) -> grpc.Channel:
        """A new connection. Raises ConfigurationError(SETTINGS_INVALID)."""
        credentials = self._credentials()
        if credentials is None:
            return grpc.insecure_channel(self.target, options=OPTIONS)
        return grpc.secure_channel(self.target, credentials, options=OPTIONS)

    def aio_channel(self) -> grpc.aio.Channel:
        """A new connection for asyncio. Raises ConfigurationError(SETTINGS_INVALID)."""
        credentials = self._credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(self.target, options=OPTIONS)
        return grpc.aio.secure_channel(self.target, credentials, options=OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials | None:
        if self.ca is not None:
            return channel_credentials(self.ca, self.certificate, self.key)
        if self.certificate is not None or self.key is not None:
            raise _invalid("a client certificate is shown over TLS alone: name the service's authority with ca")
        if not self.target.startswith(UNIX) and self.target.rpartition(":")[0] not in LOCAL_HOSTS:
            raise _invalid("pictures go to another machine over TLS alone: name its authority with ca")
        return None


def metadata(token: str) -> tuple[tuple[str, str], ...]:
    """What goes with a call. Raises NotIdentified(UNAUTHENTICATED) for a token that no header can hold."""
    if not token:
        return ()
    if not (token.isascii() and token.isprintable()):
        raise NotIdentified(Reason.UNAUTHENTICATED)
    return (("authorization", f"Bearer {token}"),)


def _invalid(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place="client", explanation=explanation)
