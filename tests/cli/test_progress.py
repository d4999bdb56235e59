"""The lines that tell how far a document is."""

import io

from rich.console import Console
from rich.progress import Progress

from guardedvlm.audit.facts import Stage
from guardedvlm.cli import progress
from guardedvlm.guard import outcome


def test_a_document_of_several_pages_has_a_line_while_it_is_in_work():
    bar = Progress(console=Console(file=io.StringIO()))
    with progress.page_line(bar, "a[b].pdf") as tell:
        assert bar.tasks == []
        for told in (outcome.Progress(Stage.READ, 1, 3), outcome.Progress(Stage.VERIFY, 2, 3)):
            tell(told)
            (line,) = bar.tasks
            assert (line.completed, line.total) == (told.done, 3)
            assert line.description == rf"a\[b].pdf: {told.stage}"
    assert bar.tasks == []


def test_one_page_has_none():
    bar = Progress(console=Console(file=io.StringIO()))
    with progress.page_line(bar, "a.png") as tell:
        tell(outcome.Progress(Stage.READ, 1, 1))
        assert bar.tasks == []


def test_asking_tells_the_page(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(progress, "err", console)
    with progress.asking("a.pdf") as tell:
        tell(outcome.Progress(Stage.INFER, 2, 3))
    assert "a.pdf: infer 2/3" in console.file.getvalue()
