"""From lines of a ledger to rows of the index: what a request comes to, folded record by record.

Only records in canonical form come here; whether they are the ones that were written is checked where they are shown
(`console.story`) and by `audit.verify`. A request whose time cannot be is found by a search, and stands in no sum.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from guardedvlm.audit.record import LedgerEvent
from guardedvlm.core.lifecycle import FINAL, State

HOUR = 3_600_000
"""Milliseconds."""
DAY = 24 * HOUR
EARLIEST = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""No record of this product is older."""
STEPS = (HOUR, DAY)
"""Sums are kept for each hour and for each day (UTC): a year by hours would be too much to add up for one page."""
MOST = 2**53
"""Larger than any number that a record may state."""
UNFINISHED = "UNFINISHED"
"""Outcome of a request without a closing record."""
_FINAL = frozenset(state.value for state in FINAL)
_LEDGER = frozenset(event.value for event in LedgerEvent)


@dataclass(slots=True)
class Row:
    """A request as the index knows it; times in milliseconds since 1970. `places` are `log:segment:offset` of its
    records, `shadow` those of what a candidate policy said of it."""

    id: int
    request: str
    began: int
    ended: int
    outcome: str = UNFINISHED
    reason: str = ""
    method: str = ""
    tenant: str = ""
    policy: str = ""
    policy_name: str = ""
    verification: str = ""
    pages: int = 0
    hidden: int = 0
    milliseconds: int = 0
    regions: str = ""
    places: str = ""
    shadow: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the ledger itself; `told` is JSON of its facts."""

    log: int
    sequence: int
    at: int
    event: str
    told: str


@dataclass(slots=True)
class Total:
    """All finished requests of one tenant or policy version; `label` is a policy's name."""

    label: str
    requests: int = 0
    refused: int = 0
    first: int = MOST
    last: int = 0


@dataclass(slots=True)
class Batch:
    """What a run of lines adds to the index."""

    rows: dict[str, Row] = field(default_factory=dict)
    regions: dict[tuple[str, int, int], int] = field(default_factory=dict)
    outcomes: Counter[tuple[int, int, str, str, str, str]] = field(default_factory=Counter)
    kinds: Counter[tuple[int, int, str, str, str]] = field(default_factory=Counter)
    totals: dict[tuple[str, str], Total] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    now: int = field(default_factory=lambda: int(time.time() * 1000))

    def fold(self, said: dict[str, Any], place: str, row: Row) -> None:
        """Add a record of a request. Raises KeyError, TypeError or ValueError when it is not one."""
        facts, event, at = said["facts"], said["event"], milliseconds(said["time"])
        row.ended = max(row.ended, at)
        row.places = f"{row.places} {place}".lstrip()
        row.method = str(facts.get("method", row.method))
        row.tenant = str(facts.get("tenant", row.tenant))
        row.pages = _number(facts.get("pages", row.pages))
        row.reason = str(facts.get("reason", row.reason))
        row.milliseconds = _number(facts.get("timings", {}).get("total", row.milliseconds))
        if policy := facts.get("policy"):
            row.policy, row.policy_name = str(policy["digest"]), str(policy["name"])
        if checked := facts.get("verification"):
            row.verification = str(checked["verdict"])
        if (found := facts.get("regions")) is not None:
            self._regions(row, found)
        if event in _FINAL and row.outcome == UNFINISHED:
            self._finish(row, event)

    def _regions(self, row: Row, found: dict[str, int]) -> None:
        counts = {str(kind): _number(count) for kind, count in found.items() if count}
        row.regions = json.dumps(counts, sort_keys=True) if counts else ""
        row.hidden = sum(counts.values())
        for kind, count in counts.items():
            self.regions[kind, row.began, row.id] = count

    def _finish(self, row: Row, event: str) -> None:
        row.outcome = event
        if not is_plausible(row.began, self.now):
            return
        hour = row.began - row.began % HOUR
        for what, name, label in (("tenant", row.tenant, ""), ("policy", row.policy, row.policy_name)):
            total = self.totals.setdefault((what, name), Total(label))
            total.requests += 1
            total.refused += event == State.REFUSED
            total.first, total.last = min(total.first, hour), max(total.last, hour)
        regions: dict[str, int] = json.loads(row.regions) if row.regions else {}
        for step in STEPS:
            at = row.began - row.began % step
            self.outcomes[step, at, row.tenant, row.policy, event, row.reason] += 1
            for kind, count in regions.items():
                self.kinds[step, at, row.tenant, row.policy, kind] += count


def is_plausible(at: int, now: int) -> bool:
    """Whether a record can be of this time; clocks may differ by a day."""
    return EARLIEST <= at <= now + DAY


def is_ledger_event(said: dict[str, Any]) -> bool:
    """Whether a record is of the ledger itself. Raises KeyError when it is no record."""
    return said["event"] in _LEDGER


def _number(value: Any) -> int:
    """A count that SQLite can hold. Raises TypeError or ValueError."""
    return max(0, min(int(value), MOST))


def milliseconds(time: str) -> int:
    """A record's time in milliseconds since 1970. Raises ValueError."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
