"""Where a service listens or is reached: HOST:PORT or a Unix socket."""

from __future__ import annotations

from pathlib import Path

ADDRESS = r"^((\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}|unix:.+)$"
"""HOST:PORT or unix:PATH."""
UNIX = "unix:"


def is_local(address: str) -> bool:
    """Whether `address` is on this machine: the loopback interface or a Unix socket."""
    return address.startswith(UNIX) or address.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}


def resolved_socket(address: str | None, folder: Path) -> str | None:
    """An address with the path of its socket counted from `folder`."""
    if address is None or not address.startswith(UNIX):
        return address
    return UNIX + str(folder / address.removeprefix(UNIX).removeprefix("//"))
