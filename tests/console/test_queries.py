"""Searches find what a plain look at every row finds, each once, newest first."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_ledger import KINDS, POLICIES, REASONS

from guardedvlm.console.filters import OUTCOMES, PAGE, Filters, read_filters
from guardedvlm.console.index import open_index
from guardedvlm.console.queries import COUNTED, Span, kinds, outcomes, reasons, search, shares, versions

SEARCHES = st.fixed_dictionaries(
    {},
    optional={
        "outcome": st.sampled_from(OUTCOMES),
        "reason": st.sampled_from(REASONS),
        "kind": st.sampled_from(KINDS),
        "method": st.sampled_from(["AnalyzeImage", "RedactImage"]),
        "tenant": st.sampled_from(["b", "b1", "b2b2", "c"]),
        "policy": st.sampled_from(["a", "a1a1", "f1"]),
        "request": st.sampled_from(["0", "a", "ff"]),
    },
)


def fits(row: dict[str, object], filters: Filters) -> bool:
    regions = json.loads(str(row["regions"]) or "{}")
    return (
        all(str(row[name]).startswith(getattr(filters, name)) for name in ("tenant", "policy", "request"))
        and all(getattr(filters, name) in ("", row[name]) for name in ("outcome", "reason", "method"))
        and (not filters.kind or filters.kind in regions)
        and (filters.since is None or row["began"] >= filters.since)  # type: ignore[operator]
        and (filters.until is None or row["began"] < filters.until)  # type: ignore[operator]
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=SEARCHES, bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.none())
def test_pages_of_a_search_are_every_row_that_fits(
    large: Path, query: dict[str, str], bounds: tuple[float, float] | None
) -> None:
    with open_index(large / "cache") as database:
        rows = [dict(row) for row in database.execute("SELECT * FROM requests ORDER BY began DESC, id DESC")]
        first, last = rows[-1]["began"], rows[0]["began"]
        since, until = (int(first + part * (last - first)) for part in sorted(bounds)) if bounds else (None, None)
        filters = Filters(since=since, until=until, **query)
        expected = [row["request"] for row in rows if fits(row, filters)]
        found, before = [], ""
        while True:
            page = search(database, read_filters({**_written(filters), "before": before}))
            found += [row["request"] for row in page.rows]
            assert page.total == len(expected)
            assert len(page.rows) <= PAGE
            if not page.following:
                break
            before = page.following

    assert found == expected


def _written(filters: Filters) -> dict[str, str]:
    """Through the query string; its times are whole minutes, so these go in beside it."""
    names = ("request", "tenant", "policy", "outcome", "reason", "kind", "method")
    times = {"from": filters.since, "to": filters.until}
    return {name: getattr(filters, name) for name in names} | {
        name: _iso(value) for name, value in times.items() if value is not None
    }


def _iso(value: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")


def test_sums_of_the_overview(large: Path) -> None:
    span = Span()
    with open_index(large / "cache") as database:
        by_outcome = outcomes(database, span)
        by_kind = kinds(database, span)
        refused = dict(reasons(database, span))
        tenants = shares(database, span, "tenant")
        row = database.execute("SELECT COUNT(*), SUM(hidden) FROM requests WHERE outcome != 'UNFINISHED'").fetchone()

    assert sum(number for *_, number in by_outcome) == row[0] == sum(tenant["requests"] for tenant in tenants)
    assert sum(number for *_, number in by_kind) == row[1]
    assert sum(refused.values()) == sum(number for _, outcome, number in by_outcome if outcome == "REFUSED")


def test_a_span_narrows_the_sums(large: Path) -> None:
    with open_index(large / "cache") as database:
        everything = outcomes(database, Span())
        middle = everything[len(everything) // 2][0]  # a day
        later = outcomes(database, Span(since=middle))
        earlier = outcomes(database, Span(until=middle))
        policy = outcomes(database, Span(policy=POLICIES[2][1][:8]))
        nobody = outcomes(database, Span(tenant="ee"))

    assert sorted(earlier + later) == sorted(everything)
    assert 0 < sum(number for *_, number in policy) < sum(number for *_, number in everything)
    assert nobody == []


def test_versions_are_those_of_requests_and_of_starts(large: Path) -> None:
    with open_index(large / "cache") as database:
        found = {version.digest: version for version in versions(database)}

    assert found.keys() == {digest for _, digest in POLICIES}
    assert {digest for digest, version in found.items() if version.loaded} == {digest for _, digest in POLICIES[1:]}
    assert all(version.requests > version.refused > 0 for version in found.values())


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"outcome": "RELEASED' OR 1=1 --"}, ("outcome",)),
        ({"tenant": "b1%"}, ("tenant",)),
        ({"from": "yesterday", "to": "2026-13-01"}, ("from", "to")),
        ({"request": "x" * 40, "kind": "NOBODY"}, ("kind", "request")),
        ({"from": "0001-01-01T00:00:00+14:00"}, ("from",)),
    ],
)
def test_what_is_not_understood_filters_nothing_and_is_said(query: dict[str, str], wrong: tuple[str, ...]) -> None:
    assert read_filters(query).wrong == wrong


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40), name=st.sampled_from(["from", "to", "before", "tenant", "kind", "request"]))
def test_no_query_string_is_an_error(large: Path, text: str, name: str) -> None:
    with open_index(large / "cache") as database:
        assert search(database, read_filters({name: text})).total <= COUNTED + 1


def test_a_search_written_and_read_again_is_the_same() -> None:
    query = {"from": "2026-01-02T03:04", "tenant": "b1", "kind": "FACE", "outcome": "REFUSED"}
    filters = read_filters(query)
    from urllib.parse import parse_qsl

    assert read_filters(dict(parse_qsl(filters.query()))) == filters


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "9999-12-31T23:59:59.999999"])
def test_a_time_whose_offset_leads_out_of_the_calendar_is_wrong(text: str) -> None:
    for name in ("from", "to"):
        found = read_filters({name: text})
        assert found.wrong == (name,)
        assert found.query() == ""
    assert read_filters({"from": "9999-12-31T23:59:58"}).query() == "from=9999-12-31T23%3A59"
