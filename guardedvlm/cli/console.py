"""`guardedvlm console LEDGER`: the compliance reviewer's pages."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from guardedvlm.audit.digest import Purpose, load_key
from guardedvlm.audit.keys import PublicKeys, load_public
from guardedvlm.cli.output import err, out
from guardedvlm.config import ConsoleLogin, ConsoleSettings, load_console_settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.transport.identity import tenant_names
from guardedvlm.transport.secret_file import read_secret

if TYPE_CHECKING:
    from guardedvlm.console.app import Site
    from guardedvlm.console.oidc import Provider

NEEDED = ("starlette", "uvicorn", "jinja2", "authlib", "httpx", "python_multipart")
"""What the extra `console` brings."""
DRAIN_SECONDS = 3
BACKLOG = 64


def console(
    ledger: Annotated[Path, typer.Argument(help="Folder of the ledger.", exists=True, file_okay=False)],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings of the console (YAML).", exists=True, dir_okay=False)
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT; this machine only, unless the settings have TLS.")
    ] = None,
    policies: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of policy versions, repeatable (default: policies beside the ledger).", file_okay=False
        ),
    ] = None,
    tenants: Annotated[
        Path | None, typer.Option(help="Tenants file, to show names instead of pseudonyms.", dir_okay=False)
    ] = None,
    audit_key: Annotated[
        Path | None, typer.Option(help="Key of the pseudonyms, with --tenants.", dir_okay=False)
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(help="Public keys (guardedvlm keys export-public), repeatable.", exists=True, dir_okay=False),
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Checkpoints that were kept elsewhere.", exists=True, dir_okay=False)
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the search index.", file_okay=False)] = None,
) -> None:
    """Show the ledger to a reviewer: overview, search, single requests, policies, evidence. Nothing in it is changed.

    Without settings it listens on this machine alone and prints an address with a token; with `login` in the settings
    people log in at the identity provider, and need its role.

    Example:

        guardedvlm console site/ledger
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        explanation = f"needs {', '.join(missing)}: install guardedvlm[console]"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="console", explanation=explanation)
    settings = load_console_settings(
        config,
        listen=listen,
        policies=_absolute(policies),
        tenants=tenants.resolve() if tenants else None,
        audit_key=audit_key.resolve() if audit_key else None,
        keys=_absolute(keys),
        checkpoints=checkpoints.resolve() if checkpoints else None,
        cache=cache.resolve() if cache else None,
    )
    with _socket(settings.listen) as listener:
        _serve(ledger.resolve(), settings, listener)


def _absolute(folders: Sequence[Path] | None) -> tuple[Path, ...] | None:
    return tuple(folder.resolve() for folder in folders) if folders else None


def _socket(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except (OSError, OverflowError):
        raise ConfigurationError(Reason.PORT_TAKEN, place=listen) from None


def _serve(ledger: Path, settings: ConsoleSettings, listener: socket.socket) -> None:
    import uvicorn

    from guardedvlm.console.app import build_console

    port = listener.getsockname()[1]
    address = settings.url or f"{'https' if settings.tls else 'http'}://{settings.listen.rpartition(':')[0]}:{port}"
    site = _site(ledger, settings, address, port)
    found = build_console(site)
    tls = settings.tls
    server = uvicorn.Server(
        uvicorn.Config(
            found.application,
            access_log=False,  # addresses of requests hold audit ids, and once the token
            log_level="critical",  # below it stand tracebacks
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
    )
    err.print("open in a browser on this machine:" if found.token else "reviewers log in at:")
    out.print(found.token.url(address) if found.token else address)
    server.run(sockets=[listener])


def _site(ledger: Path, settings: ConsoleSettings, address: str, port: int) -> Site:
    from guardedvlm.console.app import Site
    from guardedvlm.console.index import cache_folder
    from guardedvlm.console.watch import Outside

    beside = ledger.parent / "policies"
    return Site(
        ledger=ledger,
        cache=settings.cache or cache_folder(ledger),
        host=_host(address),
        port=port,
        https=address.startswith("https://"),
        policies=settings.policies or ((beside,) if beside.is_dir() else ()),
        tenants=_names(settings),
        outside=Outside(
            sum(map(load_public, settings.keys), PublicKeys(())) if settings.keys else None, settings.checkpoints
        ),
        provider=_provider(settings.login, address) if settings.login else None,
    )


def _host(address: str) -> str:
    host = urlsplit(address).hostname or ""
    return f"[{host}]" if ":" in host else host


def _names(settings: ConsoleSettings) -> dict[str, str]:
    """Tenants' names by their pseudonyms."""
    if settings.tenants is None or settings.audit_key is None:
        return {}
    key = load_key(settings.audit_key)
    return {key.pseudonym(Purpose.TENANT, name): name for name in tenant_names(settings.tenants)}


def _provider(login: ConsoleLogin, address: str) -> Provider:
    from guardedvlm.console.oidc import Provider

    secret = read_secret(login.client_secret_file).decode().strip() if login.client_secret_file else None
    return Provider(
        issuer=login.issuer,
        client_id=login.client_id,
        client_secret=secret,
        redirect_uri=f"{address}/login/callback",
        claim=login.claim,
        role=login.role,
        ca=str(login.ca) if login.ca else None,
    )
