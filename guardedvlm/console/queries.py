"""What the pages ask the index. Every value is bound, never written into the SQL."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guardedvlm.audit.record import LedgerEvent
from guardedvlm.console.filters import DIGITS, PAGE, Filters
from guardedvlm.console.fold import DAY, EARLIEST, HOUR, UNFINISHED

COUNTED = 10_000
"""A search that finds more says so; counting on would take longer than the page."""
_HIGHEST = "g"
"""Sorts after every hex digit: the end of what begins with a prefix."""
Values = list[Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a search: rows, newest first, how many there are in all (at most COUNTED + 1), and where the next page
    begins."""

    rows: Sequence[sqlite3.Row]
    total: int
    following: str


@dataclass(frozen=True, slots=True)
class Span:
    """What the overview is about; "" and None are all."""

    since: int | None = None
    until: int | None = None
    tenant: str = ""
    policy: str = ""

    @property
    def step(self) -> int:
        """Which sums are added: hours for up to two days, else whole days."""
        if self.since is None or self.until is None:
            return DAY
        return HOUR if self.until - self.since <= 2 * DAY else DAY


def search(database: sqlite3.Connection, filters: Filters) -> Found:
    """The requests that fit, newest first."""
    source, where, values = _conditions(filters)
    sql = f"SELECT 1 FROM {source} WHERE {where} LIMIT ?"  # noqa: S608  # fixed texts
    total = database.execute(f"SELECT COUNT(*) FROM ({sql})", (*values, COUNTED + 1)).fetchone()[0]  # noqa: S608
    lead = "k.began, k.request" if filters.by_kind else "r.began, r.id"
    if filters.before:
        where += f" AND ({lead}) < (?, ?)"
        values += filters.before
    first, second = lead.split(", ")
    sql = f"SELECT r.* FROM {source} WHERE {where} ORDER BY {first} DESC, {second} DESC LIMIT ?"  # noqa: S608
    rows = database.execute(sql, (*values, PAGE + 1)).fetchall()
    following = f"{rows[PAGE - 1]['began']}.{rows[PAGE - 1]['id']}" if len(rows) > PAGE else ""
    return Found(rows[:PAGE], total, following)


def _conditions(filters: Filters) -> tuple[str, str, Values]:
    """Tables, condition and values. A search for a kind begins at the kinds' own table, which is in order of time,
    unless something rarer is asked for as well."""
    source, began = "requests r", "r.began"
    where, values = ["1"], Values()
    if filters.by_kind:
        source, began = "regions k CROSS JOIN requests r ON r.id = k.request", "k.began"
        where.append("k.kind = ?")
        values.append(filters.kind)
    elif filters.kind:
        where.append("EXISTS (SELECT 1 FROM regions k WHERE k.kind = ? AND k.began = r.began AND k.request = r.id)")
        values.append(filters.kind)
    for sign, moment in ((">=", filters.since), ("<", filters.until)):
        if moment is not None:
            where.append(f"{began} {sign} ?")
            values.append(moment)
    for name in ("outcome", "reason", "method"):
        if value := getattr(filters, name):
            # The index of reasons leaves out who has none.
            where.append(f"r.{name} = ? AND r.{name} != ''")
            values.append(value)
    for name, digits in DIGITS.items():
        if value := getattr(filters, name):
            whole = len(value) == digits
            # A beginning cannot be looked up in order of time: a plus keeps SQLite from sorting all that it finds.
            column = f"r.{name}" if whole or name == "request" else f"+r.{name}"
            where.append(f"{column} = ?" if whole else f"{column} >= ? AND {column} < ?")
            values += [value] if whole else [value, value + _HIGHEST]
    return source, " AND ".join(where), values


def find_request(database: sqlite3.Connection, request: str) -> sqlite3.Row | None:
    """One request's row."""
    row: sqlite3.Row | None = database.execute("SELECT * FROM requests WHERE request = ?", (request,)).fetchone()
    return row


def _of(span: Span, time: str) -> tuple[str, Values]:
    where, values = (["step = ?"], Values([span.step])) if time == "at" else (["1"], Values())
    for sign, moment in ((">=", span.since), ("<", span.until)):
        if moment is not None:
            where.append(f"{time} {sign} ?")
            values.append(moment)
    for name in ("tenant", "policy"):
        if value := getattr(span, name):
            where.append(f"{name} >= ? AND {name} < ?")
            values += [value, value + _HIGHEST]
    return " AND ".join(where), values


def outcomes(database: sqlite3.Connection, span: Span) -> list[tuple[int, str, int]]:
    """Finished requests by hour or day, and outcome."""
    where, values = _of(span, "at")
    sql = f"SELECT at, outcome, SUM(requests) FROM outcomes WHERE {where} GROUP BY 1, 2 ORDER BY 1"  # noqa: S608
    return [tuple(row) for row in database.execute(sql, values)]


def kinds(database: sqlite3.Connection, span: Span) -> list[tuple[int, str, int]]:
    """Hidden regions by hour or day, and kind."""
    where, values = _of(span, "at")
    sql = f"SELECT at, kind, SUM(regions) FROM kinds WHERE {where} GROUP BY 1, 2 ORDER BY 1"  # noqa: S608
    return [tuple(row) for row in database.execute(sql, values)]


def reasons(database: sqlite3.Connection, span: Span) -> list[tuple[str, int]]:
    """Refusals by reason, most first."""
    where, values = _of(span, "at")
    sql = f"SELECT reason, SUM(requests) FROM outcomes WHERE {where} AND reason != '' GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608
    return [tuple(row) for row in database.execute(sql, values)]


def shares(database: sqlite3.Connection, span: Span, column: str) -> list[sqlite3.Row]:
    """Requests and refusals by tenant or policy. `column` is one of the two."""
    where, values = _of(span, "at")
    name = {"tenant": "tenant", "policy": "policy"}[column]
    sql = (
        f"SELECT {name} AS name, SUM(requests) AS requests, SUM(CASE WHEN outcome = 'REFUSED' THEN requests ELSE 0 END)"  # noqa: S608
        f" AS refused, MAX(at) AS last FROM outcomes WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    return database.execute(sql, values).fetchall()


def totals(database: sqlite3.Connection, what: str) -> list[sqlite3.Row]:
    """All finished requests by `what` (tenant or policy), most first: name, label, requests, refused, first, last."""
    sql = "SELECT name, label, requests, refused, first, last FROM totals WHERE what = ? ORDER BY requests DESC, name"
    return database.execute(sql, (what,)).fetchall()


def unfinished(database: sqlite3.Connection, span: Span) -> int:
    """Requests without an end."""
    where, values = _of(span, "began")
    sql = f"SELECT COUNT(*) FROM requests WHERE outcome = ? AND {where}"  # noqa: S608
    return int(database.execute(sql, (UNFINISHED, *values)).fetchone()[0])


def extent(database: sqlite3.Connection) -> tuple[int, int] | None:
    """When the first and the last request of the index began, of those whose time can be; None where there is none."""
    sql = "SELECT MIN(began), MAX(began) FROM requests WHERE began BETWEEN ? AND ?"
    first, last = database.execute(sql, (EARLIEST, int(time.time() * 1000) + DAY)).fetchone()
    return None if first is None else (first, last)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the index has come: bytes read of all there are, lines, those that are no records, and records whose time
    cannot be."""

    done: int
    total: int
    records: int
    skipped: int
    mistimed: int

    @property
    def complete(self) -> bool:
        """Whether everything that was there at the last look is in; the last line may still be being written."""
        return self.done >= self.total - 1_000_000 and self.records > 0


def reach(database: sqlite3.Connection) -> Reach:
    """How far the index has come."""
    total = database.execute("SELECT value FROM meta WHERE key = 'bytes'").fetchone()
    found = database.execute("SELECT SUM(done), SUM(records), SUM(skipped), SUM(mistimed) FROM logs").fetchone()
    done, *counts = (number or 0 for number in found)
    return Reach(done, int(total[0]) if total else 0, *counts)


@dataclass(frozen=True, slots=True)
class Version:
    """A policy version that the ledger names: first and last hour of a request under it, and how many there were;
    `loaded` are the times at which a process said that it is in force."""

    digest: str
    name: str
    requests: int
    refused: int
    first: int | None
    last: int | None
    loaded: tuple[int, ...]


def versions(database: sqlite3.Connection) -> list[Version]:
    """Every policy version of the ledger, the one used last first."""
    used = {row["name"]: row for row in totals(database, "policy") if row["name"]}
    announced, loaded = _announced(database)
    names = {digest: row["label"] for digest, row in used.items()} | announced
    found = [
        Version(
            digest,
            name,
            used[digest]["requests"] if digest in used else 0,
            used[digest]["refused"] if digest in used else 0,
            used[digest]["first"] if digest in used else None,
            used[digest]["last"] + HOUR if digest in used else None,
            tuple(loaded.get(digest, ())),
        )
        for digest, name in names.items()
    ]
    return sorted(found, key=lambda one: (-(one.last or 0), -(max(one.loaded, default=0)), one.name, one.digest))


def _announced(database: sqlite3.Connection) -> tuple[dict[str, str], dict[str, list[int]]]:
    names: dict[str, str] = {}
    loaded: dict[str, list[int]] = {}
    sql = "SELECT at, told FROM events WHERE event = ? ORDER BY at"
    for at, told in database.execute(sql, (LedgerEvent.POLICIES.value,)):
        for policy in json.loads(told).get("policies", []):
            names[policy["digest"]] = policy["name"]
            loaded.setdefault(policy["digest"], []).append(at)
    return names, loaded


def events(database: sqlite3.Connection, limit: int = 50) -> list[sqlite3.Row]:
    """The newest events of the ledger itself, with the name of their log."""
    sql = (
        "SELECT e.sequence, e.at, e.event, e.told, l.name AS log FROM events e JOIN logs l ON l.id = e.log "
        "ORDER BY e.at DESC, e.sequence DESC LIMIT ?"
    )
    return database.execute(sql, (limit,)).fetchall()


def log_names(database: sqlite3.Connection) -> dict[int, str]:
    """The folders' names behind the numbers in `Row.places`."""
    return {row["id"]: row["name"] for row in database.execute("SELECT id, name FROM logs")}
