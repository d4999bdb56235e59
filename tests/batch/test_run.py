"""A run: concurrency, stops, and failures that are no document's own; with askers that say what a test wants."""

import asyncio
import threading
import time

import pytest

from guardedvlm.batch import asking
from guardedvlm.batch.asking import Reading, Task, outcome_of
from guardedvlm.batch.inputs import uri_of
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.rows import Answered, Failed
from guardedvlm.batch.run import Here, Limits, run
from guardedvlm.batch.store import Store, open_store, read_progress
from guardedvlm.errors import ConfigurationError, InvalidInput, Overloaded, Reason, Refused, TimedOut, Unavailable

KEY = BatchKey(bytes(32))


def task_of(folder, name, content=b"x"):
    path = folder / name
    path.write_bytes(content)
    return Task(KEY.document([content]), uri_of(path))


class Says:
    """Answers, or what `outcomes` has for a document's bytes; knows how many were in work at once."""

    def __init__(self, outcomes=None):
        self.outcomes = outcomes or {}
        self.asked, self.most, self._now = [], 0, 0

    async def ask(self, task, content):
        self.asked.append(content)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(0.005)
            said = self.outcomes.get(content, ())
            if isinstance(said, list):
                said = said.pop(0) if said else ()
            if isinstance(said, BaseException):
                raise said
        finally:
            self._now -= 1
        return said or Answered(({"row": task.document, "document": task.document, "receipt_id": "r"},))


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "in").mkdir()
    return [task_of(tmp_path / "in", f"{number}.png", b"%d" % number) for number in range(12)]


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(asking, "DELAYS", (0.0, 0.0))


async def ran(folder, tasks, asker, limits=None, stop=None, told=lambda *_: None, concurrency=3):
    with open_store(folder) as store:
        source = Here(asker, Reading(KEY, 100), concurrency, store)
        return await run(tasks, source, store, limits or Limits(), stop or asyncio.Event(), told)


async def test_all_are_asked_as_many_at_a_time_as_was_said(tmp_path, tasks):
    asker = Says()
    tally = await ran(tmp_path / "out", tasks, asker)
    assert (tally.answered, asker.most, len(asker.asked)) == (12, 3, 12)
    assert set(read_progress(tmp_path / "out").answered) == {task.document for task in tasks}


async def test_a_documents_own_failure_is_a_row_and_the_others_go_on(tmp_path, tasks, quickly):
    asker = Says({b"3": Refused(Reason.RESIDUAL_FOUND), b"5": Failed(TimedOut(Reason.STAGE_TIMEOUT), "id")})
    tally = await ran(tmp_path / "out", tasks, asker)
    assert tally.answered == 10
    assert tally.failed == {Reason.RESIDUAL_FOUND: 1, Reason.STAGE_TIMEOUT: 1}


async def test_what_every_document_would_meet_ends_the_run_and_is_nobodys_failure(tmp_path, tasks, quickly):
    asker = Says({b"4": Refused(Reason.POLICY_EXPIRED)})
    with pytest.raises(Refused, match="POLICY_EXPIRED"):
        await ran(tmp_path / "out", tasks, asker)
    progress = read_progress(tmp_path / "out")
    assert progress.failed == {}
    assert progress.begun.total() == 0  # called off, and not attempts
    again = Says()
    await ran(tmp_path / "out", [task for task in tasks if task.document not in progress.answered], again)
    assert set(read_progress(tmp_path / "out").answered) == {task.document for task in tasks}


async def test_what_may_be_tried_again_is(tmp_path, tasks, quickly):
    again = [Failed(Unavailable(Reason.WORKER_DIED)), Failed(Overloaded(Reason.QUOTA_EXCEEDED))]
    asker = Says({b"1": list(again), b"2": [*again, Failed(Unavailable(Reason.WORKER_DIED))]})
    tally = await ran(tmp_path / "out", tasks[:4], asker)
    assert (tally.answered, tally.failed) == (3, {Reason.WORKER_DIED: 1})
    assert (asker.asked.count(b"1"), asker.asked.count(b"2"), asker.asked.count(b"3")) == (3, 3, 1)


async def test_a_service_that_stays_away_ends_the_run(tmp_path, tasks, quickly):
    asker = Says({b"0": Failed(Unavailable(Reason.SERVICE_UNAVAILABLE))})
    with pytest.raises(Unavailable, match="SERVICE_UNAVAILABLE"):
        await ran(tmp_path / "out", tasks, asker, concurrency=1)
    assert asker.asked == [b"0"] * 3


async def test_a_stop_lets_what_is_in_work_end(tmp_path, tasks):
    stop = asyncio.Event()
    asker = Says()
    tally = await ran(tmp_path / "out", tasks, asker, stop=stop, told=lambda *_: stop.set())
    assert tally.answered == len(asker.asked) < 12
    assert read_progress(tmp_path / "out").begun.total() == 0


async def test_more_failures_than_allowed_end_the_run(tmp_path, tasks):
    asker = Says({b"%d" % number: Refused(Reason.RESIDUAL_FOUND) for number in range(12)})
    tally = await ran(tmp_path / "out", tasks, asker, Limits(most_failures=2), concurrency=1)
    assert tally.failed.total() == 3


async def test_a_second_interrupt_calls_off_what_is_in_work(tmp_path, tasks):
    class Slow(Says):
        async def ask(self, task, content):
            if content == b"1":
                await asyncio.sleep(60)
            return await super().ask(task, content)

    running = asyncio.ensure_future(ran(tmp_path / "out", tasks, Slow(), concurrency=2))
    await asyncio.sleep(0.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    progress = read_progress(tmp_path / "out")
    assert len(progress.answered) == 11
    assert progress.begun.total() == 0


async def test_an_interrupt_waits_for_what_is_being_written(tmp_path, tasks, monkeypatch):
    told, writing = [], threading.Event()
    end, call_off = Store.end, Store.call_off

    def slow_end(store, document, outcome):
        writing.set()
        time.sleep(0.2)
        end(store, document, outcome)
        told.append("ended")

    monkeypatch.setattr(Store, "end", slow_end)
    monkeypatch.setattr(Store, "call_off", lambda *given: told.append("called off") or call_off(*given))
    running = asyncio.ensure_future(ran(tmp_path / "out", tasks, Says(), concurrency=2))
    assert await asyncio.to_thread(writing.wait, 10)
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told == ["ended", "called off"]
    progress = read_progress(tmp_path / "out")
    assert (len(progress.answered), progress.begun.total()) == (1, 0)


async def test_a_defect_is_a_failure_without_its_words(tmp_path, quickly):
    asker = Says({b"x": RuntimeError("Orla Quillfeather")})
    said = await outcome_of(task_of(tmp_path, "a.png"), Reading(KEY, 100), asker)
    assert (said.error.reason, said.error.details) == (Reason.INTERNAL, {"error": "RuntimeError"})
    assert "Orla" not in repr(said)


async def test_files_that_changed_or_went_since_they_were_listed(tmp_path, quickly):
    asker = Says()
    changed, gone, long = (task_of(tmp_path, name, name.encode()) for name in ("changed", "gone", "long"))
    (tmp_path / "changed").write_bytes(b"else")
    (tmp_path / "gone").unlink()
    said = [await outcome_of(task, Reading(KEY, 100), asker) for task in (changed, gone)]
    assert [one.error.reason for one in said] == [Reason.INPUT_CHANGED, Reason.INPUT_UNREADABLE]
    assert asker.asked == []
    await outcome_of(long, Reading(KEY, 3), asker)  # the guard says that it is too long
    assert asker.asked == [b"long"]


async def test_settings_that_are_wrong_end_the_run(tmp_path, tasks):
    with pytest.raises(ConfigurationError):
        await ran(tmp_path / "out", tasks, Says({b"0": ConfigurationError(Reason.SETTINGS_INVALID)}))


def test_names_say_nothing_of_files():
    task = Task("ab" * 16, "file:///Orla.png")
    assert "Orla" not in repr(task) + task.request_id
    assert len(task.request_id) <= 64
    assert "Orla" not in repr(Failed(InvalidInput(Reason.IMAGE_CORRUPT)))
