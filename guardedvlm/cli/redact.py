"""`guardedvlm redact PATH...`: redacted, verified documents and what was hidden in them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from guardedvlm.app import Guard, running_guard
from guardedvlm.audit.facts import Method
from guardedvlm.cli import options
from guardedvlm.cli.files import receipted, write_file
from guardedvlm.cli.local import local_request, read_document
from guardedvlm.cli.output import complain, counted, err, exit_code, out
from guardedvlm.cli.progress import page_line
from guardedvlm.cli.settings import find_policy, local_settings
from guardedvlm.config import Settings
from guardedvlm.errors import ConfigurationError, GuardedVLMError, Reason
from guardedvlm.guard.image import Format
from guardedvlm.guard.outcome import PageOutcome, Redaction, Watcher
from guardedvlm.policy.model import Policy

ENDINGS = {Format.PNG: ".png", Format.DICOM: ".dcm", Format.PDF: ".pdf", Format.TIFF: ".tiff"}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".dcm", ".dicom", ".pdf"})
"""What is taken from a folder; a file that is named is taken whatever its name."""


@dataclass(frozen=True, slots=True)
class Job:
    """A document and the stem of its two output files."""

    path: Path
    stem: str


def redact(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, PDF or DICOM files, or folders of them.", exists=True)],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made when it is not there.")],
    policy: options.PolicyName = "healthcare",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Documents in work at the same time.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Also write NAME.receipt.json, signed: see `guardedvlm receipt verify`.")
    ] = False,
    seal_for: options.SealFor = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Redact documents: NAME.redacted.png and NAME.findings.json for each, or nothing where the guard refuses.

    A PDF becomes NAME.redacted.pdf, pictures of its pages without text layer, metadata or attachments; what else has
    several pages NAME.redacted.tiff. A DICOM file becomes NAME.redacted.dcm: a new file after the Basic Profile, with
    nothing of the old header that tells who it is. One page that the guard refuses refuses its document.

    With --reidentify-key, findings.json brings what the labels stand for, sealed: see `guardedvlm reidentify`.

    Examples:

        guardedvlm redact scans/ --policy healthcare --out redacted/

        guardedvlm redact cheque.png statement.pdf -p finance -o out/
    """
    settings = local_settings(config, ledger)
    found = find_policy(policy, settings)
    work = list(_jobs(paths))
    _prepare(output, work, overwrite)
    failures = asyncio.run(_redact_all(work, found, output, jobs, settings, seal_for, receipts))
    if failures:
        raise typer.Exit(max(exit_code(error) for error in failures))


async def _redact_all(
    work: Sequence[Job],
    policy: Policy,
    output: Path,
    jobs: int,
    settings: Settings,
    seal_for: Path | None,
    receipts: bool,
) -> list[GuardedVLMError]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )
    totals: Counter[str] = Counter()
    failures: list[GuardedVLMError] = []
    gate = asyncio.Semaphore(jobs)
    with bar:
        task = bar.add_task("loading the detectors", total=len(work))
        async with running_guard(settings) as guard:
            bar.update(task, description="redacting")

            async def one(job: Job) -> None:
                async with gate:
                    try:
                        with page_line(bar, job.path.name) as watcher:
                            to = output / f"{job.stem}.receipt.json" if receipts else None
                            redaction = await _redact(guard, job, policy, seal_for, watcher, to)
                        _write(output, job, redaction)
                        totals.update(redaction.counts())
                    except GuardedVLMError as error:
                        failures.append(error)
                        complain(error, str(job.path))
                    bar.advance(task)

            await asyncio.gather(*(one(job) for job in work))
    _summary(len(work) - len(failures), len(failures), totals, output)
    return failures


async def _redact(
    guard: Guard, job: Job, policy: Policy, seal_for: Path | None, watcher: Watcher, to: Path | None
) -> Redaction:
    raw = read_document(job.path, policy)
    async with receipted(guard, raw, to) as receipt:
        request = local_request(
            raw, policy, Method.REDACT_IMAGE, want_image=True, seal_for=seal_for, watcher=watcher, closed=receipt.note
        )
        redaction = await guard.pipeline.redact(request)
        receipt.redacted = redaction.file.content if redaction.file else b""
    return redaction


def _write(output: Path, job: Job, redaction: Redaction) -> None:
    file = redaction.file
    if file is not None:
        write_file(output / f"{job.stem}.redacted{ENDINGS[file.format]}", file.content)
    write_file(output / f"{job.stem}.findings.json", (json.dumps(findings(redaction), indent=1) + "\n").encode())


def findings(redaction: Redaction) -> dict[str, Any]:
    """What findings.json holds: boxes in pixels of the source, times in milliseconds; no text but a sealed one."""
    sealed = redaction.sealed
    told = {"key_id": sealed.key_id, "sealed": base64.b64encode(sealed.box).decode("ascii")} if sealed else None
    return {
        "pages": [_page(page) for page in redaction.pages],
        "policy_digest": redaction.policy_digest,
        "audit_id": redaction.audit_id,
        "timings_ms": dict(redaction.times),
        **({"reidentification": told} if told else {}),
    }


def _page(page: PageOutcome) -> dict[str, Any]:
    return {
        "width": page.size.width,
        "height": page.size.height,
        "regions": [
            {
                "kind": region.kind,
                "box": [region.box.x0, region.box.y0, region.box.x1, region.box.y1],
                "score": round(region.score, 4),
                "detector": region.detector,
                "action": region.action,
            }
            for region in page.regions
        ],
        "verify": {
            "verdict": "cleared",
            "passes": page.passes,
            "residuals": dict(page.residuals),
            "width": page.verified.width,
            "height": page.verified.height,
        },
    }


def _jobs(paths: Sequence[Path]) -> Iterator[Job]:
    """Every document once; two of one stem keep their suffix in the output's name."""
    files: dict[Path, None] = {}
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
    if not files:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="there is no picture in what was named")
    stems = Counter(path.stem for path in files)
    names = Counter(path.name for path in files)
    for number, path in enumerate(files):
        stem = path.stem if stems[path.stem] == 1 else path.name if names[path.name] == 1 else f"{path.name}.{number}"
        yield Job(path, stem)


def _prepare(output: Path, work: Sequence[Job], overwrite: bool) -> None:
    """Make the folder and see that results can be written, before minutes are spent."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output)) from None
    if not os.access(output, os.W_OK | os.X_OK):
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output))
    results = (output / f"{job.stem}.redacted{ending}" for job in work for ending in ENDINGS.values())
    taken = sum(result.exists() for result in results)
    if taken and not overwrite:
        explanation = f"{taken} of the results are there already; give --overwrite to replace them"
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output), explanation=explanation)


def _summary(done: int, refused: int, totals: Counter[str], output: Path) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("redacted and verified", str(done))
    table.add_row("refused", str(refused))
    table.add_row("hidden", counted(totals))
    table.add_row("written to", str(output))
    out.print(table)
