"""`guardedvlm audit verify | show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.audit.verify import LedgerReport, read_records, verify_ledger
from guardedvlm.cli.local import state_folder
from guardedvlm.cli.output import EVIDENCE, out

app = typer.Typer(help="Check and read the audit ledger.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of the ledger (default: that of local use).", exists=True, file_okay=False)
]


@app.command()
def verify(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every record and the chain; exit code 5 when it does not hold. Works while the service writes.

    Requests without an end are listed apart: they run, or ran when the process died. That the newest records were cut
    off cannot be seen from the ledger alone.

    Example:

        guardedvlm audit verify site/ledger
    """
    report = verify_ledger(_folder(folder))
    if as_json:
        out.print_json(json.dumps(_facts(report)))
    else:
        table = Table(show_header=False, box=None)
        for name, value in _facts(report).items():
            table.add_row(name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        out.print(table)
    if not report.chain_ok:
        raise typer.Exit(EVIDENCE)


@app.command()
def show(
    folder: Folder = None,
    request: Annotated[str | None, typer.Option("--request", help="Only the records of this audit id.")] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="First sequence number.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One record a line, as in the ledger.")] = False,
) -> None:
    """Show records. They hold kinds, counts and keyed digests; there is no content to hide.

    Example:

        guardedvlm audit show site/ledger --request 5f0c...
    """
    records = read_records(_folder(folder), start=start, request=request)
    if as_json:
        for record in records:
            typer.echo(record.encode().decode("ascii"))
        return
    table = Table("seq", "time", "request", "event", "facts")
    for record in records:
        facts = {key: value for key, value in json.loads(record.encode())["facts"].items() if key != "hidden"}
        told = " ".join(f"{key}={_short(value)}" for key, value in facts.items())
        table.add_row(str(record.sequence), record.time, (record.request or "")[:8], record.event.value, told)
    out.print(table, markup=False)


def _folder(folder: Path | None) -> Path:
    return folder or state_folder() / "ledger"


def _facts(report: LedgerReport) -> dict[str, object]:
    return {
        "chain": "holds" if report.chain_ok else f"broken: {report.flaw} at record {report.broken_at}, {report.place}",
        "records": report.records,
        "segments": report.segments,
        "first": report.first_time,
        "last": report.last_time,
        "head": report.head,
        "unfinished": list(report.unfinished) or "none",
        "torn_bytes": report.torn_bytes,
    }


def _short(value: object) -> str:
    """A fact on one line; digests by their first eight digits."""
    if isinstance(value, str) and len(value) >= 32:
        return value[:8]
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    return str(value)
