"""`guardedvlm batch INPUT...` and `guardedvlm batch-status DIR`: what they print has no file name, unless asked to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from guardedvlm.app import running_guard
from guardedvlm.batch import store as folders
from guardedvlm.batch.asking import GuardHere, Reading, Service, Task
from guardedvlm.batch.catalog import Catalog, Presence, survey
from guardedvlm.batch.inputs import Inputs, find_inputs
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.manifest import Manifest, Wanted, check_folder, keep_manifest, read_manifest
from guardedvlm.batch.on_ray import OnRay, require_ray
from guardedvlm.batch.order import Order
from guardedvlm.batch.rows import Failed, Outcome
from guardedvlm.batch.run import Here, Limits, Source, pending, run
from guardedvlm.batch.store import Store, open_store, read_progress
from guardedvlm.batch.tables import read_catalog, require_arrow, write_catalog
from guardedvlm.cli import options
from guardedvlm.cli.local import connected, find_policy, local_caller, local_settings, policy_file
from guardedvlm.cli.output import err, exit_code_of, out
from guardedvlm.client import Client
from guardedvlm.config import Settings
from guardedvlm.core.field_schema import MAX_CHARS, parse_fields
from guardedvlm.core.tenant import Role
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason
from guardedvlm.evidence import evidence_signer
from guardedvlm.policy.model import Policy

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it: 128 and the number of SIGINT."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy of a batch, as far as it must be known here."""

    name: str
    digest: str
    max_bytes: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Where:
    """A running service, where one was named."""

    server: str
    token_file: Path | None
    ca: Path | None
    certificate: Path | None
    key: Path | None

    def connected(self, **timeout: float) -> Client:
        """A client of it."""
        return connected(self.server, self.token_file, self.ca, self.certificate, self.key, **timeout)


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line says."""

    wanted: Wanted
    output: Path
    concurrency: int
    receipts: bool
    ray: int | None  # guards on Ray
    limits: Limits
    where: Where | None
    settings: Settings
    policy: Policy | None  # None: the service's
    policy_place: str


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
    code = _count(found, job) if dry_run else _run(found, job)
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
        _summary(catalog, progress, folder)
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


def _count(found: Inputs, job: Job) -> int:
    """What a run would find and do; nothing is written."""
    place = job.output / folders.STATE / folders.KEY
    key = BatchKey.load(place) if place.exists() else BatchKey.fresh()
    catalog = _surveyed(found, read_catalog(job.output / folders.NAMES), key)
    progress = read_progress(job.output)
    tasks, _ = pending(catalog, progress, job.limits)
    _summary(catalog, progress, job.output, ("would be asked about", len(tasks)), found.others)
    return 0


def _run(found: Inputs, job: Job) -> int:
    """Do it; the exit code tells what the tables hold in the end."""
    terms = _terms(job)
    with open_store(job.output) as store:
        key = BatchKey.load_or_create(job.output / folders.STATE / folders.KEY)
        keep_manifest(job.output / folders.MANIFEST, Manifest.of(job.wanted, terms.name, terms.digest, key))
        catalog = _surveyed(found, read_catalog(job.output / folders.NAMES), key)
        write_catalog(job.output / folders.NAMES, catalog)
        tasks, lost = pending(catalog, store.progress, job.limits)
        for task, failed in lost.items():
            store.end(task.document, failed)
        try:
            is_interrupted = bool(tasks) and asyncio.run(_asked(tasks, job, terms, store, key))
        finally:
            _summary(catalog, store.progress, job.output, None, found.others)
        return INTERRUPTED if is_interrupted else _code(catalog, store)


def _code(catalog: Catalog, store: Store) -> int:
    rows = [store.progress.failed[name] for name in catalog.documents() if name in store.progress.failed]
    return max((exit_code_of(Reason(row["reason"]), row["code"]) for row in rows), default=0)


def _terms(job: Job) -> Terms:
    """Raises what the service raises."""
    if job.where is None:
        assert job.policy is not None
        limits = job.policy.limits
        return Terms(job.policy.name, job.policy.digest(), limits.max_bytes, limits.max_seconds)
    with job.where.connected() as client:
        told = client.policy()
    limits = json.loads(told.policy_json)["limits"]
    return Terms(told.name, told.digest, limits["max_bytes"], limits["max_seconds"])


def _surveyed(found: Inputs, known: Catalog, key: BatchKey) -> Catalog:
    total = len(found.files) + len(found.unreadable)
    with _bar() as bar:
        line = bar.add_task("looking", total=total)
        return survey(found, known, key, lambda: bar.advance(line))


async def _asked(tasks: Sequence[Task], job: Job, terms: Terms, store: Store, key: BatchKey) -> bool:
    """Whether it was interrupted. Raises what stops the batch."""
    stop = asyncio.Event()
    with _interruptible(stop) as interrupted, _bar() as bar:
        line = bar.add_task("starting", total=len(tasks))
        failed = 0

        def told(_: Task, outcome: Outcome) -> None:
            nonlocal failed
            failed += isinstance(outcome, Failed)
            bar.update(line, advance=1, description=f"asking, {failed} failed" if failed else "asking")

        async with AsyncExitStack() as parts:
            source = await _source(job, terms, store, key, parts)
            bar.update(line, description="asking")
            with contextlib.suppress(asyncio.CancelledError):
                await run(tasks, source, store, job.limits, stop, told)
    return interrupted.is_set()


async def _source(job: Job, terms: Terms, store: Store, key: BatchKey, parts: AsyncExitStack) -> Source:
    reading = Reading(key, terms.max_bytes)
    if job.where is not None:
        client = parts.enter_context(job.where.connected(timeout=terms.max_seconds))
        asker = Service(client, job.wanted, job.receipts, job.concurrency)
        return Here(asker, reading, job.concurrency, store)
    assert job.policy is not None
    if job.ray is not None:
        return OnRay(_order(job, job.policy), key, job.ray)
    guard = await parts.enter_async_context(running_guard(job.settings))
    here = GuardHere(guard, job.policy, job.wanted, local_caller(Role.CALLER), job.receipts)
    return Here(here, reading, job.concurrency, store)


def _order(job: Job, policy: Policy) -> Order:
    """What the guards on Ray must know. The keys are made here once: several guards would each begin a ring."""
    with ExitStack() as parts:
        evidence_signer(job.settings, parts)
    return Order(
        state=job.output / folders.STATE,
        settings=job.settings,
        policy=policy_file(job.policy_place).resolve(),
        policy_digest=policy.digest(),
        wanted=job.wanted,
        caller=local_caller(Role.CALLER).name,
        concurrency=job.concurrency,
        receipts=job.receipts,
    )


@contextmanager
def _interruptible(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """Ctrl-C or SIGTERM: what is in work may end; a second time: it is called off."""
    interrupted, loop, this = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None

    def interrupt() -> None:
        if interrupted.is_set():
            this.cancel()
            return
        interrupted.set()
        stop.set()
        err.print("stopping when what is in work is done; once more to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err)


def _summary(
    catalog: Catalog,
    progress: folders.Progress,
    output: Path,
    more: tuple[str, int] | None = None,
    others: int = 0,
) -> None:
    """What the folder holds of the files that there are now."""
    documents = catalog.documents()
    answered = [name for name in documents if name in progress.answered]
    failed = [progress.failed[name]["reason"] for name in documents if name in progress.failed]
    table = Table(show_header=False, box=None)
    table.add_row("files", f"{len(catalog.files) - catalog.count(Presence.GONE)}")
    for name, count in (
        ("  with the bytes of another", catalog.duplicates),
        ("  unreadable", catalog.count(Presence.UNREADABLE)),
        ("  of earlier runs, gone", catalog.count(Presence.GONE)),
        ("  not taken: no format of ours", others),
    ):
        if count:
            table.add_row(name, str(count))
    table.add_row("documents", str(len(documents)))
    table.add_row("  answered", f"{len(answered)} ({sum(progress.answered[name] for name in answered)} pages)")
    table.add_row("  failed", str(len(failed)))
    for reason, count in sorted(Counter(failed).items()):
        table.add_row(f"    {reason}", str(count))
    table.add_row("  to be done", str(len(documents) - len(answered) - len(failed)))
    if more:
        table.add_row(f"  {more[0]}", str(more[1]))
    table.add_row("written to", str(output))
    out.print(table)
