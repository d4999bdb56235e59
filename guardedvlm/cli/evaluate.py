"""`guardedvlm eval`: does a policy hold, on pictures whose content is known?"""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from guardedvlm.cli import options
from guardedvlm.cli.files import write_file
from guardedvlm.cli.output import err, out
from guardedvlm.cli.settings import find_policy
from guardedvlm.core.region import Fit, Geometry
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evaluation.conditions import CONDITIONS
from guardedvlm.evaluation.faces import measure as measure_faces
from guardedvlm.evaluation.report import Report
from guardedvlm.evaluation.samples import samples
from guardedvlm.evaluation.text import Judge, by_ink, by_word
from guardedvlm.evaluation.text import measure as measure_text
from guardedvlm.policy.model import Policy

app = typer.Typer(
    help="Measure what a policy hides, on pictures whose content is known.\n\n"
    "A labelled folder has labels.jsonl, one picture a line: "
    '`{"file": "a.png", "labels": [{"box": [x0, y0, x1, y1], "kind": "PERSON", "name": "holder", "text": "Jane Roe"}], '
    '"conditions": {"light": "dark"}}` (pixels; kind null: about nobody; name, text and conditions may be left out; '
    '"page": 1 is the second). '
    "Folders of ICDAR 2019 SROIE (box/, img/, key/) and of dlib's imglab (boxes.xml) are taken, too.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="Labelled folder.", exists=True, file_okay=False)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for report.json and report.html.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Only so many pictures, the first ones; 0 = all.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=16, help="Pictures in work at the same time.")]
NEEDED = ("faker", "rapidfuzz")
"""What the extra `eval` brings."""


class Shape(StrEnum):
    """Geometry of the engine that is stood in for."""

    PAGE = "page"
    COGVLM2 = "cogvlm2"


SHAPES = {Shape.PAGE: Geometry(Fit.WITHIN, 2560, 2560), Shape.COGVLM2: Geometry(Fit.SQUASH, 1344, 1344)}


@app.command()
def text(
    folder: Folder,
    output: Out,
    policy: options.PolicyName = "finance",
    limit: Limit = 0,
    jobs: Jobs = 2,
    key: options.PolicyKey = None,
) -> None:
    """Redact labelled pictures and count words: personal ones should be hidden, others should stay.

    A word is hidden when half of its box is filled; where in a labelled line it stands is estimated.

    Example:

        guardedvlm eval text receipts/ --policy finance --out report/
    """
    _labelled("Words", "words", by_word, folder, output, find_policy(policy, key=key), limit, jobs)


@app.command()
def docs(
    folder: Folder,
    output: Out,
    policy: options.PolicyName = "healthcare",
    limit: Limit = 0,
    jobs: Jobs = 2,
    key: options.PolicyKey = None,
) -> None:
    """Redact labelled documents and count fields: of a personal one 95 % of the ink should be filled.

    Example:

        guardedvlm eval docs id-cards/ --policy healthcare --out report/
    """
    _labelled("Fields", "fields", by_ink, folder, output, find_policy(policy, key=key), limit, jobs)


@app.command()
def faces(
    folder: Folder,
    output: Out,
    policy: options.PolicyName = "healthcare",
    conditions: Annotated[
        str, typer.Option("--conditions", help='Regular expression of the conditions to try ("upright", "dark", ...).')
    ] = "",
    jobs: Jobs = 2,
    key: options.PolicyKey = None,
) -> None:
    """Redact photographs with labelled faces, turned, small, dark and blurred, too: 90 % of each face should be filled.

    Example:

        guardedvlm eval faces photos/ --out report/
    """
    try:
        chosen = [name for name in CONDITIONS if re.search(conditions, name)]
    except re.error:
        chosen = []
    if not chosen:
        explanation = f"no such condition; there are {', '.join(CONDITIONS)}"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="--conditions", explanation=explanation)
    found, rules = samples(folder), find_policy(policy, key=key)
    work = partial(measure_faces, found, rules, chosen, jobs, _command())
    _run("looking for faces", len(chosen), output, work)


@app.command()
def leak(
    output: Out,
    policy: options.PolicyName = "healthcare",
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Pictures to draw.")] = 250,
    canaries: Annotated[int, typer.Option("--canaries", min=1, max=60, help="Made-up strings on each.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="First picture; the same seed draws the same.")] = 0,
    geometry: Annotated[
        Shape, typer.Option("--geometry", help="What the model takes: the page, or 1344 x 1344.")
    ] = Shape.PAGE,
    jobs: Jobs = 2,
    key: options.PolicyKey = None,
) -> None:
    """Draw made-up personal data on made-up pictures, and search for it after the guard.

    Every picture goes the whole way; the model is an OCR that says all that it reads. A canary that is legible by
    construction leaks when a reader reads it on the cleared pixels, or when less than 95 % of its ink is covered.
    Answers, telemetry, logs, the ledger and files are searched, too.

    Example:

        guardedvlm eval leak --policy healthcare --out report/
    """
    _require_extra()
    # Only now: it needs the extra.
    from guardedvlm.evaluation.leak.measure import Plan, measure

    plan = Plan(find_policy(policy, key=key), SHAPES[geometry], pictures, canaries, seed, jobs, _command())
    _run("looking for canaries", pictures, output, partial(measure, plan))


def _labelled(
    title: str, unit: str, judge: Judge, folder: Path, output: Path, rules: Policy, limit: int, jobs: int
) -> None:
    found = samples(folder)[: limit or None]
    _run("redacting", len(found), output, partial(measure_text, title, unit, judge, found, rules, jobs, _command()))


def _run(doing: str, total: int, output: Path, work: Callable[[Callable[[], None]], Awaitable[Report]]) -> None:
    """Measure with a progress bar, write the report, print its shares."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(output)) from None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as bar:
        task = bar.add_task(doing, total=total)

        async def measured() -> Report:
            return await work(lambda: bar.advance(task))

        report = asyncio.run(measured())
    write_file(output / "report.json", report.to_json().encode())
    write_file(output / "report.html", report.to_html().encode())
    _print(report, output)


def _print(report: Report, output: Path) -> None:
    for group, rows in report.shares.items():
        table = Table("", "share", "95 %", "hits", "n", title=group, title_justify="left", box=None)
        for name, share in rows.items():
            table.add_row(
                name, f"{share.value:.4f}", f"{share.low:.4f} to {share.high:.4f}", str(share.hits), str(share.n)
            )
        out.print(table)
    out.print(f"{report.pictures} pictures, {report.refusals.total()} refused {dict(report.refusals) or ''}")
    for note in report.notes:
        out.print(note)
    out.print(f"written to {output / 'report.html'}")


def _require_extra() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        explanation = f"{', '.join(missing)} not installed: pip install 'guardedvlm[eval]'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, explanation=explanation)


def _command() -> str:
    return shlex.join(["guardedvlm", *sys.argv[1:]])
