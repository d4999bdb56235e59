"""How a batch is shown: a bar while it runs, a table of what its folder holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from guardedvlm.batch import store as folders
from guardedvlm.batch.catalog import Catalog, Presence
from guardedvlm.cli.output import err, out


def progress_bar() -> Progress:
    """How many of the files or documents are done, and when the rest may be; on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err)


def print_summary(
    catalog: Catalog,
    progress: folders.Progress,
    output: Path,
    more: tuple[str, int] | None = None,
    others: int = 0,
) -> None:
    """Print what the folder holds of the files that there are now."""
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
