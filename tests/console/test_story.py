"""One request is read from the ledger and checked; what was changed is marked, whatever the index says."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_ledger import LIFE, Writing, request_id

from guardedvlm.audit.segment import list_segments
from guardedvlm.console.index import FILE, open_index, refresh
from guardedvlm.console.queries import find_request, log_names
from guardedvlm.console.story import Flaw, Story, read_story
from guardedvlm.core.lifecycle import State


def story_of(ledger: Path, cache: Path, number: int | str) -> Story:
    request = number if isinstance(number, str) else request_id(number)
    with open_index(cache) as database:
        row = find_request(database, request)
        assert row is not None
        return read_story(ledger, log_names(database), request, row["places"], row["shadow"])


@pytest.fixture
def cache(ledger: Path, tmp_path: Path) -> Path:
    refresh(ledger, tmp_path / "cache")
    return tmp_path / "cache"


def change(ledger: Path, old: bytes, new: bytes) -> None:
    for segment in list_segments(ledger):
        text = segment.path.read_bytes()
        if old in text:
            segment.path.write_bytes(text.replace(old, new, 1))
            return
    raise AssertionError("not there")


def test_a_whole_request(ledger: Path, cache: Path) -> None:
    story = story_of(ledger, cache, 1)

    assert story.holds
    assert story.finished
    assert [step.record.event for step in story.steps if step.record] == list(LIFE)
    assert story.facts["regions"] == {"FACE": 1, "MEDICAL_RECORD": 3}
    assert dict(story.timings) == {"decode": 21, "read": 900, "faces": 90, "verify": 500, "infer": 300}
    assert story.shadow is not None
    assert story.shadow["would_say"]["verdict"] == "deny"


def test_an_unfinished_request_holds_and_has_no_end(ledger: Path, cache: Path) -> None:
    story = story_of(ledger, cache, 3)

    assert story.holds
    assert not story.finished


def test_every_request_over_segments_holds(large: Path) -> None:
    with open_index(large / "cache") as database:
        requests = [row[0] for row in database.execute("SELECT request FROM requests")]

    stories = [story_of(large / "ledger", large / "cache", request) for request in requests]
    assert all(story.holds for story in stories)
    assert len({step.segment for story in stories for step in story.steps}) > 3


def test_a_changed_count_breaks_the_link_after_it(ledger: Path, cache: Path) -> None:
    change(ledger, b'"FACE":1,"MEDICAL_RECORD":3', b'"FACE":1,"MEDICAL_RECORD":2')

    story = story_of(ledger, cache, 1)

    flawed = {step.record.event: step.flaws for step in story.steps if step.record and step.flaws}
    assert flawed == {State.REDACTED: (Flaw.AFTER,), State.CLEARED: (Flaw.BEFORE,)}


def test_a_changed_neighbour_shows_too(ledger: Path, cache: Path) -> None:
    """Request 2's last record stands before request 3's first one."""
    change(ledger, b'"total":77', b'"total":78')

    first = story_of(ledger, cache, 3).steps[0]

    assert first.flaws == (Flaw.BEFORE,)


def test_a_line_in_another_spelling_is_no_record(ledger: Path, cache: Path) -> None:
    change(ledger, b'"event":"DECODED"', b'"event":"DECODeD"')

    assert not story_of(ledger, cache, 1).holds


def test_records_that_are_gone(ledger: Path, cache: Path) -> None:
    for segment in list_segments(ledger):
        segment.path.write_bytes(b"")

    story = story_of(ledger, cache, 1)
    assert not story.holds
    assert {step.flaws for step in story.steps} == {(Flaw.MISSING,)}
    for segment in list_segments(ledger):
        segment.path.unlink()
    assert {step.flaws for step in story_of(ledger, cache, 1).steps} == {(Flaw.MISSING,)}


def test_a_lying_index_is_not_believed(ledger: Path, cache: Path) -> None:
    """Somebody points request 1's row at request 2's records, and calls it refused."""
    database = sqlite3.connect(cache / FILE, isolation_level=None)
    places = database.execute("SELECT places FROM requests WHERE request = ?", (request_id(2),)).fetchone()[0]
    database.execute("UPDATE requests SET places = ?, outcome = 'REFUSED' WHERE request = ?", (places, request_id(1)))
    database.close()

    story = story_of(ledger, cache, 1)

    assert not story.holds
    assert all(Flaw.OTHER in step.flaws for step in story.steps)
    assert story.facts == {}


def test_a_step_that_the_life_cycle_does_not_have(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "ledger")
    for state in (State.RECEIVED, State.CLEARED, State.RELEASED):
        writing.step(1, state)
    writing.close()
    refresh(tmp_path / "ledger", tmp_path / "cache")

    flaws = [step.flaws for step in story_of(tmp_path / "ledger", tmp_path / "cache", 1).steps]
    assert flaws == [(), (Flaw.LIFE_CYCLE,), (Flaw.LIFE_CYCLE,)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_a_request_goes_unseen(
    ledger: Path, cache: Path, data: st.DataObject, request: pytest.FixtureRequest
) -> None:
    """Whatever byte of request 1's records is changed: something of it no longer holds."""
    path = list_segments(ledger)[0].path
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    mine = [index for index, line in enumerate(lines) if request_id(1).encode() in line and b"SHADOWED" not in line]
    number = data.draw(st.sampled_from(mine))
    at = sum(map(len, lines[:number])) + data.draw(st.integers(0, len(lines[number]) - 2))
    path.write_bytes(text[:at] + bytes([text[at] ^ data.draw(st.integers(1, 255))]) + text[at + 1 :])
    try:
        assert not story_of(ledger, cache, 1).holds
    finally:
        path.write_bytes(text)


def test_the_newest_record_says_that_nothing_links_to_it(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "ledger")
    writing.request(1)
    writing.close()
    refresh(tmp_path / "ledger", tmp_path / "cache")

    steps = story_of(tmp_path / "ledger", tmp_path / "cache", 1).steps
    assert [step.newest for step in steps] == [False] * (len(steps) - 1) + [True]
