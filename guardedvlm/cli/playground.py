"""`guardedvlm playground`: try a policy on a picture, in the browser."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from guardedvlm.cli import options
from guardedvlm.cli.local import local_pipeline
from guardedvlm.cli.output import err, out
from guardedvlm.cli.settings import local_settings
from guardedvlm.cli.web import address_of, host_of, listening, require_packages, web_server
from guardedvlm.config import PlaygroundSettings, load_playground_settings
from guardedvlm.policy.shipped import default_policies
from guardedvlm.worker import harden_process

if TYPE_CHECKING:
    from guardedvlm.playground.ports import Samples

NEEDED = ("starlette", "uvicorn", "jinja2", "pypdfium2", "pydicom")
"""What the extra `playground` brings."""


def playground(
    local: Annotated[
        bool, typer.Option("--local", help="Run the guard in this process, on a folder of policies.")
    ] = False,
    policies: Annotated[
        Path | None,
        typer.Option(help="With --local: folder of policies (default: those that ship).", exists=True, file_okay=False),
    ] = None,
    server: options.Server = None,
    certificate_server: Annotated[
        str | None, typer.Option(help="HOST:PORT where the service takes client certificates, if it is another one.")
    ] = None,
    ca: options.Authority = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT; this machine only, unless the settings have TLS.")
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", help="Settings of the playground (YAML).", exists=True, dir_okay=False),
    ] = None,
    samples: Annotated[bool, typer.Option(help="Offer made-up pictures to try with.")] = True,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Try a policy on a picture: before, after, every region with its reason, an answer and what the screen changed.

    Beside a service everybody logs in with their own bearer token or client certificate, and sends under it. With
    --local the guard runs in this process: edit policy.yaml, press again, see the difference. Nothing is stored but
    the ledger's records, which hold no content.

    Examples:

        guardedvlm playground --local --policies site/policies

        guardedvlm playground --server localhost:8443 --ca site/tls/ca.pem
    """
    require_packages("playground", NEEDED)
    if not local and (policies or config or ledger):
        raise typer.BadParameter("--policies, --config and --ledger belong to --local: a service has its own")
    if local and (server or certificate_server or ca):
        raise typer.BadParameter(
            "--local runs the guard here; --server, --certificate-server and --ca name another one"
        )
    settings = load_playground_settings(
        settings_file,
        listen=listen,
        server=server,
        certificate_server=certificate_server,
        ca=ca.resolve() if ca else None,
    )
    harden_process()
    with listening(settings.listen) as listener:
        folder = (policies or default_policies()).resolve() if local else None
        asyncio.run(_serve(settings, listener, folder, config, ledger, _samples() if samples else None))


async def _serve(
    settings: PlaygroundSettings,
    listener: socket,
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    samples: Samples | None,
) -> None:
    from guardedvlm.cli.trying import LocalGuard
    from guardedvlm.playground.app import Site, build_playground
    from guardedvlm.playground.remote import Target

    address = address_of(settings.url, settings.listen, listener, settings.tls)
    async with AsyncExitStack() as parts:
        guard, target = None, None
        if folder is not None:
            err.print("loading the detectors")
            own = local_settings(config, ledger)
            guard = LocalGuard(await parts.enter_async_context(local_pipeline(own)), folder, own.policy_key)
        else:
            target = Target(settings.server, settings.certificate_server or settings.server, settings.ca)
        port, https = listener.getsockname()[1], address.startswith("https://")
        site = Site(host_of(address), port, https, target, guard, samples)
        found = build_playground(site)
        err.print("open in a browser on this machine:" if found.token else "policy authors log in at:")
        out.print(found.token.url(address) if found.token else address)
        await web_server(found.application, settings.tls).serve(sockets=[listener])


def _samples() -> Samples:
    from guardedvlm.cli.trying import DrawnSamples

    return DrawnSamples()
