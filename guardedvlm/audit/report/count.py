"""Counts requests: one pass over records, log by log in any order, as much memory as there are requests in flight.
Within a log a request's records are in their order; its first, which names no tenant, may lie in another log.

A request belongs to the day on which it was received (UTC), and to the tenant that its ADMITTED record names; one that
was refused before that belongs to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from guardedvlm.audit.facts import Facts, Method, Stage
from guardedvlm.audit.record import Record
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import FINAL, State
from guardedvlm.core.topic import Topic
from guardedvlm.errors import Reason


class Outcome(StrEnum):
    """How a request ended, as far as the ledger knows."""

    RELEASED = "released"
    REFUSED = "refused"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `since` to `until`, both included, UTC. Raises ValueError when there are none."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError("a period has a day")

    def has(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.since <= moment.date() <= self.until


@dataclass(slots=True)
class Use:
    """How often something was in use, and when first and last."""

    requests: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def count(self, at: datetime) -> None:
        """One more request, received `at`."""
        self.requests += 1
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)


@dataclass(slots=True)
class Activity:
    """What a tenant's requests of a period amount to."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    methods: Counter[tuple[Method, Outcome]] = field(default_factory=Counter)
    days: Counter[tuple[date, Outcome]] = field(default_factory=Counter)
    refusals: Counter[Reason] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    regions: Counter[Kind] = field(default_factory=Counter)
    with_kind: Counter[Kind] = field(default_factory=Counter)  # requests in which something of it was hidden
    verified: int = 0  # requests whose final pixels passed verification
    passes: Counter[int] = field(default_factory=Counter)
    residuals: Counter[Kind] = field(default_factory=Counter)  # what only the verifiers found, and was then hidden
    questions: Counter[str] = field(default_factory=Counter)  # action of the screen
    answers: Counter[str] = field(default_factory=Counter)
    topics: Counter[Topic] = field(default_factory=Counter)
    grounding: Counter[str] = field(default_factory=Counter)
    instructed: int = 0  # requests whose picture spoke to the model
    sealed: int = 0  # requests whose labels left sealed, to be undone by the key's holder
    tokens: Counter[str] = field(default_factory=Counter)
    milliseconds: list[int] = field(default_factory=list)
    policies: dict[tuple[str, str], Use] = field(default_factory=dict)  # (name, digest)
    detectors: dict[tuple[str, str], Use] = field(default_factory=dict)
    models: dict[tuple[str, str], Use] = field(default_factory=dict)
    callers: set[str] = field(default_factory=set)
    nobody: int = 0  # requests of the period that ended before they had a tenant; of whom is not known

    @property
    def requests(self) -> int:
        """All that were counted."""
        return self.outcomes.total()

    def quantile(self, share: float) -> int | None:
        """Milliseconds that `share` of the requests with a time did not exceed (nearest rank); None without any."""
        times = sorted(self.milliseconds)
        return times[max(0, -(-int(share * 100) * len(times) // 100) - 1)] if times else None


@dataclass(slots=True)
class _Open:
    """A request that is being read."""

    facts: dict[str, Any] = field(default_factory=dict)
    began: datetime | None = None
    ended: State | None = None


class Counting:
    """Counts the requests of `tenant` (a pseudonym, "" = all) that were received in `period`."""

    def __init__(self, period: Period, tenant: str = "") -> None:
        self.activity = Activity()
        self._period = period
        self._tenant = tenant
        self._open: dict[str, _Open] = {}

    def take(self, record: Record) -> None:
        """Count what a record tells of a request; records of the ledger itself tell nothing."""
        if record.request is None or not isinstance(record.event, State):
            return
        one = self._open.setdefault(record.request, _Open())
        one.facts.update(record.facts)
        if record.event is State.RECEIVED:
            one.began = record.at
        if record.event in FINAL:
            one.ended = record.event
        if one.began is not None and one.ended is not None:
            self._count(self._open.pop(record.request))

    def finish(self) -> Activity:
        """The counts, with what did not end. Nothing is to be taken afterwards."""
        for one in self._open.values():
            self._count(one)
        self._open.clear()
        return self.activity

    def _count(self, one: _Open) -> None:
        if one.began is None or not self._period.has(one.began):
            return
        facts = Facts(**one.facts)  # type: ignore[typeddict-item]  # the facts of one request, as its records state them
        if "tenant" not in facts:
            self.activity.nobody += 1
        if self._tenant in ("", facts.get("tenant")):
            _add(self.activity, facts, one.began, _outcome(one.ended))


def counted(records: Iterable[Record], period: Period, tenant: str = "") -> Activity:
    """The activity that `records` tell of."""
    counting = Counting(period, tenant)
    for record in records:
        counting.take(record)
    return counting.finish()


def _outcome(ended: State | None) -> Outcome:
    if ended is None:
        return Outcome.UNFINISHED
    return Outcome.RELEASED if ended is State.RELEASED else Outcome.REFUSED


def _add(activity: Activity, facts: Facts, began: datetime, outcome: Outcome) -> None:
    activity.outcomes[outcome] += 1
    activity.days[began.date(), outcome] += 1
    if "method" in facts:
        activity.methods[facts["method"], outcome] += 1
    if "reason" in facts:
        activity.refusals[facts["reason"]] += 1
    if "caller" in facts:
        activity.callers.add(facts["caller"])
    _add_document(activity, facts)
    _add_screens(activity, facts)
    _add_uses(activity, facts, began)


def _add_document(activity: Activity, facts: Facts) -> None:
    activity.pages += facts.get("pages", 0)
    if "media" in facts:
        activity.media[facts["media"].value] += 1
    regions = facts.get("regions", {})
    activity.regions.update(regions)
    activity.with_kind.update(kind for kind, count in regions.items() if count)
    if "verification" in facts:
        activity.verified += 1
        activity.passes[facts["verification"]["passes"]] += 1
        activity.residuals.update(facts["verification"]["residual"])
    if Stage.TOTAL in facts.get("timings", {}):
        activity.milliseconds.append(facts["timings"][Stage.TOTAL])


def _add_screens(activity: Activity, facts: Facts) -> None:
    if "prompt_screen" in facts:
        activity.questions[facts["prompt_screen"]["action"].value] += 1
        activity.topics.update(facts["prompt_screen"].get("topics", ()))
    if "answer_screen" in facts:
        activity.answers[facts["answer_screen"]["action"].value] += 1
        activity.topics.update(facts["answer_screen"].get("topics", ()))
    activity.grounding.update({ground.value: count for ground, count in facts.get("grounding", {}).items()})
    activity.instructed += facts.get("instructions", 0) > 0
    activity.sealed += facts.get("sealed_labels", 0) > 0
    activity.tokens["input"] += facts.get("input_tokens", 0)
    activity.tokens["output"] += facts.get("output_tokens", 0)


def _add_uses(activity: Activity, facts: Facts, began: datetime) -> None:
    if "policy" in facts:
        policy = facts["policy"]
        activity.policies.setdefault((policy["name"], policy["digest"]), Use()).count(began)
    for detector in facts.get("detectors", ()):
        activity.detectors.setdefault((detector["name"], detector["digest"]), Use()).count(began)
    if "model" in facts:
        activity.models.setdefault((facts["model"]["name"], facts["model"]["digest"]), Use()).count(began)
