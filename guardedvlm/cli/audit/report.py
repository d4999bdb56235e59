"""`guardedvlm audit report`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.audit.digest import Purpose, load_or_create_key
from guardedvlm.audit.report.collect import collect
from guardedvlm.audit.report.count import Period
from guardedvlm.audit.report.document import Report
from guardedvlm.audit.report.measured import read_measured
from guardedvlm.audit.report.write import write_report
from guardedvlm.cli import options
from guardedvlm.cli.audit.ledger import Checkpoints, PublicKeyFile, given_checkpoints
from guardedvlm.cli.files import write_file
from guardedvlm.cli.output import EVIDENCE, out
from guardedvlm.cli.settings import local_settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evidence import AUDIT_KEY

NEEDED = {".html": ("jinja2",), ".pdf": ("reportlab",)}
"""What the extra `report` brings, by the file that it draws."""
PSEUDONYM = re.compile(r"[0-9a-f]{32}\Z")


def report(
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC).")],
    until: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day (UTC), included.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="report.html or report.pdf.", dir_okay=False)],
    tenant: Annotated[
        str, typer.Option("--tenant", help="A tenant's name, or its pseudonym (32 hex digits); without: all tenants.")
    ] = "",
    evaluation: Annotated[
        list[Path] | None,
        typer.Option("--evaluation", help="report.json of `guardedvlm eval`; repeat.", exists=True, dir_okay=False),
    ] = None,
    checkpoints: Checkpoints = None,
    keys: PublicKeyFile = None,
    ledger: options.LedgerFolder = None,
    config: options.Config = None,
) -> None:
    """Write the evidence pack of a tenant and a period, as one HTML file or PDF; exit code 5 when a log does not hold.

    It verifies the ledger as `audit verify` does; that it is complete is shown only with --checkpoints and --keys.
    A tenant's name becomes a pseudonym by the key in the settings' folder of keys; without that key give the pseudonym.
    A tenant that no verified record names is an error: a mistyped name would give a pack without a fault.

    Example:

        guardedvlm audit report --config site/guardedvlm.yaml --tenant clinic --from 2026-10-01 --to 2026-10-31 \\
            --evaluation eval/report.json --out report.pdf
    """
    suffix = output.suffix.lower()
    if suffix not in NEEDED:
        raise typer.BadParameter("the file's name ends in .html or .pdf", param_hint="--out")
    if until < since:
        raise typer.BadParameter("the period has no day", param_hint="--to")
    _check_installed(suffix)
    settings = local_settings(config, ledger)
    measured = tuple(read_measured(path) for path in evaluation or ())
    pseudonym = _pseudonym(tenant, settings.keys / AUDIT_KEY) if tenant else ""
    given, public = given_checkpoints(checkpoints, keys)
    period = Period(since.date(), until.date())
    evidence = collect(settings.ledger, period, pseudonym, measured, given=given, keys=public)
    if not evidence.names_tenant:
        raise ConfigurationError(
            Reason.SETTINGS_INVALID, place="--tenant", explanation="the ledger names no such tenant"
        )
    told = write_report(evidence, tenant, datetime.now(UTC))
    write_file(output, _drawn(told, suffix))
    out.print(f"wrote {output}. {told.verdict}", markup=False)
    if not evidence.is_whole:
        raise typer.Exit(EVIDENCE)


def _check_installed(suffix: str) -> None:
    """Raise ConfigurationError(SETTINGS_INVALID) where the extra is not there."""
    if missing := [name for name in NEEDED[suffix] if find_spec(name) is None]:
        explanation = f"{', '.join(missing)} is not installed: pip install 'guardedvlm[report]'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="report", explanation=explanation)


def _drawn(told: Report, suffix: str) -> bytes:
    if suffix == ".pdf":
        from guardedvlm.audit.report.pdf import report_pdf

        return report_pdf(told)
    from guardedvlm.audit.report.html import report_html

    return report_html(told).encode()


def _pseudonym(tenant: str, key: Path) -> str:
    """What the ledger calls a tenant. Raises ConfigurationError(SETTINGS_INVALID) without the key."""
    if PSEUDONYM.match(tenant):
        return tenant
    if not key.is_file():
        explanation = "the key that names tenants is not there; give the tenant's pseudonym (32 hex digits)"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="--tenant", explanation=explanation)
    return load_or_create_key(key).pseudonym(Purpose.TENANT, tenant)
