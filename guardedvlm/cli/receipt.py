"""`guardedvlm receipt verify | show`: what a receipt says, and whether it holds. Works offline."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageSequence
from rich.markup import escape

from guardedvlm.audit.dsse import MAX_BYTES
from guardedvlm.audit.keys import PublicKeys, load_public
from guardedvlm.audit.receipt import Receipt
from guardedvlm.audit.receipt_proof import UNSEEN, Finding, Given, Proof, prove
from guardedvlm.cli.keys import local_keys
from guardedvlm.cli.output import EVIDENCE, err, out
from guardedvlm.core.clearance import raster_digest
from guardedvlm.core.finding import Kind
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason

app = typer.Typer(help="Read and check receipts.", no_args_is_help=True)

MARKS = {Finding.HOLDS: "[green]holds[/]", Finding.BROKEN: "[bold red]BROKEN[/]", Finding.NOT_CHECKED: "not checked"}

File = Annotated[Path, typer.Argument(help="The receipt.", exists=True, dir_okay=False)]


@app.command()
def show(
    receipt: File,
    as_json: Annotated[bool, typer.Option("--json", help="Print the statement as JSON.")] = False,
) -> None:
    """Show what a receipt says. Nothing is checked: see verify.

    Example:

        guardedvlm receipt show answer.receipt.json
    """
    found = _decoded(_read(receipt))
    if as_json:
        out.print_json(found.statement.encode().decode("ascii"))
        return
    for name, value in _told(found).items():
        out.print(f"{name:<14} {value}", markup=False)
    err.print("[dim]nothing of it was checked: guardedvlm receipt verify[/]")


@app.command()
def verify(
    receipt: File,
    image: Annotated[
        Path | None, typer.Option("--image", help="The document as it was sent.", exists=True, dir_okay=False)
    ] = None,
    redacted: Annotated[
        Path | None, typer.Option("--redacted", help="The redacted file that came back.", exists=True, dir_okay=False)
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys", help="Public keys (keys export-public); those of local use where none are said.", dir_okay=False
        ),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="The ledger that it points into.", exists=True, file_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Check a receipt step by step, offline; exit code 5 when a step is broken, or its signature cannot be checked.

    What is not given is not checked, and the proof says so.

    Example:

        guardedvlm receipt verify answer.receipt.json --image statement.png --keys evidence-keys.json
    """
    given = Given(_keys(keys), image, redacted, _pages(redacted) if redacted else None, ledger)
    proof = prove(_read(receipt), given)
    if as_json:
        out.print_json(json.dumps(_facts(proof)))
    else:
        _print(proof)
    if not proof.holds:
        raise typer.Exit(EVIDENCE)


def _keys(paths: list[Path] | None) -> PublicKeys | None:
    if not paths:
        return local_keys()
    return sum((load_public(path) for path in paths), PublicKeys(()))


def _read(path: Path) -> bytes:
    """A receipt's bytes, and one more than it may have. Raises InvalidInput(INPUT_UNREADABLE)."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError:
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None


def _decoded(content: bytes) -> Receipt:
    try:
        return Receipt.decode(content)
    except ValueError:
        raise ConfigurationError(Reason.RECEIPT_BROKEN) from None


def _pages(path: Path) -> list[str] | None:
    """Raster digests of a PNG or TIFF as the guard writes them; None for what has no RGB pixels of its own."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("PNG", "TIFF")) as file:
            warnings.simplefilter("ignore")  # the size of a page is the policy's to bound
            frames = [np.ascontiguousarray(frame) for frame in ImageSequence.Iterator(file) if frame.mode == "RGB"]
            return [raster_digest(frame) for frame in frames] if len(frames) == getattr(file, "n_frames", 1) else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _print(proof: Proof) -> None:
    for step in proof.steps:
        out.print(f"{step.number}. {step.claim}: {MARKS[step.finding]}  [dim]{escape(step.told)}[/]")
    skipped = sum(step.finding is Finding.NOT_CHECKED for step in proof.steps)
    if proof.holds:
        out.print(f"[bold green]the receipt holds[/]; {skipped} of {len(proof.steps)} steps were not checked")
    else:
        out.print("[bold red]the receipt does not hold[/]")
    out.print(f"[dim]{UNSEEN}[/]")


def _facts(proof: Proof) -> dict[str, object]:
    return {
        "holds": proof.holds,
        "steps": [asdict(step) for step in proof.steps],
        "key": proof.receipt.signature.key_id if proof.receipt else None,
    }


def _told(receipt: Receipt) -> dict[str, str]:
    """What a person asks of a receipt; the rest is in its JSON."""
    found = receipt.statement
    position = found.position
    rows = {
        "audit id": found.audit_id,
        "call": f"{found.method}, {found.outcome}" + (f": {found.reason}" if found.reason else ""),
        "time": f"{found.began} to {found.ended}",
        "issued": found.issued,
        "policy": f"{found.policy['name']}  sha256:{found.policy['digest']}" if found.policy else "",
        "hidden": _hidden(found.regions or {}, found.area_permille or {}) if found.regions is not None else "",
        "verified": f"{found.verification['verdict']}, passes: {found.verification['passes']}"
        if found.verification
        else "",
        "detectors": f"{len(found.detectors)}, by name and digest in --json" if found.detectors else "",
        "model": f"{found.model['name']}  sha256:{found.model['digest']}" if found.model else "",
        "document": f"{found.input.bytes} bytes",
        "cleared": f"{found.cleared.pages} page(s)" if found.cleared else "",
        "redacted file": f"{found.redacted.bytes} bytes" if found.redacted else "",
        "record": f"{position.sequence} of the log {position.log} of {position.origin}  sha256:{position.record_hash}",
        "key": receipt.signature.key_id,
    }
    return {name: value for name, value in rows.items() if value}


def _hidden(regions: Mapping[Kind, int], area: Mapping[Kind, int]) -> str:
    if not regions:
        return "nothing"
    return ", ".join(f"{kind} {count} ({area.get(kind, 0) / 10:.1f} % of the area)" for kind, count in regions.items())
