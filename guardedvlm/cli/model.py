"""`guardedvlm model`: checkpoints of CogVLM2 on this machine. Nothing is fetched, and no code of a checkpoint runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.cli.output import out
from guardedvlm.errors import ConfigurationError, Reason

app = typer.Typer(help="Check, pin and make checkpoints of CogVLM2.", no_args_is_help=True)
Directory = Annotated[Path, typer.Argument(help="Checkpoint directory.", file_okay=False)]
Manifest = Annotated[Path | None, typer.Option(help="File of the pinned digests; beside the checkpoint by default.")]


@app.command("check")
def check(directory: Directory, manifest: Manifest = None) -> None:
    """Verify a checkpoint offline: names, shapes, types, pinned digests, licence, and that nothing in it can carry
    code. Of an adapter's directory (LoRA) the same but for the licence.

    Example:

        guardedvlm model check /models/cogvlm2
    """
    from guardedvlm.cogvlm2 import checkpoint

    if checkpoint.is_adapter(directory):
        out.print(f"adapter, digest {checkpoint.check_adapter(directory, manifest=manifest)}", soft_wrap=True)
        return
    found = checkpoint.check(directory, manifest=manifest)
    kind = "4-bit" if found.quantised else found.dtype
    out.print(f"{found.tensors} tensors, {found.parameters:,} parameters, {found.bytes:,} bytes, {kind}")
    out.print(f"digest {found.digest}", soft_wrap=True)


@app.command("pin")
def pin(directory: Directory, manifest: Manifest = None) -> None:
    """Write the digests of a checkpoint or an adapter that is sound; `check` and `serve-inference` hold it to them.

    Example:

        guardedvlm model pin /models/cogvlm2
    """
    from guardedvlm.cogvlm2 import checkpoint

    out.print(f"pinned in {checkpoint.pin(directory, manifest)}", soft_wrap=True)


@app.command("plan")
def plan(
    directory: Directory,
    gpu_memory: Annotated[str, typer.Option(help="Memory of the GPU: 24GiB, 80GB.")],
    tflops: Annotated[float, typer.Option(help="16-bit TFLOPS of the GPU (default: RTX 4090).", min=0.001)] = 165.0,
    bandwidth: Annotated[float, typer.Option(help="GB/s of its memory.", min=0.001)] = 1008.0,
    host_bandwidth: Annotated[float, typer.Option(help="GB/s from host memory to it.", min=0.001)] = 25.0,
) -> None:
    """Say what lives where, how many tokens of KV cache are left, and what cannot be beaten: arithmetic over the
    checkpoint's own tensors, nothing is loaded.

    Example:

        guardedvlm model plan /models/cogvlm2 --gpu-memory 24GiB
    """
    from guardedvlm.cogvlm2 import plan as planning

    try:
        memory = planning.parsed_bytes(gpu_memory)
    except ValueError:
        raise typer.BadParameter("a size such as 24GiB or 80GB", param_hint="--gpu-memory") from None
    found = planning.plans(directory, memory, planning.Speeds(tflops, bandwidth, host_bandwidth))
    table = Table("", *(one.name for one in found), title=f"{memory / GIB:.1f} GiB of GPU memory", title_justify="left")
    table.add_row("weights on the GPU", *(_gib(one.device_weights) for one in found))
    table.add_row("weights in host memory", *(_gib(one.host_weights) for one in found))
    table.add_row("copy buffers", *(_gib(one.buffers) for one in found))
    table.add_row("activations of a picture, estimated", *(_gib(one.activations) for one in found))
    left = (f"{one.kv_tokens:,} tokens" if one.kv_tokens > 0 else "does not fit" for one in found)
    table.add_row("KV cache that is left", *left)
    fits = [one.kv_tokens > 0 for one in found]
    prefill = (f"{one.prefill_seconds:.2f} s" if fit else "-" for one, fit in zip(found, fits, strict=True))
    decode = (f"{one.decode_tokens_per_s:.0f} tokens/s" if fit else "-" for one, fit in zip(found, fits, strict=True))
    table.add_row("prompt with a picture, at least", *prefill)
    table.add_row("decoding, at most", *decode)
    out.print(table)


GIB = 2**30


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


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
