"""`guardedvlm policy show | check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from guardedvlm.app import default_policies
from guardedvlm.cli.local import find_policy
from guardedvlm.cli.output import USAGE, complain, out
from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.policy.load import policy_problems
from guardedvlm.policy.store import store_problems

app = typer.Typer(help="Show and check policies.", no_args_is_help=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped policy's name, or the path of a policy file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Canonical JSON: exactly what the digest covers.")] = False,
) -> None:
    """Show a policy's effective values and digest.

    Example:

        guardedvlm policy show healthcare
    """
    policy = find_policy(name)
    if as_json:
        out.print(policy.canonical(), markup=False)
        return
    out.print(f"[bold]{policy.name}[/] {policy.version}  sha256:{policy.digest()}")
    out.print(escape(policy.description))
    kinds = Table("kind", "what happens")
    for kind in Kind:
        note = "fill (always)" if kind in RESERVED_KINDS else policy.action(kind).value
        kinds.add_row(kind.value, note)
    out.print(kinds)
    rest = json.loads(policy.canonical())
    out.print(f"[bold]rules[/] {', '.join(rest['rules']) or 'none claimed'}")
    for part in ("expert", "gdpr", "text", "ask", "say", "limits", "audit"):
        if rest[part] is None:
            continue
        out.print(f"[bold]{part}[/]")
        for key, value in rest[part].items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            out.print(f"  {key}: {escape(str(shown))}")


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(help="A policy file, or a folder of policies (default: those that ship).", exists=True),
    ] = None,
) -> None:
    """Check policies: every problem with its line and reason; exit code 2 when there is one.

    Example:

        guardedvlm policy check policies/
    """
    path = path or default_policies()
    inside = path / "policy.yaml"
    if path.is_dir() and not inside.is_file():
        problems = store_problems(path)
    else:
        problems = policy_problems(inside if path.is_dir() else path)
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(USAGE)
    out.print(f"{path}: no problems")
