"""`guardedvlm console LEDGER`: the compliance reviewer's pages."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardedvlm.audit.checkpointer import Checkpointed
from guardedvlm.audit.digest import Purpose, load_key
from guardedvlm.audit.keys import PublicKeys, load_public
from guardedvlm.audit.review.desk import ReviewDesk
from guardedvlm.audit.review.store import SampleStore
from guardedvlm.audit.signer import SocketSigner, this_user
from guardedvlm.audit.sink import FileSink
from guardedvlm.cli.output import err, out
from guardedvlm.cli.web import address_of, host_of, listening, require_packages, web_server
from guardedvlm.config import UNIX, ConsoleLogin, ConsoleReview, ConsoleSettings, load_console_settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evidence import checkpoint_log
from guardedvlm.transport.identity import tenant_names
from guardedvlm.transport.secret_file import read_secret

if TYPE_CHECKING:
    from guardedvlm.console.app import Site
    from guardedvlm.console.oidc import Provider

NEEDED = ("starlette", "uvicorn", "jinja2", "authlib", "httpx", "python_multipart")
"""What the extra `console` brings."""


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
        Path | None, typer.Option(help="Key of the pseudonyms, with --tenants or --review.", dir_okay=False)
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(help="Public keys (guardedvlm keys export-public), repeatable.", exists=True, dir_okay=False),
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Checkpoints that were kept elsewhere.", exists=True, dir_okay=False)
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the search index.", file_okay=False)] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="Folder of the samples for blind review, with --review-keys.", exists=True, file_okay=False),
    ] = None,
    review_keys: Annotated[
        Path | None, typer.Option(help="Folder of the samples' keys, with --audit-key.", exists=True, file_okay=False)
    ] = None,
) -> None:
    """Show the ledger to a reviewer: overview, search, single requests, policies, evidence. Nothing in it is changed.

    With --review it also shows redacted pictures to be marked; views and marks go into the ledger's log `review`.

    Without settings it listens on this machine alone and prints an address with a token; with `login` in the settings
    people log in at the identity provider, and need its role.

    Example:

        guardedvlm console site/ledger
    """
    require_packages("console", NEEDED)
    settings = load_console_settings(
        config,
        listen=listen,
        policies=_absolute(policies),
        tenants=tenants.resolve() if tenants else None,
        audit_key=audit_key.resolve() if audit_key else None,
        keys=_absolute(keys),
        checkpoints=checkpoints.resolve() if checkpoints else None,
        cache=cache.resolve() if cache else None,
        review=_folders(review, review_keys),
    )
    with listening(settings.listen) as listener:
        _serve(ledger.resolve(), settings, listener)


def _absolute(folders: Sequence[Path] | None) -> tuple[Path, ...] | None:
    return tuple(folder.resolve() for folder in folders) if folders else None


def _folders(samples: Path | None, keys: Path | None) -> dict[str, Path] | None:
    """The two folders of the desk, as settings have them; one without the other is refused there."""
    given = {"folder": samples, "keys": keys}
    return {name: folder.resolve() for name, folder in given.items() if folder} or None


def _serve(ledger: Path, settings: ConsoleSettings, listener: socket.socket) -> None:
    from guardedvlm.console.app import build_console

    port = listener.getsockname()[1]
    address = address_of(settings.url, settings.listen, listener, settings.tls)
    site = _site(ledger, settings, address, port)
    found = build_console(site)
    err.print("open in a browser on this machine:" if found.token else "reviewers log in at:")
    out.print(found.token.url(address) if found.token else address)
    web_server(found.application, settings.tls).run(sockets=[listener])


def _site(ledger: Path, settings: ConsoleSettings, address: str, port: int) -> Site:
    from guardedvlm.console.app import Site
    from guardedvlm.console.index import cache_folder
    from guardedvlm.console.login import OPERATOR
    from guardedvlm.console.watch import Outside

    beside = ledger.parent / "policies"
    return Site(
        ledger=ledger,
        cache=settings.cache or cache_folder(ledger),
        host=host_of(address),
        port=port,
        https=address.startswith("https://"),
        policies=settings.policies or ((beside,) if beside.is_dir() else ()),
        tenants=_names(settings),
        outside=Outside(
            sum(map(load_public, settings.keys), PublicKeys(())) if settings.keys else None, settings.checkpoints
        ),
        provider=_provider(settings.login, address) if settings.login else None,
        user=getpass.getuser() if settings.review else OPERATOR,
        desk=_desk(ledger, settings),
    )


def _desk(ledger: Path, settings: ConsoleSettings) -> ReviewDesk | None:
    """The desk of blind review, None where the settings have none."""
    review = settings.review
    if review is None or settings.audit_key is None:
        return None
    if ledger in (review.folder, *review.folder.parents):
        explanation = "samples and the ledger lie apart: a ledger is kept for years, a sample for days"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="review.folder", explanation=explanation)
    key = load_key(settings.audit_key)
    origin = key.pseudonym(Purpose.REPLICA, socket.gethostname())
    store = SampleStore(review.folder, review.keys)
    return ReviewDesk(store, ledger, key, origin, _checkpointing(review) if review.signer else None)


def _checkpointing(review: ConsoleReview) -> Callable[[Checkpointed], None]:
    """Checkpoints of the log `review`, signed by the process that the settings name."""

    def write(log: Checkpointed) -> None:
        assert review.signer is not None
        user = this_user() if review.signer_user is None else review.signer_user
        signer = SocketSigner(Path(review.signer.removeprefix(UNIX)), user)
        try:
            checkpoint_log(log, signer, FileSink(review.checkpoints) if review.checkpoints else None)
        finally:
            signer.close()

    return write


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
