"""`guardedvlm audit verify | prove | verify-proof`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guardedvlm.audit.checkpoint import read_checkpoints
from guardedvlm.audit.completeness import Completeness, LedgerVerdict, LogVerdict, verify_logs
from guardedvlm.audit.keys import load_public
from guardedvlm.audit.proof import InclusionProof, ProofFailed, Proven, check_proof
from guardedvlm.audit.proof import prove as make_proof
from guardedvlm.cli.audit.ledger import Checkpoints, Folder, PublicKeyFile, given_checkpoints, ledger_folder
from guardedvlm.cli.output import EVIDENCE, err, out
from guardedvlm.errors import ConfigurationError, Reason

Keys = Annotated[
    Path, typer.Option("--keys", help="Public keys (guardedvlm keys export-public).", exists=True, dir_okay=False)
]


def verify(
    folder: Folder = None,
    checkpoints: Checkpoints = None,
    keys: PublicKeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every record, chain and tree of every log; exit code 5 when something does not hold.

    Integrity is what the records say of one another. Completeness is whether all are there: that the end was cut off or
    a log replaced can only be seen with checkpoints from elsewhere and the keys that signed them. Requests without an
    end are listed apart: they run, or ran when the process died. Works while the service writes.

    Example:

        guardedvlm audit verify site/ledger --checkpoints /mnt/elsewhere/checkpoints --keys evidence-keys.json
    """
    verdict = verify_logs(ledger_folder(folder), *given_checkpoints(checkpoints, keys))
    told = _told(verdict)
    if as_json:
        out.print_json(json.dumps(told))
    else:
        _print_verdict(told)
    if not verdict.is_good:
        raise typer.Exit(EVIDENCE)


def prove(
    request: Annotated[str, typer.Argument(help="Audit id of a request.", metavar="ID")],
    folder: Folder = None,
    target: Annotated[Path | None, typer.Option("--out", help="File (default: ID.proof.json).", dir_okay=False)] = None,
) -> None:
    """Write a proof that the records of a request are in the ledger, under a signed checkpoint.

    Example:

        guardedvlm audit prove 5f0c... site/ledger
    """
    proof = make_proof(ledger_folder(folder), request)
    path = target or Path(f"{request}.proof.json")
    try:
        path.write_bytes(proof.encode())
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=path.name) from None
    out.print(f"{len(proof.records)} records proven in {path}", markup=False)


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


def _told(verdict: LedgerVerdict) -> dict[str, object]:
    return {
        "integrity": "holds" if verdict.chain_ok else "broken",
        "completeness": _completeness(verdict),
        "logs": [_log(log) for log in verdict.logs],
        "damaged_checkpoints": verdict.damaged,
        "of_other_ledgers": list(verdict.others) or "none",
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
