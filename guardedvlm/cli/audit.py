"""`guardedvlm audit verify | show | export | prove | verify-proof | prune`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.app import evidence_signer, make_checkpointer, replica
from guardedvlm.audit.checkpoint import read_checkpoints
from guardedvlm.audit.completeness import Completeness, LedgerVerdict, LogVerdict, verify_logs
from guardedvlm.audit.export import Format
from guardedvlm.audit.export import export as write_table
from guardedvlm.audit.keys import load_public
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.proof import InclusionProof, ProofFailed, Proven, check_proof
from guardedvlm.audit.proof import prove as make_proof
from guardedvlm.audit.prune import plan_removals
from guardedvlm.audit.prune import remove as remove_records
from guardedvlm.audit.record import Record
from guardedvlm.audit.verify import read_ledger, read_records
from guardedvlm.cli.local import local_settings, state_folder
from guardedvlm.cli.output import EVIDENCE, err, out
from guardedvlm.errors import ConfigurationError, Reason

app = typer.Typer(help="Check and read the audit ledger.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of the ledger (default: that of local use).", exists=True, file_okay=False)
]
Request = Annotated[str | None, typer.Option("--request", help="Only the records of this audit id.")]
Log = Annotated[str | None, typer.Option("--log", help="Only this log: service, years-6, ...")]
Keys = Annotated[
    Path, typer.Option("--keys", help="Public keys (guardedvlm keys export-public).", exists=True, dir_okay=False)
]
Checkpoints = Annotated[
    Path | None,
    typer.Option("--checkpoints", help="Checkpoints that were kept elsewhere.", exists=True, dir_okay=False),
]


@app.command()
def verify(
    folder: Folder = None,
    checkpoints: Checkpoints = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="Public keys (guardedvlm keys export-public).", exists=True, dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every record, chain and tree of every log; exit code 5 when something does not hold.

    Integrity is what the records say of one another. Completeness is whether all are there: that the end was cut off or
    a log replaced can only be seen with checkpoints from elsewhere and the keys that signed them. Requests without an
    end are listed apart: they run, or ran when the process died. Works while the service writes.

    Example:

        guardedvlm audit verify site/ledger --checkpoints /mnt/elsewhere/checkpoints --keys evidence-keys.json
    """
    if checkpoints is not None and keys is None:
        raise typer.BadParameter("--checkpoints needs --keys: anybody can write one that nobody signed")
    given = read_checkpoints(checkpoints) if checkpoints is not None else None
    verdict = verify_logs(_folder(folder), given, load_public(keys) if keys is not None else None)
    told = _told(verdict)
    if as_json:
        out.print_json(json.dumps(told))
    else:
        _print_verdict(told)
    if not verdict.is_good:
        raise typer.Exit(EVIDENCE)


@app.command()
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


@app.command()
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
    rows = ((one.name, record) for one in _logs(_folder(folder), log) for record in read_records(one, request=request))
    out.print(f"{write_table(rows, target, form)} records in {target}", markup=False)


@app.command()
def prove(
    request: Annotated[str, typer.Argument(help="Audit id of a request.", metavar="ID")],
    folder: Folder = None,
    target: Annotated[Path | None, typer.Option("--out", help="File (default: ID.proof.json).", dir_okay=False)] = None,
) -> None:
    """Write a proof that the records of a request are in the ledger, under a signed checkpoint.

    Example:

        guardedvlm audit prove 5f0c... site/ledger
    """
    proof = make_proof(_folder(folder), request)
    path = target or Path(f"{request}.proof.json")
    try:
        path.write_bytes(proof.encode())
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.name) from None
    out.print(f"{len(proof.records)} records proven in {path}", markup=False)


@app.command("verify-proof")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="What `audit prove` wrote.", exists=True, dir_okay=False)],
    keys: Keys,
    checkpoints: Checkpoints = None,
) -> None:
    """Check a proof without the ledger; exit code 5 when it does not hold.

    With --checkpoints the proof's own checkpoint must stand in that file too: what others were told.

    Example:

        guardedvlm audit verify-proof 5f0c....proof.json --keys evidence-keys.json
    """
    try:
        proven = check_proof(InclusionProof.decode(proof.read_bytes()), load_public(keys))
        if checkpoints is not None:
            others = {signed.checkpoint for signed in read_checkpoints(checkpoints).found}
            if proven.checkpoint not in others:
                raise ProofFailed("its checkpoint is not in that file")
    except ProofFailed as failed:
        err.print(f"[bold red]does not hold[/]: {failed}")
        raise typer.Exit(EVIDENCE) from None
    _print_proven(proven)


@app.command()
def prune(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file (YAML).", exists=True, dir_okay=False)
    ] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="Folder of the ledger.", file_okay=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove whole segments whose records are older than the policies asked for when they were written.

    The removal is recorded, and what is left verifies: with the roots of what is gone. A segment that does not verify
    stays. Works while the service writes.

    Example:

        guardedvlm audit prune --config site/guardedvlm.yaml --dry-run
    """
    settings = local_settings(config, ledger)
    now = datetime.now(UTC)
    plan = plan_removals(settings.ledger, now)
    for removal in plan:
        out.print(
            f"{removal.folder.name}: {removal.records} records in {len(removal.segments)} segments, "
            f"the newest of {removal.until}"
        )
    if not plan:
        out.print("nothing is old enough")
    if dry_run or not plan:
        return
    if not yes:
        typer.confirm("remove them?", abort=True)
    with ExitStack() as parts:
        checkpointer = make_checkpointer(settings, evidence_signer(settings, parts))
        done = remove_records(settings.ledger, now, replica(settings), checkpointer)
    out.print(f"removed {sum(removal.records for removal in done)} records")


def _folder(folder: Path | None) -> Path:
    return folder or state_folder() / "ledger"


def _logs(ledger: Path, name: str | None) -> list[Path]:
    """All logs, or the one of that name. Raises ConfigurationError(INPUT_UNREADABLE)."""
    found = [log for log in list_logs(ledger) if name in (None, log.name)]
    if name is not None and not found:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=name, explanation="the ledger has no such log")
    return found


def _records(folder: Path | None, request: str | None, log: str | None) -> Iterator[Record]:
    if log is None:
        return read_ledger(_folder(folder), request=request)
    return read_records(_logs(_folder(folder), log)[0], request=request)


def _told(verdict: LedgerVerdict) -> dict[str, object]:
    return {
        "integrity": "holds" if verdict.chain_ok else "broken",
        "completeness": _completeness(verdict),
        "logs": [_log(log) for log in verdict.logs],
        "damaged_checkpoints": verdict.damaged,
    }


def _completeness(verdict: LedgerVerdict) -> str:
    if not verdict.complete:
        return "broken"
    shown = {log.completeness for log in verdict.logs}
    return "shown by checkpoints" if shown == {Completeness.SHOWN} else "not shown: no checkpoints from elsewhere"


def _log(log: LogVerdict) -> dict[str, object]:
    report = log.report
    told: dict[str, object] = {"log": log.name, "completeness": log.completeness.value}
    if report is None:
        return told
    broken = f"broken: {report.flaw} at record {report.broken_at}, {report.place}"
    return told | {
        "covered_by_checkpoints": log.covered,
        "checkpoints": log.checkpoints,
        "unchecked_checkpoints": log.unchecked,
        "chain": "holds" if report.chain_ok else broken,
        "records": report.records,
        "pruned": report.pruned,
        "segments": report.segments,
        "first": report.first_time,
        "last": report.last_time,
        "head": report.head,
        "root": report.root.hex(),
        "unfinished": list(report.unfinished) or "none",
        "torn_bytes": report.torn_bytes,
    }


def _print_verdict(told: dict[str, object]) -> None:
    logs = told.pop("logs")
    assert isinstance(logs, list)
    for facts in (*logs, told):
        table = Table(show_header=False, box=None)
        for name, value in facts.items():
            table.add_row(name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        out.print(table, markup=False)


def _print_proven(proven: Proven) -> None:
    checkpoint = proven.checkpoint
    out.print(f"holds: request {proven.records[0].request} in {checkpoint.origin}", markup=False)
    out.print(f"tree of {checkpoint.size} records, root {checkpoint.root.hex()}, signed by key {proven.key.id}")
    for record in proven.records:
        out.print(f"  {record.sequence}  {record.time}  {record.event}")


def _short(value: object) -> str:
    """A fact on one line; digests by their first eight digits."""
    if isinstance(value, str) and len(value) >= 32:
        return value[:8]
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    return str(value)
