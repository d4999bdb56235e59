"""`guardedvlm policy diff`: is the new policy weaker than the old one?"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.cli import options
from guardedvlm.cli.output import REFUSED, out
from guardedvlm.cli.settings import find_policy
from guardedvlm.policy.compare import Change, Effect, compare

LONGEST_REASON = 500


def diff(
    old: Annotated[str, typer.Argument(help="The policy in force: a name, a file or a folder.")],
    new: Annotated[str, typer.Argument(help="The policy that is to replace it.")],
    allow_weaker: Annotated[
        str | None, typer.Option("--allow-weaker", metavar="REASON", help="Accept what is weaker, for this reason.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON, with the reason.")] = False,
    key: options.PolicyKey = None,
) -> None:
    """Say of each change whether it is weaker, stronger or other; exit code 1 if one is weaker.

    Effective policies are compared, with everything that they inherit.

    Example:

        guardedvlm policy diff healthcare site/policies/clinic
    """
    if allow_weaker is not None and not 0 < len(allow_weaker.strip()) <= LONGEST_REASON:
        raise typer.BadParameter("a reason has words")
    changes = compare(find_policy(old, key=key), find_policy(new, key=key))
    weaker = [change for change in changes if change.effect is Effect.WEAKER]
    if as_json:
        facts = [{"path": c.path, "old": c.old, "new": c.new, "effect": c.effect.value} for c in changes]
        out.print_json(json.dumps({"changes": facts, "weaker": len(weaker), "allowed_because": allow_weaker}))
    else:
        _print(changes, allow_weaker)
    if weaker and allow_weaker is None:
        raise typer.Exit(REFUSED)


def _print(changes: tuple[Change, ...], reason: str | None) -> None:
    table = Table("", "value", "old", "new", box=None)
    for change in sorted(changes, key=lambda change: [*Effect].index(change.effect)):
        table.add_row(change.effect.value, change.path, change.old, change.new)
    if changes:
        out.print(table, markup=False)
    counts = [sum(change.effect is effect for change in changes) for effect in Effect]
    out.print(", ".join(f"{count} {effect}" for count, effect in zip(counts, Effect, strict=True)))
    if reason is not None:
        out.print(f"weaker, because: {reason}", markup=False)
