"""`guardedvlm model`: checkpoints of CogVLM2 on this machine. Nothing is fetched, and no code of a checkpoint runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.cli.output import out
from guardedvlm.errors import ConfigurationError, Reason

app = typer.Typer(help="Check, pin and make checkpoints of CogVLM2.", no_args_is_help=True)
Directory = Annotated[Path, typer.Argument(help="Checkpoint directory.", file_okay=False)]
Manifest = Annotated[Path | None, typer.Option(help="File of the pinned digests; beside the checkpoint by default.")]


@app.command("check")
def check(directory: Directory, manifest: Manifest = None) -> None:
    """Verify a checkpoint offline: names, shapes, types, pinned digests, licence, and that nothing in it can carry
    code.

    Example:

        guardedvlm model check /models/cogvlm2
    """
    from guardedvlm.cogvlm2 import checkpoint

    found = checkpoint.check(directory, manifest=manifest)
    kind = "4-bit" if found.quantised else found.dtype
    out.print(f"{found.tensors} tensors, {found.parameters:,} parameters, {found.bytes:,} bytes, {kind}")
    out.print(f"digest {found.digest}", soft_wrap=True)


@app.command("pin")
def pin(directory: Directory, manifest: Manifest = None) -> None:
    """Write the digests of a checkpoint that is sound otherwise; `check` and `serve-inference` hold it to them.

    Example:

        guardedvlm model pin /models/cogvlm2
    """
    from guardedvlm.cogvlm2 import checkpoint

    out.print(f"pinned in {checkpoint.pin(directory, manifest)}", soft_wrap=True)


@app.command("init-tiny")
def init_tiny(
    directory: Directory,
    seed: Annotated[int, typer.Option(help="Seed of the random weights.")] = 0,
) -> None:
    """Write a complete, pinned, tiny CogVLM2 with random weights: it tries the wiring on any machine, and talks
    nonsense.

    Example:

        guardedvlm model init-tiny tiny
    """
    from guardedvlm.cogvlm2 import checkpoint, tiny

    if directory.exists() and any(directory.iterdir()):
        explanation = "the folder is not empty; nothing was changed"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=directory.name, explanation=explanation)
    try:
        tiny.write(directory, seed=seed)
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=directory.name) from None
    out.print(f"pinned in {checkpoint.pin(directory)}", soft_wrap=True)
