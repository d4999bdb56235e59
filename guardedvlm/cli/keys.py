"""`guardedvlm keys`: the keys that sign evidence, and the pair that undoes labels."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.audit.keys import RING, PublicKeys, create_keys, load_keys, rotate_keys
from guardedvlm.audit.signer import FolderSigner, this_user
from guardedvlm.audit.signer_server import SignerServer
from guardedvlm.cli.output import err, out
from guardedvlm.cli.reidentify import reidentify_init
from guardedvlm.cli.settings import state_folder
from guardedvlm.evidence import EVIDENCE_KEYS
from guardedvlm.worker import harden_process

app = typer.Typer(help="Keys that sign evidence, and keys that undo labels.", no_args_is_help=True)
app.command("reidentify-init")(reidentify_init)

Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of the evidence keys, a site's keys/evidence (default: that of local use)."),
]


@app.command()
def init(folder: Folder = None) -> None:
    """Make the key that signs receipts and checkpoints; where there is one, nothing is changed.

    The service makes one by itself in keys/evidence, unless its settings name a signer.

    Example:

        guardedvlm keys init /etc/guardedvlm/evidence
    """
    folder = _folder(folder)
    is_new = not (folder / RING).exists()
    ring = create_keys(folder)
    out.print(f"{folder / RING}  {'made' if is_new else 'is there already'}, key {ring.active.id}", markup=False)


@app.command()
def rotate(folder: Folder = None) -> None:
    """Sign with a new key from now on. What the old one signed still verifies; its private half is forgotten.

    A running service, or a running `guardedvlm keys serve`, signs with the new key from its next signature on. Give
    auditors the public keys anew: export-public.

    Example:

        guardedvlm keys rotate site/keys/evidence
    """
    ring = rotate_keys(_folder(folder))
    out.print(f"key {ring.active.id} signs; key {ring.retired[0].id} is retired, {len(ring.retired)} in all")


@app.command("export-public")
def export_public(
    to: Annotated[Path, typer.Argument(help="File to write: JSON, for auditors, nothing in it is secret.")],
    folder: Folder = None,
) -> None:
    """Write the public keys, active and retired, into one file; `guardedvlm receipt verify --keys` takes it.

    Example:

        guardedvlm keys export-public evidence-keys.json site/keys/evidence
    """
    public = load_keys(_folder(folder)).public
    public.write(to)
    out.print(f"{to}  {len(public.keys)} public keys, {public.keys[0].id} is active", markup=False)


@app.command("list")
def list_keys(folder: Folder = None) -> None:
    """List the evidence keys: which one signs, and from when to when the others did.

    Example:

        guardedvlm keys list site/keys/evidence
    """
    table = Table("key", "made", "retired")
    for key in load_keys(_folder(folder)).public.keys:
        table.add_row(key.id, key.created, key.retired or "active")
    out.print(table)


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of the evidence keys; made when it is not there.")],
    socket: Annotated[Path, typer.Option("--socket", help="Unix socket to listen at.")],
    user: Annotated[
        list[int] | None,
        typer.Option("--user", min=0, help="Number of a user that may ask; this one where none is said."),
    ] = None,
) -> None:
    """Sign for services of this machine until SIGTERM or Ctrl-C, so that no service can read the private key.

    Run it as a user of its own. It signs receipts and checkpoints in their one canonical form, and nothing else; who
    asks is the kernel's word. The service's settings: signer: unix:PATH, and signer_user: NUMBER of the user that this
    runs as.

    Example:

        guardedvlm keys serve /etc/guardedvlm/evidence --socket /run/guardedvlm/signer.sock --user 1001
    """
    harden_process()
    ring = create_keys(folder)
    with SignerServer(socket, FolderSigner(folder), user or [this_user()]) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        err.print(f"ready at {socket}, key {ring.active.id}", markup=False)
        server.serve_forever()
    err.print("stopped")


def local_keys() -> PublicKeys | None:
    """The public keys of local use, where there are any."""
    folder = _folder(None)
    return load_keys(folder).public if (folder / RING).exists() else None


def _folder(folder: Path | None) -> Path:
    return folder or state_folder() / "keys" / EVIDENCE_KEYS
