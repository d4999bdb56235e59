"""`guardedvlm openai`: a front for tools that speak OpenAI's API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.cli import options
from guardedvlm.cli.output import err, out
from guardedvlm.cli.web import address_of, listening, require_packages, web_server
from guardedvlm.config import load_openai_settings
from guardedvlm.worker import harden_process

NEEDED = ("starlette", "uvicorn")
"""What the extra `openai-api` brings."""
MIB = 2**20


def openai(
    server: options.Server = None,
    ca: options.Authority = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT; this machine only, unless the settings have TLS.")
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", help="Settings of the front (YAML).", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Serve OpenAI's /v1/chat/completions and /v1/models in front of a running service.

    A caller's API key is the bearer token of the service, under which each request is passed on; this process has no
    identity of its own, and keeps and logs nothing. Pictures come as data URLs; no address is fetched.

    Example:

        guardedvlm openai --server localhost:8443 --ca site/tls/ca.pem
    """
    require_packages("openai-api", NEEDED)
    from guardedvlm.openai_api.app import Front, build_openai

    settings = load_openai_settings(settings_file, listen=listen, server=server, ca=ca.resolve() if ca else None)
    harden_process()
    with listening(settings.listen) as listener:
        front = Front(
            settings.server,
            settings.ca,
            https=settings.tls is not None,
            body_bytes=settings.max_body * MIB,
            most_requests=settings.most_requests,
        )
        err.print("base URL for OpenAI's clients:")
        out.print(f"{address_of(None, settings.listen, listener, settings.tls)}/v1")
        web_server(build_openai(front), settings.tls).run(sockets=[listener])
