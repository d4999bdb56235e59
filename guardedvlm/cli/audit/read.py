"""`guardedvlm audit show | export`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.audit.export import Format
from guardedvlm.audit.export import export as write_table
from guardedvlm.audit.record import Record
from guardedvlm.audit.verify import read_ledger, read_records
from guardedvlm.cli.audit.ledger import Folder, Log, Request, chosen_logs, ledger_folder
from guardedvlm.cli.output import out


def show(
    folder: Folder = None,
    request: Request = None,
    log: Log = None,
    start: Annotated[int, typer.Option("--from", min=0, help="First sequence number.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One record a line, as in the ledger.")] = False,
) -> None:
    """Show records, of all logs by time. They hold kinds, counts and keyed digests; there is no content to hide.

    Example:

        guardedvlm audit show site/ledger --request 5f0c...
    """
    records = (one for one in _records(folder, request, log) if one.sequence >= start)
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


def export(
    target: Annotated[Path, typer.Option("--out", help="File that is written.", dir_okay=False)],
    folder: Folder = None,
    form: Annotated[Format, typer.Option("--format", help="parquet needs pyarrow.")] = Format.JSONL,
    request: Request = None,
    log: Log = None,
) -> None:
    """Write records as a table: one row a record, one column a fact; jsonl has the ledger's own lines.

    Example:

        guardedvlm audit export site/ledger --format parquet --out records.parquet
    """
    rows = (
        (one.name, record)
        for one in chosen_logs(ledger_folder(folder), log)
        for record in read_records(one, request=request)
    )
    out.print(f"{write_table(rows, target, form)} records in {target}", markup=False)


def _records(folder: Path | None, request: str | None, log: str | None) -> Iterator[Record]:
    if log is None:
        return read_ledger(ledger_folder(folder), request=request)
    return read_records(chosen_logs(ledger_folder(folder), log)[0], request=request)


def _short(value: object) -> str:
    """A fact on one line; digests by their first eight digits."""
    if isinstance(value, str) and len(value) >= 32:
        return value[:8]
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    return str(value)
