"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PolicyName = Annotated[
    str, typer.Option("--policy", "-p", help="A shipped policy (healthcare, finance) or the path of a policy file.")
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file (YAML).", exists=True, dir_okay=False)
]
LedgerFolder = Annotated[
    Path | None,
    typer.Option("--ledger", help="Folder of the audit ledger (default: the settings', or the user's state folder)."),
]
SealFor = Annotated[
    Path | None,
    typer.Option(
        "--reidentify-key",
        help="Public key (reidentify.pub): bring what the labels stand for, sealed for it, if the policy allows.",
        exists=True,
        dir_okay=False,
    ),
]
ReceiptFile = Annotated[
    Path | None,
    typer.Option("--receipt", help="Write the signed receipt here, of a refusal, too; `guardedvlm receipt` reads it."),
]
Server = Annotated[
    str | None,
    typer.Option("--server", help="Ask a running service at HOST:PORT or unix:PATH instead of this process."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the bearer token for --server.", exists=True, dir_okay=False),
]
Authority = Annotated[
    Path | None, typer.Option("--ca", help="Certificate authority (PEM) of --server.", exists=True, dir_okay=False)
]
Certificate = Annotated[
    Path | None,
    typer.Option("--certificate", help="Client certificate (PEM) for --server.", exists=True, dir_okay=False),
]
CertificateKey = Annotated[
    Path | None, typer.Option("--key", help="Key (PEM) of --certificate.", exists=True, dir_okay=False)
]
