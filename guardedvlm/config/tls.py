"""Certificates, of a server and of a client."""

from __future__ import annotations

from pathlib import Path

from guardedvlm.config.part import Part


class Tls(Part):
    """Certificates of the server. With `client_ca` every caller at `listen` must show a certificate of that CA."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ClientTls(Part):
    """How a client knows a server, and shows who it is: the authority, its own certificate and key."""

    ca: Path
    certificate: Path
    key: Path
