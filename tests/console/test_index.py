"""The index says what the ledger says, however it came to be, and never touches it."""

import json
import os
import re
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_ledger import Writing, request_id

from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.record import MAX_LINE
from guardedvlm.audit.segment import list_segments
from guardedvlm.audit.summary import summarize
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.console import queries
from guardedvlm.console.fold import DAY, HOUR, UNFINISHED
from guardedvlm.console.index import FILE, open_index, refresh
from guardedvlm.core.lifecycle import FINAL, State
from guardedvlm.errors import ConfigurationError, Reason

TABLES = ("requests", "regions", "outcomes", "kinds", "totals", "events")


def content(cache: Path) -> dict[str, list[tuple[object, ...]]]:
    with open_index(cache) as database:
        return {table: sorted(map(tuple, database.execute(f"SELECT * FROM {table}"))) for table in TABLES}


def test_synthetic_ledger_verifies(large: Path) -> None:
    report = verify_ledger(large / "ledger")

    assert report.chain_ok
    assert report.records >= 1_600
    assert report.segments > 3


def test_every_request_as_the_ledger_tells_it(large: Path) -> None:
    """The slow oracle: each request put together from its records by the audit's own code."""
    records = {}
    for record in read_records(large / "ledger"):
        if record.request:
            records.setdefault(record.request, []).append(record)
    with open_index(large / "cache") as database:
        rows = {row["request"]: row for row in database.execute("SELECT * FROM requests")}

    assert rows.keys() == records.keys()
    for request, found in records.items():
        summary, row = summarize(found), rows[request]
        outcome = summary.outcome if found[-1].event in FINAL else UNFINISHED
        facts = summary.facts
        assert row["outcome"] == outcome
        assert row["reason"] == facts.get("reason", "")
        assert row["tenant"] == facts.get("tenant", "")
        assert row["policy"] == facts.get("policy", {}).get("digest", "")
        assert json.loads(row["regions"] or "{}") == facts.get("regions", {})
        assert row["began"] == round(summary.began.timestamp() * 1000)
        assert len(row["places"].split()) == len(found)


def test_sums_are_those_of_the_requests(large: Path) -> None:
    with open_index(large / "cache") as database:
        rows = database.execute("SELECT * FROM requests WHERE outcome != ?", (UNFINISHED,)).fetchall()
        hours = dict(
            database.execute("SELECT at, SUM(requests) FROM outcomes WHERE step = ? GROUP BY 1", (HOUR,)).fetchall()
        )
        kinds = dict(
            database.execute("SELECT kind, SUM(regions) FROM kinds WHERE step = ? GROUP BY 1", (DAY,)).fetchall()
        )
        tenants = dict(database.execute("SELECT name, refused FROM totals WHERE what = 'tenant'").fetchall())

    found = Counter[str]()
    for row in rows:
        found.update(json.loads(row["regions"] or "{}"))
    assert hours == Counter(row["began"] - row["began"] % HOUR for row in rows)
    assert kinds == found
    assert {name: number for name, number in tenants.items() if number} == Counter(
        row["tenant"] for row in rows if row["outcome"] == "REFUSED"
    )


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 2**20), min_size=1, max_size=4))
def test_continued_anywhere_it_is_the_same(
    large: Path, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """The ledger grows by bytes, lines cut in two; after each step the index goes on where it was."""
    folder = tmp_path_factory.mktemp("cut")
    segments = list_segments(large / "ledger")
    total = sum(segment.path.stat().st_size for segment in segments)
    (folder / "ledger").mkdir()
    for end in [*sorted(cut % total for cut in cuts), total]:
        done = 0
        for segment in segments:
            size = segment.path.stat().st_size
            if end > done:
                (folder / "ledger" / segment.path.name).write_bytes(segment.path.read_bytes()[: end - done])
            done += size
        if end:
            refresh(folder / "ledger", folder / "cache")

    assert content(folder / "cache") == content(large / "cache")
    shutil.rmtree(folder)


def test_nothing_new_is_nothing_read(large: Path) -> None:
    assert refresh(large / "ledger", large / "cache") == 0


def changed_last_line(folder: Path) -> None:
    path = list_segments(folder)[-1].path
    text = path.read_bytes()
    path.write_bytes(text[:-3] + bytes([text[-3] ^ 1]) + text[-2:])


def lost_oldest_segment(folder: Path) -> None:
    list_segments(folder)[0].path.unlink()


@pytest.mark.parametrize("harm", [changed_last_line, lost_oldest_segment])
def test_another_ledger_is_read_anew(large: Path, tmp_path: Path, harm: object) -> None:
    ledger, cache = tmp_path / "ledger", tmp_path / "cache"
    shutil.copytree(large / "ledger", ledger)
    refresh(ledger, cache)
    harm(ledger)  # type: ignore[operator]

    assert refresh(ledger, cache) > 1_000
    refresh(ledger, tmp_path / "fresh")
    assert content(cache) == content(tmp_path / "fresh")


def broken_file(index: Path) -> None:
    index.write_bytes(b"this is no database" * 1_000)


def other_schema(index: Path) -> None:
    database = sqlite3.connect(index)
    database.execute("PRAGMA user_version=999")
    database.close()


def of_another_ledger(index: Path) -> None:
    database = sqlite3.connect(index, isolation_level=None)
    database.execute("UPDATE meta SET value = '/elsewhere' WHERE key = 'ledger'")
    database.close()


@pytest.mark.parametrize("harm", [broken_file, other_schema, of_another_ledger])
def test_a_wrong_index_is_made_anew(ledger: Path, tmp_path: Path, harm: object) -> None:
    cache = tmp_path / "cache"
    refresh(ledger, cache)
    before = content(cache)
    harm(cache / FILE)  # type: ignore[operator]

    assert refresh(ledger, cache) > 0
    assert content(cache) == before


def test_lines_that_are_no_records_are_counted_and_left_out(ledger: Path, tmp_path: Path) -> None:
    path = list_segments(ledger)[-1].path
    hostile = [b"not json", b"[]", b"{}", b'{"event": "RECEIVED", "facts": {}, "request": [], "time": "x"}']
    hostile.append(b'{"event": "RECEIVED", "facts": {"pages": 1e999}, "request": "a", "time": "2026-01-01T00:00:00Z"}')
    path.write_bytes(path.read_bytes() + b"\n".join(hostile) + b"\n")
    refresh(ledger, tmp_path / "cache")

    with open_index(tmp_path / "cache") as database:
        assert database.execute("SELECT skipped FROM logs").fetchone()[0] == len(hostile)
        assert database.execute("SELECT COUNT(*) FROM requests").fetchone()[0] == 3


def test_a_request_whose_records_lie_in_two_logs(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service, years = Writing(ledger / "service"), Writing(ledger / "years-6")
    service.step(1, State.RECEIVED)
    for state in (State.ADMITTED, State.DECODED):
        years.step(1, state)
    years.step(1, State.REFUSED, reason="DETECTOR_FAILED")
    service.close()
    years.close()
    refresh(ledger, tmp_path / "cache")

    assert len(list_logs(ledger)) == 2
    with open_index(tmp_path / "cache") as database:
        row = database.execute("SELECT * FROM requests").fetchone()
    assert (row["request"], row["outcome"], row["method"]) == (request_id(1), "REFUSED", "AnalyzeImage")
    assert len({place.split(":")[0] for place in row["places"].split()}) == 2


def test_the_ledger_is_only_read(ledger: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in ledger.iterdir()}

    before = state()
    for path in ledger.iterdir():
        path.chmod(0o400)
    ledger.chmod(0o500)
    refresh(ledger, tmp_path / "cache")

    assert state() == before


def test_the_index_is_its_users_alone(ledger: Path, tmp_path: Path) -> None:
    refresh(ledger, tmp_path / "cache")

    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache" / FILE).stat().st_mode & 0o077 == 0


def test_two_consoles_share_one_builder(ledger: Path, tmp_path: Path) -> None:
    import fcntl

    cache = tmp_path / "cache"
    cache.mkdir()
    descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    assert refresh(ledger, cache) == 0
    os.close(descriptor)
    assert refresh(ledger, cache) > 0


def test_a_ledger_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        refresh(tmp_path / "nowhere", tmp_path / "cache")
    assert caught.value.reason is Reason.INPUT_UNREADABLE


OPENED = {"event": "OPENED", "facts": {"torn_bytes": 0}, "version": 1, "sequence": 9, "previous": "0" * 64,
          "salt": "0" * 32, "time": "2026-11-23T10:00:00.000Z", "origin": "a0" * 16}  # fmt: skip
POLICIES = {"event": "POLICIES", "facts": {"policies": [{"name": "finance", "digest": "ab" * 32}]}}


def spelled(record: dict[str, object], **changed: object) -> bytes:
    return json.dumps(record | changed, sort_keys=True, separators=(",", ":")).encode()


TAMPERED = {
    "surrogate": spelled(OPENED, facts={"torn_bytes": "\ud800"}),
    "surrogate as a name": spelled(OPENED, request="\ud800", event="RECEIVED", facts={"method": "\ud800"}),
    "deep": b"[" * 200_000,
    "policies are a number": spelled(OPENED, **POLICIES | {"facts": {"policies": 5}}),
    "policies are texts": spelled(OPENED, **POLICIES | {"facts": {"policies": ["x"]}}),
    "bytes are a text": spelled(OPENED, facts={"torn_bytes": "a"}),
    "year 9999": spelled(OPENED, time="9999-12-31T23:59:59.000Z"),
    "year 1": spelled(OPENED, time="0001-01-01T00:00:00.000Z"),
    "another spelling": json.dumps(OPENED).encode(),
    "longer than a record": b'"' + b"x" * 3 * MAX_LINE + b'"',
    "just longer than a record": b"x" * (MAX_LINE + 1),
}


@pytest.mark.parametrize("line", TAMPERED.values(), ids=TAMPERED.keys())
def test_what_comes_after_a_line_that_is_no_record_is_in(ledger: Path, tmp_path: Path, line: bytes) -> None:
    path = list_segments(ledger)[-1].path
    good = spelled(OPENED, **POLICIES)
    path.write_bytes(path.read_bytes() + line + b"\n" + good + b"\n")
    refresh(ledger, tmp_path / "cache")

    assert refresh(ledger, tmp_path / "cache") == 0
    with path.open("ab") as stream:
        stream.write(line + b"\n")
    assert refresh(ledger, tmp_path / "cache") == 1
    with open_index(tmp_path / "cache") as database:
        assert queries.reach(database).skipped == 2
        assert queries.reach(database).done == path.stat().st_size
        assert "ab" * 32 in {version.digest for version in queries.versions(database)}


def test_requests_of_a_time_that_cannot_be_stand_in_no_sum(ledger: Path, tmp_path: Path) -> None:
    path = list_segments(ledger)[-1].path
    lines = [line for line in path.read_bytes().splitlines() if request_id(1).encode() in line]
    for number, year in ((8, b"2099"), (9, b"2001")):
        fresh = [line.replace(request_id(1).encode(), request_id(number).encode()) for line in lines]
        told = [re.sub(rb'("time":")\d{4}', rb"\g<1>" + year, line) for line in fresh if b"SHADOWED" not in line]
        path.write_bytes(path.read_bytes() + b"\n".join(told) + b"\n")
    refresh(ledger, tmp_path / "cache")

    with open_index(tmp_path / "cache") as database:
        first, last = queries.extent(database) or (0, 0)
        assert last - first < DAY
        assert queries.reach(database).skipped == 0
        assert queries.reach(database).mistimed > 2
        assert queries.find_request(database, request_id(8)) is not None
        assert sum(number for _, _, number in queries.outcomes(database, queries.Span())) == 2
        assert sum(row["requests"] for row in queries.totals(database, "tenant")) == 2
