"""`guardedvlm audit ...`: check the ledger, read it, prove from it, deliver it, report on it."""

from __future__ import annotations

import typer

from guardedvlm.cli.audit import check, deliver, keep, read, report

app = typer.Typer(help="Check and read the audit ledger.", no_args_is_help=True)
app.command("verify")(check.verify)
app.command("show")(read.show)
app.command("export")(read.export)
app.command("prove")(check.prove)
app.command("verify-proof")(check.verify_proof)
app.command("prune")(keep.prune)
app.command("tail")(deliver.tail)
app.command("telemetry")(deliver.telemetry)
app.command("report")(report.report)
