"""Sections on what the service did: volumes, refusals, what was hidden, detectors and models, measured recall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

from guardedvlm.audit.report.charts import bars, columns
from guardedvlm.audit.report.collect import Evidence
from guardedvlm.audit.report.count import Activity, Outcome, Use
from guardedvlm.audit.report.document import Block, Cell, Code, Figure, Paragraph, Section, Table
from guardedvlm.audit.report.measured import Measured
from guardedvlm.core.share import Share
from guardedvlm.errors import SENTENCES

MOST_BARS = 14
"""Rows of a chart; the table under it has all."""


def volumes(evidence: Evidence) -> Section:
    """Requests by day and by method."""
    activity = evidence.activity
    if not activity.requests:
        return Section("volumes", "Volumes", (Paragraph("No request of the period is in the ledger."),))
    blocks: list[Block] = [_by_day(evidence), _by_method(activity), _sizes(activity)]
    return Section("volumes", "Volumes", tuple(blocks))


def _by_day(evidence: Evidence) -> Figure:
    days: dict[date, tuple[int, int]] = {}
    for (day, outcome), count in evidence.activity.days.items():
        released, others = days.get(day, (0, 0))
        is_released = outcome is Outcome.RELEASED
        days[day] = (released + count, others) if is_released else (released, others + count)
    told = "Requests by the day on which they were received (UTC): released below, refused or unfinished above."
    return Figure(columns(days, evidence.period.since, evidence.period.until, told), told)


def _by_method(activity: Activity) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in sorted({method for method, _ in activity.methods}):
        counts = [activity.methods[method, outcome] for outcome in Outcome]
        rows.append((method.value, *(f"{count:,}" for count in counts), f"{sum(counts):,}"))
    totals = [activity.outcomes[outcome] for outcome in Outcome]
    rows.append(("all", *(f"{count:,}" for count in totals), f"{sum(totals):,}"))
    head = ("call", "released", "refused", "unfinished", "all")
    return Table(head, tuple(rows), (0.4, 0.15, 0.15, 0.15, 0.15), frozenset({1, 2, 3, 4}), "Calls")


def _sizes(activity: Activity) -> Table:
    rows: list[tuple[Cell, ...]] = [
        ("callers (pseudonyms)", f"{len(activity.callers):,}"),
        ("pages decoded", f"{activity.pages:,}"),
        *((f"documents: {media}", f"{count:,}") for media, count in activity.media.most_common()),
        ("tokens read by the model", f"{activity.tokens['input']:,}"),
        ("tokens written by the model", f"{activity.tokens['output']:,}"),
    ]
    for name, share in (("median", 0.5), ("95 % quantile", 0.95)):
        if (milliseconds := activity.quantile(share)) is not None:
            rows.append((f"time of a request, {name}, n = {len(activity.milliseconds):,}", f"{milliseconds:,} ms"))
    return Table(("", "count"), tuple(rows), (0.7, 0.3), frozenset({1}), "Documents and work")


def refusals(evidence: Evidence) -> Section:
    """Why requests were refused."""
    found = evidence.activity.refusals
    if not found:
        return Section("refusals", "Refusals", (Paragraph("No request of the period was refused."),))
    rows = tuple((reason.value, SENTENCES[reason], f"{count:,}") for reason, count in found.most_common())
    table = Table(("reason", "what it means", "requests"), rows, (0.3, 0.55, 0.15), frozenset({2}))
    lead = Paragraph(
        "A request that is refused releases nothing. The reason is the one that the caller was told; a request has one."
    )
    return Section("refusals", "Refusals", (lead, _chart({r.value: n for r, n in found.items()}, "Refusals"), table))


def hidden(evidence: Evidence) -> Section:
    """What was hidden, what verification found, what the screens did."""
    activity = evidence.activity
    if not activity.regions and not activity.verified:
        return Section("hidden", "What was hidden", (Paragraph("Nothing was redacted in the period."),))
    rows = tuple(
        (kind.value, f"{count:,}", f"{activity.with_kind[kind]:,}", f"{activity.residuals[kind]:,}")
        for kind, count in activity.regions.most_common()
        if count
    )
    head = ("kind", "regions", "requests with one", "seen by verifiers only")
    kinds = Table(head, rows, (0.34, 0.18, 0.22, 0.26), frozenset({1, 2, 3}), "Hidden, by kind")
    more = activity.verified - activity.passes[1]
    lead = Paragraph(
        f"{activity.verified:,} requests had their final pixels verified and passed; {more:,} of them only after "
        "something that the verifiers still saw had been hidden as well. What cannot be cleared is refused "
        "(RESIDUAL_FOUND)."
    )
    counts = {kind.value: count for kind, count in activity.regions.items() if count}
    return Section("hidden", "What was hidden", (lead, _chart(counts, "Hidden regions"), kinds, _screens(activity)))


def _screens(activity: Activity) -> Table:
    rows: list[tuple[Cell, ...]] = [
        *((f"question: {action}", f"{count:,}") for action, count in sorted(activity.questions.items())),
        *((f"answer: {action}", f"{count:,}") for action, count in sorted(activity.answers.items())),
        *((f"topic met: {topic.value}", f"{count:,}") for topic, count in sorted(activity.topics.items())),
        *((f"claims in answers: {ground}", f"{count:,}") for ground, count in sorted(activity.grounding.items())),
        ("requests whose picture instructed the model", f"{activity.instructed:,}"),
        ("requests whose labels left sealed", f"{activity.sealed:,}"),
    ]
    return Table(("", "count"), tuple(rows), (0.7, 0.3), frozenset({1}), "What the screens did")


def detectors(evidence: Evidence) -> Section:
    """Which weights were in use, and when."""
    activity = evidence.activity
    title = "Detectors and models"
    if not activity.detectors and not activity.models:
        return Section("detectors", title, (Paragraph("No record of the period names a detector or a model."),))
    lead = Paragraph(
        "By the digest of their weights: SHA-256, computed when they were loaded. Another digest is another version."
    )
    blocks: list[Block] = [lead]
    if activity.detectors:
        blocks.append(_uses("Detectors and verifiers", activity.detectors))
    if activity.models:
        blocks.append(_uses("Models that got redacted pictures", activity.models))
    return Section("detectors", title, tuple(blocks))


def _uses(title: str, uses: Mapping[tuple[str, str], Use]) -> Table:
    rows = tuple(
        (name, Code(digest), f"{use.first:%Y-%m-%d}", f"{use.last:%Y-%m-%d}", f"{use.requests:,}")
        for (name, digest), use in sorted(uses.items())
    )
    head = ("name", "digest of the weights", "first", "last", "requests")
    return Table(head, rows, (0.14, 0.53, 0.115, 0.115, 0.1), frozenset({4}), title)


def measured(evidence: Evidence) -> Section:
    """What the last measurements found; said openly when there is none, or when it is of another policy."""
    title = "Measured recall"
    if not evidence.measured:
        lacking = "No measurement was given (--evaluation report.json of 'guardedvlm eval'): recall is not stated here."
        return Section("measured", title, (Paragraph(lacking),))
    lead = Paragraph(
        "On labelled pictures, by 'guardedvlm eval'; never on a caller's. What holds for those pictures need not hold "
        "for others."
    )
    in_use = {digest for _, digest in evidence.activity.policies}
    return Section("measured", title, (lead, *(block for one in evidence.measured for block in _measured(one, in_use))))


def _measured(one: Measured, in_use: set[str]) -> Iterator[Block]:
    is_same = one.policy_digest in in_use
    yield Table(
        ("measurement", ""),
        (
            ("policy", f"{one.policy}, " + ("in use in the period" if is_same else "NOT one that was in use")),
            ("policy digest", Code(one.policy_digest)),
            ("pictures", f"{one.pictures:,}, of which {one.refused:,} were refused"),
            ("command", Code(one.command)),
            ("SHA-256 of the file", Code(one.digest)),
        ),
        (0.25, 0.75),
        title=one.title,
    )
    for group, rows in one.shares:
        cells = tuple((name, *_share(share)) for name, share in rows)
        head = ("", "share", "95 % interval", "of n")
        yield Table(head, cells, (0.46, 0.14, 0.26, 0.14), frozenset({1, 2, 3}), group)


def _share(share: Share) -> tuple[str, str, str]:
    if not share.n:
        return "none counted", "", "0"
    return f"{share.value:.4f}", f"{share.low:.4f} to {share.high:.4f}", f"{share.n:,}"


def _chart(counts: Mapping[str, int], what: str) -> Figure:
    most = Counter(counts).most_common(MOST_BARS)
    left = len(counts) - len(most)
    more = f" The {left:,} rarest are in the table only." if left else ""
    return Figure(bars(dict(most), what), f"{what}, most frequent first.{more}")
