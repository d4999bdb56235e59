"""Sections on who watches: policies, blind review, incidents, the ledger's integrity, what rules ask."""

from __future__ import annotations

from collections.abc import Iterator

from guardedvlm.audit.completeness import GOOD, Completeness, LogVerdict
from guardedvlm.audit.report.collect import Evidence, PolicyChange
from guardedvlm.audit.report.document import Block, Cell, Code, Command, Links, Paragraph, Section, Table
from guardedvlm.audit.report.requirements import CHECKED, REGULATIONS, Regulation
from guardedvlm.audit.review.risk import LEAST, Row
from guardedvlm.audit.reviewed import Basis, ReviewVerdict
from guardedvlm.audit.verify import UNSEEN
from guardedvlm.errors import Reason

FAILURES = (
    Reason.RESIDUAL_FOUND,
    Reason.DETECTOR_FAILED,
    Reason.DETECTOR_MISSING,
    Reason.WEIGHTS_CHANGED,
    Reason.WORKER_DIED,
    Reason.SANDBOX_MISSING,
    Reason.STAGE_TIMEOUT,
    Reason.LEDGER_UNWRITABLE,
    Reason.INFERENCE_UNAVAILABLE,
    Reason.INFERENCE_FAILED,
    Reason.INTERNAL,
)
"""Refusals that tell of a control that did not work, or that worked at its limit."""


def policies(evidence: Evidence) -> Section:
    """Which policies were in use, and what changed: when, by whose signature, and why."""
    blocks: list[Block] = []
    uses = tuple(
        (name, Code(digest), f"{use.first:%Y-%m-%d}", f"{use.last:%Y-%m-%d}", f"{use.requests:,}")
        for (name, digest), use in sorted(evidence.activity.policies.items())
    )
    if uses:
        head = ("policy", "digest", "first", "last", "requests")
        blocks.append(Table(head, uses, (0.14, 0.53, 0.115, 0.115, 0.1), frozenset({4}), "In use"))
    if evidence.changes:
        blocks.append(Table(*_changes(evidence), title="Changes"))
        blocks.append(
            Paragraph(
                "When: the record's time. Who: the key that signed the policy, where the service takes signed policies "
                "only. Why: the policy file's own word ('change: why'). 'first word' is what a replica recorded when "
                "it began its log: in force then, whenever it was made."
            )
        )
    if not blocks:
        blocks.append(Paragraph("No record of the period names a policy."))
    return Section("policies", "Policies and their changes", tuple(blocks))


def _changes(evidence: Evidence) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...], tuple[float, ...]]:
    rows = tuple(_change(one) for one in sorted(evidence.changes, key=lambda one: (one.at, one.origin, one.name)))
    head = ("when", "policy", "what", "new digest", "signed by", "why", "replica")
    return head, rows, (0.16, 0.14, 0.12, 0.15, 0.15, 0.14, 0.14)


def _change(one: PolicyChange) -> tuple[Cell, ...]:
    told = one.told
    version = f" {told['version']}" if told is not None and "version" in told else ""
    signer: Cell = Code(told["signer"]) if told is not None and "signer" in told else "not recorded"
    why = told["why"].value if told is not None and "why" in told else "not recorded"
    digest: Cell = Code(one.new[:16]) if one.new else "none"
    return f"{one.at:%Y-%m-%d %H:%M}", one.name + version, _what(one), digest, signer, why, Code(one.origin[:8])


def _what(one: PolicyChange) -> str:
    if one.is_kept:
        return "new file not taken"
    if not one.new:
        return "removed"
    return "replaced" if one.old else "first word"


def review(evidence: Evidence) -> Section:
    """Residual risk from blind review."""
    found = evidence.review
    title = "Residual risk from blind review"
    if not found.kept and not found.failures and not found.marks:
        none = "No picture was kept for review in the period: no residual risk can be stated. Review is off by default."
        return Section("review", title, (Paragraph(none),))
    lead = Paragraph(
        "Reviewers saw redacted pictures without tenant, caller, policy or the machine's verdict. Random samples speak "
        "for all released pictures; low-margin ones are chosen where a leak is likeliest and speak for nothing else. "
        f"Rows with fewer than {LEAST} reviewed samples are suppressed."
    )
    own = evidence.tenant  # of one tenant the rows of all are the same ones
    rows = tuple(_risk(row) for row in found.rows if own in ("", row.tenant))
    head = ("sample", "tenant", "kind", "leaked", "reviewed", "share", "95 % interval")
    blocks: list[Block] = [lead, _sampling(evidence)]
    if rows:
        widths = (0.15, 0.16, 0.2, 0.1, 0.12, 0.1, 0.17)
        blocks.append(Table(head, rows, widths, frozenset({3, 4, 5, 6}), "Leaked of reviewed"))
    return Section("review", title, tuple(blocks))


def _sampling(evidence: Evidence) -> Table:
    found = evidence.review
    marks = [(one["verdict"], one["sample"]) for one in found.marks]
    is_shown = all(row.share is not None for row in found.rows if not row.tenant)  # else the total would tell a row
    rows: list[tuple[Cell, ...]] = [
        *((f"kept: {basis.value}", _count(found.kept[basis])) for basis in Basis),
        *((f"could not be kept: {reason.value}", _count(count)) for reason, count in sorted(found.failures.items())),
        ("views", _count(found.views)),
        ("reviewers (pseudonyms)", f"{len(found.reviewers):,}"),
        *(
            (
                f"samples marked {verdict.value}",
                _count(len({s for v, s in marks if v is verdict})) if is_shown else "suppressed",
            )
            for verdict in ReviewVerdict
        ),
        *((f"destroyed: {cause.value}", _count(count)) for cause, count in sorted(found.destroyed.items())),
    ]
    return Table(("", "count"), tuple(rows), (0.7, 0.3), frozenset({1}), "Samples")


def _count(pictures: int) -> str:
    """Suppressed like a row of the residual risk: none of few says as much as one of few."""
    return f"{pictures:,}" if pictures >= LEAST else f"fewer than {LEAST}"


def _risk(row: Row) -> tuple[Cell, ...]:
    tenant: Cell = Code(row.tenant[:8]) if row.tenant else "all"
    kind = row.kind.value if row.kind is not None else "any"
    if row.share is None:
        return row.basis.value, tenant, kind, "suppressed", "", "", ""
    share = row.share
    figures = f"{share.hits:,}", f"{share.n:,}", f"{share.value:.3f}", f"{share.low:.3f} to {share.high:.3f}"
    return row.basis.value, tenant, kind, *figures


def incidents(evidence: Evidence) -> Section:
    """Leaks that reviewers saw, and controls that failed."""
    blocks: list[Block] = []
    found = sorted(evidence.review.incidents.values(), key=lambda one: one[0])
    if found:
        rows = tuple(
            (f"{at:%Y-%m-%d %H:%M}", Code(one["of"][:16]), ", ".join(kind.value for kind in one["kinds"]))
            for at, one in found
        )
        head = ("when", "request", "kinds that leaked")
        blocks.append(Table(head, rows, (0.25, 0.3, 0.45), title="Opened by reviewers; the pictures are destroyed"))
    else:
        blocks.append(Paragraph("No incident was opened by a reviewer in the period."))
    blocks.append(_failures(evidence))
    return Section("incidents", "Incidents and failures", tuple(blocks))


def _failures(evidence: Evidence) -> Table:
    running, refusals = evidence.running, evidence.activity.refusals
    rows: list[tuple[Cell, ...]] = [
        ("starts of a process that writes the ledger", f"{len(running.starts):,}"),
        ("starts that cut off an incomplete record (a crash)", f"{running.torn:,}"),
        ("times that writing the ledger failed and came back", f"{len(running.resumed):,}"),
        ("policy files that were not taken", f"{sum(one.is_kept for one in evidence.changes):,}"),
        ("trials of candidate policies; that failed", f"{running.shadowed:,}; {running.shadow_failures:,}"),
        *((f"requests refused: {reason.value}", f"{refusals[reason]:,}") for reason in FAILURES if refusals[reason]),
    ]
    title = "Failures" + (" (starts, writing and trials: of the whole ledger)" if evidence.tenant else "")
    return Table(("", "count"), tuple(rows), (0.7, 0.3), frozenset({1}), title)


def integrity(evidence: Evidence) -> Section:
    """What verification said of each log, and how to ask again."""
    blocks: list[Block] = [Paragraph(said) for log in evidence.logs for said in _problems(log)]
    if evidence.verdict.damaged:
        blocks.append(Paragraph(f"Pieces of the checkpoints' file that are none: {evidence.verdict.damaged:,}."))
    blocks += [Table((f"log {log.name}", ""), (*_log(log),), (0.3, 0.7)) for log in evidence.logs]
    if not evidence.logs:
        blocks.append(Paragraph("There is no log."))
    if evidence.verdict.others:
        others = ", ".join(evidence.verdict.others)
        blocks.append(Paragraph(f"Logs of other ledgers among the checkpoints, not looked at: {others}."))
    with_checkpoints = " --checkpoints FILE --keys FILE" if evidence.compared else ""
    blocks.append(Paragraph("To check alone, on a copy of the ledger:"))
    blocks.append(Command(f"guardedvlm audit verify LEDGER{with_checkpoints}"))
    blocks.append(Paragraph(UNSEEN))
    return Section("integrity", "Integrity of the ledger", tuple(blocks))


def _problems(log: LogVerdict) -> Iterator[str]:
    found = log.report
    if found is not None and not found.chain_ok:
        place = f" ({found.place})" if found.place else ""
        yield f"Log {log.name}: the chain does NOT hold: {found.flaw} at record {found.broken_at}{place}."
    if log.completeness not in GOOD:
        yield f"Log {log.name}: it is NOT complete: {log.completeness.value}."


def _log(log: LogVerdict) -> Iterator[tuple[Cell, ...]]:
    found = log.report
    if found is None:
        yield "completeness", "absent: there are checkpoints of it, and no log"
        return
    yield "chain", "holds" if found.chain_ok else f"broken: {found.flaw} at record {found.broken_at}"
    yield "completeness", _completeness(log)
    yield "records that verified", f"{found.records - found.pruned:,} in {found.segments:,} segments"
    yield "pruned", f"{found.pruned:,} records before them" if found.pruned else "none"
    yield "first and last record", f"{found.first_time or 'none'} to {found.last_time or 'none'}"
    yield "head", Code(found.head)
    yield "requests without an end", f"{len(found.unfinished):,} in all of the log"
    yield "bytes after the last whole record", f"{found.torn_bytes:,}"


def _completeness(log: LogVerdict) -> str:
    if log.completeness is Completeness.SHOWN:
        return f"shown up to record {log.covered:,} by checkpoints from elsewhere ({log.checkpoints:,})"
    if log.completeness is Completeness.UNSHOWN:
        return "not shown: no checkpoints from elsewhere were given"
    return f"NOT complete: {log.completeness.value}"


def requirements() -> Section:
    """What each rule asks for, and where the report answers."""
    lead = Paragraph(
        "Where this report answers what a reviewer asks for. It is no statement that a rule is met, and no legal "
        f"advice. {CHECKED}"
    )
    return Section("requirements", "What rules ask for", (lead, *(_tables())))


def _tables() -> Iterator[Block]:
    yield from map(_table, REGULATIONS)


def _table(regulation: Regulation) -> Table:
    rows = tuple(
        (one.paragraph, one.asks, Links(one.sections) if one.sections else "not shown", one.missing)
        for one in regulation.requirements
    )
    head = ("paragraph", "asks for", "answered in", "not shown here")
    return Table(head, rows, (0.17, 0.3, 0.25, 0.28), title=regulation.name)
