"""How far a document is, page by page, on standard error while that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import Progress, TaskID

from guardedvlm.cli.output import err
from guardedvlm.guard import outcome


@contextmanager
def page_line(bar: Progress, name: str) -> Iterator[outcome.Watcher]:
    """What watches the document `name`: a line of its own in `bar` once it shows several pages, gone at the end."""
    line: TaskID | None = None

    def tell(told: outcome.Progress) -> None:
        nonlocal line
        if told.pages > 1:
            if line is None:
                line = bar.add_task("")
            bar.update(line, description=f"{escape(name)}: {told.stage}", completed=told.done, total=told.pages)

    try:
        yield tell
    finally:
        if line is not None:
            bar.remove_task(line)


@contextmanager
def asking(name: str) -> Iterator[outcome.Watcher]:
    """What watches the document `name` while it is asked about."""
    with err.status("asking") as status:

        def tell(told: outcome.Progress) -> None:
            if told.pages > 1:
                status.update(f"{escape(name)}: {told.stage} {told.done}/{told.pages}")

        yield tell
