"""`guardedvlm audit prune`."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.audit.prune import plan_removals
from guardedvlm.audit.prune import remove as remove_records
from guardedvlm.cli.output import out
from guardedvlm.cli.settings import local_settings
from guardedvlm.evidence import evidence_signer, make_checkpointer, replica


def prune(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file (YAML).", exists=True, dir_okay=False)
    ] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="Folder of the ledger.", file_okay=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove whole segments whose records are older than the policies asked for when they were written.

    The removal is recorded, and what is left verifies: with the roots of what is gone. A segment that does not verify
    stays. Works while the service writes.

    Example:

        guardedvlm audit prune --config site/guardedvlm.yaml --dry-run
    """
    settings = local_settings(config, ledger)
    now = datetime.now(UTC)
    plan = plan_removals(settings.ledger, now)
    for removal in plan:
        out.print(
            f"{removal.folder.name}: {removal.records} records in {len(removal.segments)} segments, "
            f"the newest of {removal.until}"
        )
    if not plan:
        out.print("nothing is old enough")
    if dry_run or not plan:
        return
    if not yes:
        typer.confirm("remove them?", abort=True)
    with ExitStack() as parts:
        signer = evidence_signer(settings, parts)
        checkpointer = make_checkpointer(settings, signer)
        done = remove_records(settings.ledger, now, replica(settings), checkpointer, signer.public())
    out.print(f"removed {sum(removal.records for removal in done)} records")
