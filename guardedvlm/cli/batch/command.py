"""The commands: their arguments and options, and what is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.batch import store as folders
from guardedvlm.batch.catalog import Presence
from guardedvlm.batch.inputs import find_inputs
from guardedvlm.batch.manifest import Wanted, check_folder, read_manifest
from guardedvlm.batch.on_ray import require_ray
from guardedvlm.batch.run import Limits
from guardedvlm.batch.store import read_progress
from guardedvlm.batch.tables import read_catalog, require_arrow
from guardedvlm.cli import options
from guardedvlm.cli.batch.job import Job, Where
from guardedvlm.cli.batch.summary import print_summary
from guardedvlm.cli.batch.work import count_batch, run_batch
from guardedvlm.cli.settings import find_policy, local_settings
from guardedvlm.core.field_schema import MAX_CHARS, parse_fields
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason


def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders or glob patterns (quoted).", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the tables; the same one goes on.")],
    policy: options.PolicyName = "healthcare",
    question: Annotated[str, typer.Option("--question", "-q", help="What to ask about every document.")] = "",
    fields: Annotated[
        Path | None,
        typer.Option("--fields", help="JSON Schema of fields to read instead.", exists=True, dir_okay=False),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-j", min=1, max=64, help="Documents in work at a time, in each guard.")
    ] = 2,
    replicas: Annotated[int | None, typer.Option(min=1, help="Worker processes of each detector role.")] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Guards on Ray, before the inference service of --config.")
    ] = False,
    guards: Annotated[int, typer.Option(min=1, max=1000, help="With --ray: how many.")] = 1,
    receipts: Annotated[bool, typer.Option("--receipts", help="Keep each document's signed receipt.")] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Stop after more failures than this in one run.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again about what failed before.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what there is and would be done; write nothing.")
    ] = False,
    server: options.Server = None,
    token_file: options.TokenFile = None,
    ca: options.Authority = None,
    certificate: options.Certificate = None,
    key: options.CertificateKey = None,
    config: options.Config = None,
    ledger: options.LedgerFolder = None,
) -> None:
    """Ask one question about every document of an archive: a Parquet row a page, failures in a table of their own.

    Interrupted or killed, the same command goes on: what is done is not asked again, and a file that changed is
    another document. Tables name documents by keyed digests; which file is which says files.parquet, for you alone.

    Examples:

        guardedvlm batch scans/ --policy finance --question "What is the total?" --out answers

        guardedvlm batch 'archive/**/*.dcm' -p healthcare --fields study.json -o studies -j 4 --max-failures 100

        guardedvlm batch /mnt/archive -p finance -q "What is the total?" -o answers --ray --guards 8 -c site.yaml
    """
    require_arrow()
    wanted = Wanted(question, _schema(fields))
    _check_wishes(wanted, server, ray)
    settings = local_settings(config, ledger)
    if replicas is not None:
        settings = settings.model_copy(update={"replicas": replicas})
    job = Job(
        wanted,
        output.resolve(),
        concurrency,
        receipts,
        guards if ray else None,
        Limits(max_failures, retry_failed),
        Where(server, token_file, ca, certificate, key) if server else None,
        settings,
        None if server else find_policy(policy, settings),
        policy,
    )
    if job.ray is not None:
        require_ray(settings)
    check_folder(job.output)
    found = find_inputs(inputs, job.output)
    code = count_batch(found, job) if dry_run else run_batch(found, job)
    raise typer.Exit(code)


def batch_status(
    folder: Annotated[Path, typer.Argument(help="Folder of a batch.", exists=True, file_okay=False)],
    failed: Annotated[bool, typer.Option("--failed", help="Print every failed file's URI and its reason.")] = False,
) -> None:
    """Tell how far a batch is, also while it runs, or which files failed.

    Example:

        guardedvlm batch-status answers --failed
    """
    require_arrow()
    if read_manifest(folder / folders.MANIFEST) is None:
        raise ConfigurationError(Reason.INPUT_UNREADABLE, place=str(folder), explanation="there is no batch in it")
    catalog, progress = read_catalog(folder / folders.NAMES), read_progress(folder)
    if not failed:
        print_summary(catalog, progress, folder)
        return
    for file in catalog.files.values():
        if file.document in progress.failed and file.presence is not Presence.GONE:
            typer.echo(f"{progress.failed[file.document]['reason']}\t{file.uri}")


def _check_wishes(wanted: Wanted, server: str | None, ray: bool) -> None:
    if bool(wanted.question) == bool(wanted.schema):
        raise typer.BadParameter("give --question or --fields")
    if server and ray:
        raise typer.BadParameter("--ray brings its own guards; --server names one that runs")


def _schema(path: Path | None) -> str:
    """The schema's text, which is one. Raises InvalidInput."""
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(Reason.INPUT_UNREADABLE) from None
    parse_fields(text)
    return text
