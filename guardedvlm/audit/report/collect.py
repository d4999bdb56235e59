"""Collects what a ledger says: verifies each log first, then counts the records that verified, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from guardedvlm.audit.checkpoint import CheckpointFile
from guardedvlm.audit.completeness import LedgerVerdict, LogVerdict, verify_logs
from guardedvlm.audit.facts import PolicyInForce
from guardedvlm.audit.keys import PublicKeys
from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.report.count import Activity, Counting, Period
from guardedvlm.audit.report.measured import Measured
from guardedvlm.audit.review.desk import LOG
from guardedvlm.audit.review.risk import Row, residual_risk, reviewed_samples
from guardedvlm.audit.reviewed import Basis, Destroyed, Destruction, Incident, Marked, Sampled, Viewed
from guardedvlm.audit.verify import verified_records
from guardedvlm.errors import Reason

SHORT = frozenset({LOG, "pruning"})
"""Logs that are opened for each entry: that is no start of the service."""
_OF_REVIEW = ("sampled", "marked", "incident")
"""Facts of the review that name a sample's tenant."""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy that came into force, was replaced or went away, as one replica recorded it."""

    at: datetime
    origin: str
    name: str
    old: str  # digest, "" = there was none, or this is the log's first word of it
    new: str  # digest, "" = it went away
    told: PolicyInForce | None
    is_kept: bool = False  # its new file is broken: the old policy stays


@dataclass(slots=True)
class Review:
    """What blind review left in the period."""

    kept: Counter[Basis] = field(default_factory=Counter)
    failures: Counter[Reason] = field(default_factory=Counter)
    views: int = 0
    reviewers: set[str] = field(default_factory=set)
    marks: list[Marked] = field(default_factory=list)
    destroyed: Counter[Destruction] = field(default_factory=Counter)
    incidents: dict[str, tuple[datetime, Incident]] = field(default_factory=dict)  # by sample

    @property
    def rows(self) -> tuple[Row, ...]:
        """Residual risk."""
        return residual_risk(reviewed_samples(self.marks))


@dataclass(slots=True)
class Running:
    """What the service's own records say of the period."""

    starts: list[datetime] = field(default_factory=list)
    torn: int = 0  # starts that cut off an incomplete record
    resumed: list[datetime] = field(default_factory=list)  # writing works again after a failure
    shadowed: int = 0
    shadow_failures: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the report is made of."""

    tenant: str  # pseudonym, "" = all tenants
    period: Period
    activity: Activity
    changes: tuple[PolicyChange, ...]
    review: Review
    running: Running
    verdict: LedgerVerdict
    compared: bool  # with checkpoints from elsewhere
    names_tenant: bool  # whether a verified record, in the period or not, names the tenant
    measured: tuple[Measured, ...]

    @property
    def logs(self) -> tuple[LogVerdict, ...]:
        """What verification said of each log."""
        return self.verdict.logs

    @property
    def records(self) -> int:
        """Records that are there and verified."""
        return sum(log.report.records - log.report.pruned for log in self.logs if log.report is not None)

    @property
    def is_whole(self) -> bool:
        """Whether every log verified, and nothing says that one is not complete."""
        return self.verdict.is_good


def collect(
    ledger: Path,
    period: Period,
    tenant: str = "",
    measured: tuple[Measured, ...] = (),
    *,
    given: CheckpointFile | None = None,
    keys: PublicKeys | None = None,
) -> Evidence:
    """Verify a ledger, with `given` and `keys` as `verify_logs` takes them, and count it. Raises ConfigurationError."""
    verdict = verify_logs(ledger, given, keys)
    counting = Counting(period, tenant)
    reviewing, running, changes = _Reviewing(period, tenant), Running(), _Changes()
    found, tenants = {log.name: log.report for log in verdict.logs}, {""}
    for folder in list_logs(ledger):
        report = found.get(folder.name)
        for record in verified_records(folder, report) if report is not None else ():
            tenants |= _tenants(record.facts)
            counting.take(record)
            changes.take(record)
            reviewing.take(record)
            if period.has(record.at) and folder.name not in SHORT:
                _take_running(running, record)
    activity = counting.finish()
    names = {name for name, _ in activity.policies} if tenant else None
    told = tuple(one for one in changes.found if period.has(one.at) and (names is None or one.name in names))
    reviewed = reviewing.finish()
    return Evidence(
        tenant, period, activity, told, reviewed, running, verdict, given is not None, tenant in tenants, measured
    )


def _tenants(facts: Mapping[str, Any]) -> set[str]:
    """Those that a record names: a request's own, or a sample's."""
    return {told["tenant"] for told in (facts, *(facts.get(name, {}) for name in _OF_REVIEW)) if "tenant" in told}


class _Changes:
    """Follows the policies in force, replica by replica."""

    def __init__(self) -> None:
        self.found: list[PolicyChange] = []
        self._in_force: dict[str, dict[str, str]] = {}

    def take(self, record: Record) -> None:
        if record.event is not LedgerEvent.POLICIES:
            return
        told = {one["name"]: one for one in record.facts["policies"]}
        after = {name: one["digest"] for name, one in told.items()}
        before = self._in_force.get(record.origin, {})
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                change = before.get(name, ""), after.get(name, ""), told.get(name)
                self.found.append(PolicyChange(record.at, record.origin, name, *change))
        for name in record.facts.get("policies_kept", ()):
            kept = after.get(name, "")
            self.found.append(PolicyChange(record.at, record.origin, name, kept, kept, told.get(name), is_kept=True))
        self._in_force[record.origin] = after


class _Reviewing:
    """Follows blind review. A view and a destruction name a sample alone; whose it is, its SAMPLED record says."""

    def __init__(self, period: Period, tenant: str) -> None:
        self._period, self._tenant = period, tenant
        self._found = Review()
        self._own: set[str] = set()
        self._views: list[Viewed] = []
        self._destroyed: list[Destroyed] = []

    def take(self, record: Record) -> None:
        facts, is_now = record.facts, self._period.has(record.at)
        if record.event is LedgerEvent.SAMPLED and self._is_own(facts["sampled"]["tenant"]):
            self._sampled(facts["sampled"], is_now=is_now)
        elif record.event is LedgerEvent.VIEWED and is_now:
            self._views.append(facts["viewed"])
        elif record.event is LedgerEvent.DESTROYED and is_now:
            self._destroyed.append(facts["destroyed"])
        elif record.event is LedgerEvent.MARKED and is_now and self._is_own(facts["marked"]["tenant"]):
            self._found.marks.append(facts["marked"])
        elif record.event is LedgerEvent.INCIDENT and is_now and self._is_own(facts["incident"]["tenant"]):
            self._found.incidents.setdefault(facts["incident"]["sample"], (record.at, facts["incident"]))

    def finish(self) -> Review:
        views = [one for one in self._views if not self._tenant or one["sample"] in self._own]
        self._found.views, self._found.reviewers = len(views), {one["reviewer"] for one in views}
        gone = {one["sample"]: one["cause"] for one in self._destroyed}  # once, whoever wrote it down
        self._found.destroyed.update(c for s, c in gone.items() if not self._tenant or s in self._own)
        return self._found

    def _is_own(self, tenant: str) -> bool:
        return self._tenant in ("", tenant)

    def _sampled(self, sampled: Sampled, *, is_now: bool) -> None:
        self._own.add(sampled.get("sample", ""))
        if is_now and "failure" in sampled:
            self._found.failures[sampled["failure"]] += 1
        elif is_now:
            self._found.kept[sampled["basis"]] += 1


def _take_running(running: Running, record: Record) -> None:
    if record.event is LedgerEvent.OPENED:
        running.starts.append(record.at)
        running.torn += record.facts["torn_bytes"] > 0
    elif record.event is LedgerEvent.RESUMED:
        running.resumed.append(record.at)
    elif record.event is LedgerEvent.SHADOWED:
        running.shadowed += 1
        running.shadow_failures += "failure" in record.facts["shadow"]
