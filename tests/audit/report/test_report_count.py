"""What the report counts is what a slow count counts, whatever the order of logs and records."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.audit.facts import Method, VerifyVerdict
from guardedvlm.audit.record import LedgerEvent, Record
from guardedvlm.audit.report.charts import COLUMNS, WIDTH, bars, columns
from guardedvlm.audit.report.count import Outcome, Period, counted
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import FINAL, TRANSITIONS, State
from guardedvlm.errors import Reason

DAY = datetime(2026, 3, 1, tzinfo=UTC)
TENANTS = ["a1" * 16, "b2" * 16]
KINDS = [Kind.FACE, Kind.DATE]
POLICIES = [{"name": "one", "digest": "01" * 32}, {"name": "one", "digest": "02" * 32}]


def facts_of(state, dice):
    """What a record of this state may say."""
    told = {
        State.RECEIVED: lambda: {"method": dice.choice([Method.ANALYZE_IMAGE, Method.REDACT_IMAGE])},
        State.ADMITTED: lambda: {
            "tenant": dice.choice(TENANTS),
            "caller": dice.choice(["c3" * 16, "d4" * 16]),
            "policy": dice.choice(POLICIES),
        },
        State.DECODED: lambda: {"pages": dice.randint(1, 3)},
        State.REDACTED: lambda: {"regions": {kind: dice.randint(0, 4) for kind in dice.sample(KINDS, 1)}},
        State.CLEARED: lambda: {
            "verification": {
                "verdict": VerifyVerdict.CLEARED,
                "passes": dice.randint(1, 4),
                "residual": {Kind.FACE: dice.randint(1, 2)} if dice.random() < 0.5 else {},
            }
        },
        State.REFUSED: lambda: {"reason": dice.choice([Reason.RESIDUAL_FOUND, Reason.INTERNAL])},
    }
    return told.get(state, dict)()


def lives_of(dice):
    """Records of a few requests: each a way through the table of states, at times of its own."""
    records = []
    for number in range(dice.randint(0, 6)):
        at = DAY + timedelta(hours=dice.randint(0, 24 * 6))
        state, going = State.RECEIVED, True
        while going:
            records.append(record(state, f"{number:032x}", at, facts_of(state, dice)))
            following = sorted(TRANSITIONS[state])
            going = bool(following) and dice.random() > 0.1
            if going:
                state = dice.choice(following)
                at += timedelta(minutes=dice.randint(0, 600))
    return sorted(records, key=lambda one: one.at)


def record(event, request, at, facts):
    return Record.model_construct(
        event=event,
        request=request,
        facts=facts,
        version=1,
        sequence=0,
        previous="0" * 64,
        salt="0" * 32,
        time=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        origin="e5" * 16,
    )


def slowly(records, period, tenant):
    """One request at a time, each asked about all records."""
    found = {"outcomes": Counter(), "days": Counter(), "refusals": Counter(), "regions": Counter(), "pages": 0}
    found |= {"nobody": 0, "callers": set(), "residuals": Counter(), "policies": Counter(), "methods": Counter()}
    for request in {one.request for one in records}:
        own = [one for one in records if one.request == request]
        facts = {name: value for one in own for name, value in one.facts.items()}
        began = next(one.at for one in own if one.event is State.RECEIVED)
        if not period.since <= began.date() <= period.until:
            continue
        found["nobody"] += "tenant" not in facts
        if tenant and facts.get("tenant") != tenant:
            continue
        ended = [one.event for one in own if one.event in FINAL]
        outcome = Outcome(ended[0].value.lower()) if ended else Outcome.UNFINISHED
        found["outcomes"][outcome] += 1
        found["days"][began.date(), outcome] += 1
        found["methods"][facts["method"], outcome] += 1
        found["refusals"].update([facts["reason"]] if "reason" in facts else [])
        found["regions"].update(facts.get("regions", {}))
        found["pages"] += facts.get("pages", 0)
        found["callers"] |= {facts["caller"]} if "caller" in facts else set()
        found["residuals"].update(facts.get("verification", {}).get("residual", {}))
        found["policies"].update([(facts["policy"]["name"], facts["policy"]["digest"])] if "policy" in facts else [])
    return found


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(["", *TENANTS]), st.integers(0, 6), st.integers(0, 6))
def test_counts_are_those_of_a_slow_count(seed, tenant, since, length):
    dice = random.Random(seed)
    records = lives_of(dice)
    start = (DAY + timedelta(days=since)).date()
    period = Period(start, start + timedelta(days=length))
    expected = slowly(records, period, tenant)
    # A request's first record, which has no tenant yet, may lie in another log than its others.
    elsewhere = [one for one in records if one.event is State.RECEIVED and dice.random() < 0.5]
    rest = [one for one in records if one not in elsewhere]
    for some in (records, [*elsewhere, *rest], [*rest, *elsewhere]):
        activity = counted(some, period, tenant)
        for name in ("outcomes", "days", "methods", "refusals", "pages", "nobody", "callers", "residuals"):
            assert getattr(activity, name) == expected[name], name
        assert +activity.regions == +expected["regions"]
        assert {key: use.requests for key, use in activity.policies.items()} == expected["policies"]
        assert activity.requests == sum(expected["outcomes"].values())


def test_records_of_the_ledger_itself_are_no_requests():
    opened = record(LedgerEvent.OPENED, None, DAY, {"torn_bytes": 0})
    assert counted([opened], Period(DAY.date(), DAY.date())).requests == 0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_the_least_time_that_so_many_did_not_exceed(times, share):
    activity = counted([], Period(DAY.date(), DAY.date()))
    activity.milliseconds.extend(times)
    found = activity.quantile(share)
    assert sum(time <= found for time in times) >= share * len(times)
    below = [time for time in times if time < found]
    assert len(below) < share * len(times)


@given(
    st.dictionaries(st.integers(0, 2500), st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30),
    st.integers(0, 3000),
)
def test_the_columns_of_a_chart_are_as_high_as_their_counts(days, length):
    since = date(2020, 1, 1)
    until = since + timedelta(days=max(length, *days, 0))
    counts = {since + timedelta(days=day): pair for day, pair in days.items()}
    chart = columns(counts, since, until, "x")
    for bar in chart.bars:
        assert -0.01 <= bar.x <= bar.x + bar.width <= WIDTH + 0.01
        assert 3.99 <= bar.y <= bar.y + bar.height <= chart.height + 0.01
    heights = {tone: sum(b.height for b in chart.bars if b.tone == tone) for tone in ("main", "second")}
    most = int(chart.words[0].text.replace(",", ""))
    for tone, index in (("main", 0), ("second", 1)):
        assert abs(heights[tone] * most / COLUMNS - sum(pair[index] for pair in days.values())) < 0.01


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 10**9), max_size=14))
def test_bars_are_as_long_as_their_counts(counts):
    chart = bars(counts, "x")
    most = max(counts.values(), default=0)
    for bar, count in zip(chart.bars, counts.values(), strict=True):
        assert bar.x + bar.width <= WIDTH
        assert abs(bar.width - 270 * count / max(most, 1)) <= 0.5
