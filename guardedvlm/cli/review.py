"""`guardedvlm review list | show | mark | risk | sweep`: look at redacted pictures without knowing whose they are."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.review.risk import LEAST, Row, marks_of, residual_risk, reviewed_samples
from guardedvlm.audit.reviewed import Basis, ReviewVerdict
from guardedvlm.audit.verify import verified_records, verify_ledger
from guardedvlm.cli import options
from guardedvlm.cli.output import EVIDENCE, err, out
from guardedvlm.cli.settings import local_settings
from guardedvlm.config import Settings
from guardedvlm.core.finding import Kind
from guardedvlm.core.tenant import Role
from guardedvlm.errors import ConfigurationError, NotPermitted, Reason
from guardedvlm.evidence import review_desk
from guardedvlm.transport.secret_file import write_secret
from guardedvlm.trust import identified

app = typer.Typer(
    help="Look at redacted pictures that policies keep for review, and say whether something is left.",
    no_args_is_help=True,
)

Sample = Annotated[str, typer.Argument(help="The sample's id, from `review list`.")]
Reviewer = Annotated[
    str | None,
    typer.Option(
        "--as", help="Your name, as you say it: it is not checked. The ledger gets a pseudonym (default: the user's)."
    ),
]
Token = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with your token, which must have the role reviewer; your name is then that of the tenants file.",
        exists=True,
        dir_okay=False,
    ),
]
_CELL = re.compile(r"(\d{1,2}),(\d{1,2})\Z", re.ASCII)


@app.command("list")
def list_samples(
    every: Annotated[bool, typer.Option("--all", help="Also those that were marked.")] = False,
    token: Token = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """List the samples that wait: their random names and until when they are kept, and nothing else.

    Example:

        guardedvlm review list --config site/guardedvlm.yaml
    """
    table = Table("sample", "kept until", box=None)
    settings = local_settings(config, ledger)
    _reviewer(settings, token, None)
    waiting = review_desk(settings).queue(marked=every)
    for kept in waiting:
        table.add_row(kept.sample, f"{datetime.fromtimestamp(kept.expires, UTC):%Y-%m-%d %H:%M} UTC")
    out.print(table if waiting else "no sample waits")


@app.command()
def show(
    sample: Sample,
    output: Annotated[Path, typer.Option("--out", "-o", help="PNG file to write.", dir_okay=False)],
    reviewer: Reviewer = None,
    token: Token = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Write a sample's picture to a file, once the view is in the ledger. Delete the file when it is marked.

    Example:

        guardedvlm review show 5f0c... --out look.png --config site/guardedvlm.yaml
    """
    settings = local_settings(config, ledger)
    name = _reviewer(settings, token, reviewer)
    picture = review_desk(settings).view(sample, name)
    try:
        write_secret(output, picture)
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output.parent)) from None
    out.print(f"wrote {output}; it is not encrypted: delete it when you have marked the sample", markup=False)


@app.command()
def mark(
    sample: Sample,
    verdict: Annotated[ReviewVerdict, typer.Argument(help="What the picture shows.")],
    kind: Annotated[
        list[Kind] | None, typer.Option("--kind", "-k", help="What leaked, or was hidden for nothing; repeat.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option("--cell", help="ROW,COLUMN of a 32 x 32 grid of the picture, from 0; repeat.")
    ] = None,
    reviewer: Reviewer = None,
    token: Token = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Record what you saw. `leaked` destroys the sample at once and opens an incident in the ledger.

    Example:

        guardedvlm review mark 5f0c... leaked --kind PERSON --cell 3,12 --config site/guardedvlm.yaml
    """
    cells = [_cell(text) for text in cell or ()]
    settings = local_settings(config, ledger)
    name = _reviewer(settings, token, reviewer)
    review_desk(settings).mark(sample, name, verdict, kind or (), cells)
    out.print("recorded" if verdict is not ReviewVerdict.LEAKED else "recorded; the sample is destroyed")


@app.command()
def risk(
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Leaked of reviewed samples with Wilson's 95 % interval, by tenant (pseudonym) and kind.

    Random samples speak for all released pictures; low-margin ones are chosen where a leak is likeliest. Rows with
    fewer than 5 reviewed samples are suppressed. Every log is verified first; exit code 5 when one is broken.

    Example:

        guardedvlm review risk --config site/guardedvlm.yaml
    """
    logs = [(folder, verify_ledger(folder)) for folder in list_logs(local_settings(config, ledger).ledger)]
    if not all(found.chain_ok for _, found in logs):
        err.print("[bold red]the ledger does not verify[/]: no risk is told from it; see `guardedvlm audit verify`")
        raise typer.Exit(EVIDENCE)
    marks = (mark for folder, found in logs for mark in marks_of(verified_records(folder, found)))
    rows = residual_risk(reviewed_samples(marks))
    if as_json:
        out.print_json(json.dumps([_facts(row) for row in rows]))
        return
    if not rows:
        out.print("no sample was marked")
    for basis in Basis:
        table = Table("tenant", "kind", "leaked / reviewed", "share", "95 %", title=basis.value, box=None)
        for row in (row for row in rows if row.basis is basis):
            table.add_row(*_cells(row))
        if table.row_count:
            out.print(table, markup=False)


@app.command()
def sweep(config: options.Config = None, ledger: options.LedgerFolder = None) -> None:
    """Destroy the keys and pictures of samples that have expired. The service does it every minute.

    Example:

        guardedvlm review sweep --config site/guardedvlm.yaml
    """
    out.print(f"{len(review_desk(local_settings(config, ledger)).sweep())} destroyed")


def _reviewer(settings: Settings, token: Path | None, said: str | None) -> str:
    """Who reviews: whose token it is, and without one, where the settings allow that, who they say they are.

    Raises NotIdentified for a token that nobody has, NotPermitted(ROLE_MISSING) for one without the role, and for none
    where there must be one.
    """
    if token is None:
        if settings.review.identified:
            raise NotPermitted(Reason.ROLE_MISSING)
        return said or getpass.getuser()
    if said is not None:
        raise typer.BadParameter("--as says who you are, and --token-file proves it: give one of them")
    try:
        bearer = token.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place="--token-file") from None
    caller = asyncio.run(identified(settings, bearer))
    if Role.REVIEWER not in caller.roles:
        raise NotPermitted(Reason.ROLE_MISSING)
    return f"{caller.tenant}/{caller.name}"


def _cell(text: str) -> tuple[int, int]:
    found = _CELL.match(text)
    if found is None:
        raise typer.BadParameter("a cell is ROW,COLUMN")
    return int(found[1]), int(found[2])


def _cells(row: Row) -> tuple[str, ...]:
    who, what = row.tenant[:8] or "all", row.kind or "any"
    if row.share is None:
        return who, what, f"fewer than {LEAST}, or would tell one", "", ""
    share = row.share
    return who, what, f"{share.hits} / {share.n}", f"{share.value:.4f}", f"{share.low:.4f} to {share.high:.4f}"


def _facts(row: Row) -> dict[str, object]:
    facts: dict[str, object] = {"tenant": row.tenant, "kind": row.kind, "basis": row.basis, "suppressed": not row.share}
    if row.share is not None:
        share = row.share
        facts |= {"leaked": share.hits, "reviewed": share.n, "low": share.low, "high": share.high}
    return facts
