"""`guardedvlm policy show | check | schema | coverage`: what a policy says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from guardedvlm.cli.output import USAGE, complain, out
from guardedvlm.cli.settings import policy_file
from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.policy.coverage import coverage_table
from guardedvlm.policy.document import Document, require
from guardedvlm.policy.effective import effective_values
from guardedvlm.policy.explain import dotted
from guardedvlm.policy.load import FILE_NAME, examine_file, policy_problems
from guardedvlm.policy.model import Policy
from guardedvlm.policy.schema import policy_schema
from guardedvlm.policy.shipped import default_policies
from guardedvlm.policy.store import PolicyStore, store_problems


def show(
    name: Annotated[str, typer.Argument(help="A shipped policy's name, or the path of a policy file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Canonical JSON: exactly what the digest covers.")] = False,
    effective: Annotated[
        bool, typer.Option("--effective", help="Every value in force with the file and line that it comes from.")
    ] = False,
) -> None:
    """Show a policy's effective values and digest.

    Example:

        guardedvlm policy show healthcare --effective
    """
    document = require(examine_file(policy_file(name)))
    if as_json:
        out.print(document.value.canonical(), markup=False)
    elif effective:
        _print_origins(document)
    else:
        _print(document.value)


def _print_origins(document: Document[Policy]) -> None:
    values = effective_values(document)
    widths = [
        max(map(len, column))
        for column in zip(*((str(v.place or "default"), dotted(v.where)) for v in values), strict=True)
    ]
    out.print(f"[bold]{document.value.name}[/] {document.value.version}  sha256:{document.value.digest()}")
    for value in values:
        typer.echo(f"{value.place or 'default'!s:<{widths[0]}}  {dotted(value.where):<{widths[1]}}  {value.text}")


def _print(policy: Policy) -> None:
    out.print(f"[bold]{policy.name}[/] {policy.version}  sha256:{policy.digest()}")
    out.print(escape(policy.description))
    kinds = Table("kind", "what happens")
    for kind in Kind:
        note = "fill (always)" if kind in RESERVED_KINDS else (policy.hide.get(kind) or policy.action(kind)).value
        kinds.add_row(kind.value, note)
    out.print(kinds)
    rest = json.loads(policy.canonical())
    out.print(f"[bold]rules[/] {', '.join(rest['rules']) or 'none claimed'}")
    for part, values in rest.items():
        if part == "hide" or not isinstance(values, dict):
            continue
        out.print(f"[bold]{part}[/]")
        for key, value in values.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            out.print(f"  {key}: {escape(str(shown))}")


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
    inside = path / FILE_NAME
    if path.is_dir() and not inside.is_file():
        problems = store_problems(path)
    else:
        problems = policy_problems(inside if path.is_dir() else path)
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(USAGE)
    out.print(f"{path}: no problems")


def schema() -> None:
    """Print the JSON Schema of a policy file, for editors and pipelines.

    What one part asks of another (and of the rules that a policy claims) no schema can say: `policy check` does.

    Example:

        guardedvlm policy schema > policy.schema.json
    """
    typer.echo(policy_schema())


def coverage() -> None:
    """Print the table of identifiers that rules name, the kinds that stand for them and what finds them (Markdown).

    Example:

        guardedvlm policy coverage > docs/coverage.md
    """
    store = PolicyStore(default_policies())
    typer.echo(coverage_table(store.policy_for(name) for name in store.names))
