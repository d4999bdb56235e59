"""`guardedvlm audit tail | telemetry`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm import __version__
from guardedvlm.audit.otel import SHUTDOWN_SECONDS, TailProcess
from guardedvlm.audit.otlp import Collector, Console, Sink
from guardedvlm.audit.telemetry_table import telemetry_table
from guardedvlm.cli.audit.ledger import Folder, ledger_folder
from guardedvlm.cli.output import err


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
    drain: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds that it delivers on after SIGTERM.")
    ] = SHUTDOWN_SECONDS,
) -> None:
    """Deliver the ledger to a collector: spans, log records and metrics, from where the last delivery stopped.

    Every record arrives at least once, each log in order; docs/telemetry.md says what is told. It follows the ledger
    until SIGTERM or Ctrl-C, delivers then what is left (--drain), and waits for a collector that is away; with --once
    that is exit code 4. A service that delivers itself (`tail: {inside: true}`, the default) holds the cursors; a
    second tailer is refused.

    Example:

        guardedvlm audit tail site/ledger --otlp http://127.0.0.1:4317
    """
    ledger = ledger_folder(folder)
    sink: Sink = Collector(otlp, ca) if otlp is not None else Console(sys.stdout)
    process = TailProcess(ledger, state, sink, version=__version__)
    try:
        if once:
            err.print(f"{process.once()} records delivered")
        else:
            process.run(_stopped(), drain)
    finally:
        process.close()


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
