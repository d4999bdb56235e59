"""The folder of a batch: killed at whatever point, it is complete in the end, and nothing is in it twice."""

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.batch import journal, store
from guardedvlm.batch.catalog import Catalog, File, Presence
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.manifest import Manifest, Wanted, check_folder, keep_manifest, read_manifest
from guardedvlm.batch.rows import Answered, Failed
from guardedvlm.batch.run import MOST_ATTEMPTS, Limits, pending
from guardedvlm.batch.store import FAILED, PARTS, STATE, open_store, read_progress
from guardedvlm.batch.tables import read_catalog, read_table, write_catalog
from guardedvlm.core import private_file
from guardedvlm.errors import ConfigurationError, Internal, InvalidInput, Reason, Unavailable


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the process would do after it happens."""


class Disk:
    """Lets `steps` changes happen; in the middle of the next one the process dies."""

    def __init__(self, patch, steps):
        self.left, self.dead, self.streams = steps, False, []
        opened = os.fdopen
        patch.setattr(
            os, "fdopen", lambda *given, **more: self.streams.append(opened(*given, **more)) or self.streams[-1]
        )
        for owner, name in ((Path, "unlink"), (Path, "replace"), (os, "fsync"), (os, "link"), (Path, "mkdir")):
            patch.setattr(owner, name, self._step(getattr(owner, name)))
        patch.setattr(journal.Journal, "write", self._torn(journal.Journal.write))

    def _counted(self):
        if self.dead or self.left == 0:
            self.dead = True
            raise Killed
        self.left -= 1

    def _step(self, real):
        def step(*arguments, **options):
            self._counted()
            return real(*arguments, **options)

        return step

    def _torn(self, real):
        def write(log, entry, *, durable=False):
            try:
                self._counted()
            except Killed:
                with contextlib.suppress(ValueError):  # closed, which a dead process would not see
                    line = json.dumps(journal._encoded(entry)).encode()
                    log._stream.write(line[: len(line) * 2 // 3])
                raise
            return real(log, entry, durable=durable)

        return write


def rows_of(document, pages):
    return tuple(
        {
            "row": f"{document}-{page}",
            "document": document,
            "page": page,
            "regions": {"DATE": 1},
            "receipt_id": "0a" * 16,
        }
        for page in range(pages)
    )


def outcome_of(document, pages):
    """Answered with so many pages; none: failed."""
    return Answered(rows_of(document, pages), b"receipt") if pages else Failed(InvalidInput(Reason.IMAGE_CORRUPT))


def work(folder, documents, part, asked):
    """One run of a batch: what is not done is begun, asked and ended."""
    with open_store(folder, part) as batch:
        for document, pages in documents.items():
            if document in batch.progress.answered or document in batch.progress.failed:
                continue
            batch.begin(document)
            asked.append(document)
            batch.end(document, outcome_of(document, pages))


def in_tables(folder):
    rows = [row["row"] for part in sorted((folder / PARTS).glob("part-*")) for row in read_table(part)]
    return sorted(rows), sorted(row["document"] for row in read_table(folder / FAILED))


@settings(max_examples=30)
@given(
    pages=st.lists(st.integers(0, 3), min_size=1, max_size=7),
    part=st.integers(1, 4),
    kills=st.lists(st.integers(0, 60), max_size=4),
)
def test_whatever_point_it_is_killed_at_the_rows_are_complete(tmp_path_factory, pages, part, kills):
    folder = tmp_path_factory.mktemp("batch") / "out"
    documents = {f"d{index}": count for index, count in enumerate(pages)}
    asked, deaths = [], 0
    for steps in kills:
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, steps)
            try:
                work(folder, documents, part, asked)
            except (Killed, ConfigurationError):
                assert disk.dead  # what a dead process still raises is nobody's
            deaths += disk.dead
            for stream in disk.streams:
                stream.close()
    work(folder, documents, part, asked)
    rows, failed = in_tables(folder)
    assert rows == sorted(row["row"] for name, count in documents.items() for row in rows_of(name, count))
    assert failed == sorted(name for name, count in documents.items() if not count)
    # What was in work at a kill is asked again, and nothing else.
    assert len(asked) <= len(documents) + deaths
    assert not list((folder / STATE).glob("journal-*"))
    assert not list(folder.rglob(".part*")) + list(folder.glob(".failures*"))
    again = []
    work(folder, documents, part, again)
    assert again == []
    assert in_tables(folder) == (rows, failed)


def test_a_failure_that_is_tried_again_leaves_its_table(tmp_path):
    with open_store(tmp_path) as batch:
        batch.end("a", outcome_of("a", 0))
        batch.end("b", outcome_of("b", 0))
    with open_store(tmp_path) as batch:
        batch.begin("a")
        batch.end("a", outcome_of("a", 2))
    assert in_tables(tmp_path) == (["a-0", "a-1"], ["b"])


def test_what_was_answered_stays_answered(tmp_path):
    """A guard that was thought dead may still say something."""
    with open_store(tmp_path) as batch:
        batch.end("a", outcome_of("a", 1))
        batch.end("a", outcome_of("a", 1))
        batch.end("a", outcome_of("a", 0))
    assert in_tables(tmp_path) == (["a-0"], [])


@pytest.mark.parametrize("name", ["../../x", "x", "0a" * 16 + "\n", "/etc/x", "0A" * 16])
def test_a_receipt_is_named_after_an_audit_id_and_nothing_else(tmp_path, name):
    said = Failed(InvalidInput(Reason.IMAGE_CORRUPT), name, b"receipt")
    with open_store(tmp_path / "a" / "b") as batch, pytest.raises(Internal):
        batch.end("a", said)
    assert not list(tmp_path.rglob("*.receipt.json"))
    with open_store(tmp_path / "a" / "b") as batch:
        batch.end("a", Failed(said.error, "0a" * 16, b"receipt"))
    assert [path.stem for path in tmp_path.rglob("*.json") if path.parent.name == "receipts"] == [
        "0a" * 16 + ".receipt"
    ]


def test_two_processes_do_not_share_a_folder(tmp_path):
    with open_store(tmp_path), pytest.raises(ConfigurationError) as refused, open_store(tmp_path):
        pass
    assert "another batch runs" in refused.value.explanation


def test_everything_is_its_owners_alone(tmp_path):
    folder = tmp_path / "out"
    with open_store(folder) as batch:
        batch.end("a", outcome_of("a", 1))
        batch.end("b", outcome_of("b", 0))
        write_catalog(folder / "files.parquet", Catalog({}))
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


def test_a_damaged_journal_or_table_is_told_and_kept(tmp_path):
    with open_store(tmp_path) as batch:
        batch.end("a", outcome_of("a", 1))
    (tmp_path / STATE / "journal-00000009.jsonl").write_text('{"ended":"b","rows":[],"failure":null}\nnonsense\n')
    with pytest.raises(ConfigurationError) as refused, open_store(tmp_path):
        pass
    assert (refused.value.reason, refused.value.place) == (Reason.INPUT_UNREADABLE, "journal-00000009.jsonl")
    (tmp_path / STATE / "journal-00000009.jsonl").unlink()
    (tmp_path / PARTS / "part-00000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match="INPUT_UNREADABLE"):
        read_progress(tmp_path)


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "Orla.png")

    def until_full():
        with open_store(tmp_path) as batch:
            batch.end("a", outcome_of("a", 1))
            monkeypatch.setattr(os, "fsync", full)
            batch.end("b", outcome_of("b", 1))

    with pytest.raises(ConfigurationError) as refused:
        until_full()
    assert refused.value.reason is Reason.OUTPUT_UNWRITABLE
    monkeypatch.undo()
    with open_store(tmp_path) as batch:
        assert "a" in batch.progress.answered
    assert in_tables(tmp_path)[0][0] == "a-0"


def test_a_catalog_comes_back(tmp_path):
    catalog = Catalog({"file:///a": File("file:///a", "d", 3, 2**60, Presence.GONE)})
    write_catalog(tmp_path / "files.parquet", catalog)
    assert read_catalog(tmp_path / "files.parquet") == catalog
    assert read_catalog(tmp_path / "absent") == Catalog({})


def test_a_folder_holds_one_batch(tmp_path):
    key, place = BatchKey(bytes(32)), tmp_path / "batch.json"
    first = Manifest.of(Wanted("What is the total of Orla?"), "finance", "ab" * 32, key)
    keep_manifest(place, first)
    keep_manifest(place, first)
    assert read_manifest(place) == first
    assert b"Orla" not in place.read_bytes()
    for wanted, digest in ((Wanted("another"), "ab" * 32), (Wanted("What is the total of Orla?"), "cd" * 32)):
        with pytest.raises(ConfigurationError, match="OUTPUT_UNWRITABLE"):
            keep_manifest(place, Manifest.of(wanted, "finance", digest, key))
    place.write_text("{}")
    with pytest.raises(ConfigurationError, match="INPUT_UNREADABLE"):
        read_manifest(place)


def test_a_folder_with_something_else_is_refused(tmp_path):
    check_folder(tmp_path / "absent")
    check_folder(tmp_path)
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(ConfigurationError, match="OUTPUT_UNWRITABLE"):
        check_folder(tmp_path)


def catalog_of(*documents, presence=Presence.PRESENT):
    return Catalog({f"file:///{name}": File(f"file:///{name}", name, 1, 1, presence) for name in documents})


def test_what_a_kill_left_in_work_comes_last_and_not_for_ever(tmp_path):
    for _ in range(MOST_ATTEMPTS):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed), open_store(tmp_path) as batch:
            patch.setattr(store.Store, "close", lambda _: (_ for _ in ()).throw(Killed()))
            tasks, failed = pending(catalog_of("a", "b"), batch.progress, Limits())
            assert not failed
            batch.begin("a")
            batch._journal.close()
            raise Killed
        assert tasks[-1].document == "a" or batch.progress.begun["a"] == 1
    tasks, failed = pending(catalog_of("a", "b"), read_progress(tmp_path), Limits())
    assert [task.document for task in tasks] == ["b"]
    assert [(task.document, said.error.reason) for task, said in failed.items()] == [("a", Reason.WORKER_DIED)]


def test_what_was_called_off_was_no_attempt(tmp_path):
    with open_store(tmp_path) as batch:
        batch.begin("a")
        batch.call_off("a")
    assert read_progress(tmp_path).begun["a"] == 0
    assert in_tables(tmp_path) == ([], [])


def test_a_failure_is_asked_again_only_on_wish(tmp_path):
    with open_store(tmp_path) as batch:
        batch.end("a", Failed(Unavailable(Reason.WORKER_DIED)))
    progress = read_progress(tmp_path)
    assert pending(catalog_of("a"), progress, Limits())[0] == []
    assert [task.document for task in pending(catalog_of("a"), progress, Limits(retry_failed=True))[0]] == ["a"]
    unreadable = catalog_of("b", presence=Presence.UNREADABLE)
    ((task, said),) = pending(unreadable, progress, Limits())[1].items()
    assert (task.document, said.error.reason) == ("b", Reason.INPUT_UNREADABLE)


def test_a_draft_is_named_as_the_store_expects(tmp_path):
    with private_file._draft(tmp_path / "part-1.parquet", b"x", 0o600) as draft:
        assert store._drafts(tmp_path) == [draft]
