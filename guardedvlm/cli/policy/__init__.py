"""`guardedvlm policy ...`: policies as tested software."""

from __future__ import annotations

import typer

from guardedvlm.cli.policy import cases, change, past, shadow, show, signing

app = typer.Typer(help="Show, check, test, compare and sign policies.", no_args_is_help=True)
app.command("show")(show.show)
app.command("check")(show.check)
app.command("schema")(show.schema)
app.command("coverage")(show.coverage)
app.command("test")(cases.run)
app.command("lint")(cases.lint)
app.command("diff")(change.diff)
app.command("keygen")(signing.keygen)
app.command("sign")(signing.sign_policies)
app.command("verify")(signing.verify)
app.command("replay")(past.replay)
app.command("shadow-report")(shadow.shadow_report)
