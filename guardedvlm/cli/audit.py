"""`guardedvlm audit verify | show | tail`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm import __version__
from guardedvlm.audit.otel import TailProcess
from guardedvlm.audit.otlp import Collector, Console, Sink
from guardedvlm.audit.telemetry_table import telemetry_table
from guardedvlm.audit.verify import LedgerReport, read_records, verify_ledger
from guardedvlm.cli.local import state_folder
from guardedvlm.cli.output import EVIDENCE, err, out

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


@app.command()
def tail(
    folder: Folder = None,
    otlp: Annotated[
        str | None, typer.Option("--otlp", help="Collector, http(s)://HOST:PORT (gRPC); without it JSON, one a line.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="CA of an https collector (PEM).", dir_okay=False)] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the cursors (default: `tail` in the ledger's folder).")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Deliver what is there, and end.")] = False,
) -> None:
    """Deliver the ledger to a collector: spans, log records and metrics, from where the last delivery stopped.

    Every record arrives at least once, each log in order; docs/telemetry.md says what is told. It follows the ledger
    until SIGTERM or Ctrl-C, and waits for a collector that is away; with --once that is exit code 4. A service that
    delivers itself (`tail: {inside: true}`, the default) holds the cursors; a second tailer is refused.

    Example:

        guardedvlm audit tail site/ledger --otlp http://127.0.0.1:4317
    """
    ledger = _folder(folder)
    sink: Sink = Collector(otlp, ca) if otlp is not None else Console(sys.stdout)
    process = TailProcess(ledger, state, sink, version=__version__)
    try:
        if once:
            err.print(f"{process.once()} records delivered")
        else:
            process.run(_stopped())
    finally:
        process.close()


@app.command("telemetry")
def telemetry() -> None:
    """Print the table of all that telemetry tells, as docs/telemetry.md holds it.

    Example:

        guardedvlm audit telemetry > docs/telemetry.md
    """
    typer.echo(telemetry_table())


def _stopped() -> threading.Event:
    """Set by SIGTERM and Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


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
