"""Which ledger and which of its logs a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.audit.checkpoint import CheckpointFile, read_checkpoints
from guardedvlm.audit.keys import PublicKeys, load_public
from guardedvlm.audit.logs import list_logs
from guardedvlm.cli.settings import state_folder
from guardedvlm.errors import ConfigurationError, Reason

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of the ledger (default: that of local use).", exists=True, file_okay=False)
]
Request = Annotated[str | None, typer.Option("--request", help="Only the records of this audit id.")]
Log = Annotated[str | None, typer.Option("--log", help="Only this log: service, years-6, ...")]
Checkpoints = Annotated[
    Path | None,
    typer.Option("--checkpoints", help="Checkpoints that were kept elsewhere.", exists=True, dir_okay=False),
]
PublicKeyFile = Annotated[
    Path | None,
    typer.Option("--keys", help="Public keys (guardedvlm keys export-public).", exists=True, dir_okay=False),
]


def given_checkpoints(checkpoints: Path | None, keys: Path | None) -> tuple[CheckpointFile | None, PublicKeys | None]:
    """What those files hold. Raises ConfigurationError, and BadParameter for checkpoints without keys."""
    if checkpoints is not None and keys is None:
        raise typer.BadParameter("--checkpoints needs --keys: anybody can write one that nobody signed")
    given = read_checkpoints(checkpoints) if checkpoints is not None else None
    return given, load_public(keys) if keys is not None else None


def ledger_folder(folder: Path | None) -> Path:
    """That folder, or the one of local use."""
    return folder or state_folder() / "ledger"


def chosen_logs(ledger: Path, name: str | None) -> list[Path]:
    """All logs, or the one of that name. Raises ConfigurationError(INPUT_UNREADABLE)."""
    found = [log for log in list_logs(ledger) if name in (None, log.name)]
    if name is not None and not found:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=name, explanation="the ledger has no such log")
    return found
