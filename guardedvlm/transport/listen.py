"""Addresses and channel options of every gRPC server and client of the product."""

from __future__ import annotations

import os
import re
import socket

import grpc
import grpc.aio

from guardedvlm.core.connection import (
    KEEPALIVE_SECONDS,
    KEEPALIVE_TIMEOUT_SECONDS,
    MAX_AGE_GRACE_SECONDS,
    MAX_AGE_SECONDS,
)
from guardedvlm.errors import ConfigurationError, Reason

RECEIVE_LIMIT = 32 * 2**20
"""Bytes of one message, either way. A page of 300 dpi as PNG has 5-20 MB; larger documents use the streamed upload."""
METADATA_LIMIT = 16 * 1024
"""Bytes of a call's metadata; a bearer token has 48, an error's details about 500."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", RECEIVE_LIMIT),
    ("grpc.max_send_message_length", RECEIVE_LIMIT),
    ("grpc.max_metadata_size", METADATA_LIMIT),
    # On by default on Linux: a second server would bind the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
)
"""Options for `grpc.aio.server`."""

LEAST_PING_SECONDS = 10.0
"""A client that pings more often is sent away (GOAWAY, too_many_pings)."""


def connection_options(
    keepalive: float = KEEPALIVE_SECONDS,
    keepalive_timeout: float = KEEPALIVE_TIMEOUT_SECONDS,
    max_age: float = MAX_AGE_SECONDS,
    max_age_grace: float = MAX_AGE_GRACE_SECONDS,
) -> tuple[tuple[str, int], ...]:
    """Options of a server behind a load balancer, all in seconds. gRPC itself varies `max_age` by 10 %."""
    return (
        ("grpc.keepalive_time_ms", round(1000 * keepalive)),
        ("grpc.keepalive_timeout_ms", round(1000 * keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1000 * min(keepalive, LEAST_PING_SECONDS))),
        ("grpc.max_connection_age_ms", round(1000 * max_age)),
        ("grpc.max_connection_age_grace_ms", round(1000 * max_age_grace)),
    )


CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", RECEIVE_LIMIT),
    ("grpc.max_send_message_length", RECEIVE_LIMIT),
    ("grpc.max_metadata_size", METADATA_LIMIT),
    # Pictures go to the named peer and nowhere else, whatever the environment says.
    ("grpc.enable_http_proxy", 0),
    # A peer that is gone without a word is noticed while a call waits for it.
    ("grpc.keepalive_time_ms", round(1000 * KEEPALIVE_SECONDS)),
    ("grpc.keepalive_timeout_ms", round(1000 * KEEPALIVE_TIMEOUT_SECONDS)),
)
"""Options for `grpc.aio.secure_channel` and its kin."""

_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})\Z")
MAX_PORT = 65_535
UNIX = "unix:"
PROBE_SECONDS = 1.0


def bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """Bind `server`, which was made with SERVER_OPTIONS, to "host:port" or "unix:path"; returns the port (0: any).

    Without `credentials` the address is served in clear text: for the loopback interface, sockets and health alone.
    Raises ConfigurationError: SETTINGS_INVALID for what is no address, PORT_TAKEN when it cannot be bound.
    """
    _refuse_other_than_address(address)
    if address.startswith(UNIX):
        _refuse_taken_socket(address)
    # Whoever may write to a socket may call: its owner alone.
    before = os.umask(0o177)
    try:
        bound = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError:
        raise ConfigurationError(Reason.PORT_TAKEN, place=address) from None
    finally:
        os.umask(before)
    return int(bound)


def _refuse_taken_socket(address: str) -> None:
    """gRPC takes the path of a socket that somebody serves, and says nothing."""
    path = address.removeprefix(UNIX).removeprefix("//")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(path)
        except OSError:
            return  # nobody is there, or only what a dead server left
    raise ConfigurationError(Reason.PORT_TAKEN, place=address)


def _refuse_other_than_address(address: str) -> None:
    if address.startswith(UNIX) and len(address) > len(UNIX):
        return
    found = _HOST_PORT.match(address)
    # gRPC binds 127.0.0.1:99999 as port 34463 and says nothing.
    if found is None or int(found[2]) > MAX_PORT:
        explanation = "must be HOST:PORT or unix:PATH, with a port up to 65535"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=ascii(address[:80]), explanation=explanation)
