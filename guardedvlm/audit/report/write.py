"""Puts evidence into words and tables. Each figure is counted, or the text says that it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from guardedvlm import __version__
from guardedvlm.audit.completeness import GOOD
from guardedvlm.audit.report.collect import Evidence
from guardedvlm.audit.report.count import Outcome
from guardedvlm.audit.report.document import Block, Cell, Code, Paragraph, Points, Report, Section
from guardedvlm.audit.report.oversight import incidents, integrity, policies, requirements, review
from guardedvlm.audit.report.traffic import detectors, hidden, measured, refusals, volumes
from guardedvlm.audit.review.risk import LEAST
from guardedvlm.audit.reviewed import Basis


def write_report(evidence: Evidence, tenant: str, made: datetime) -> Report:
    """The document. `tenant` is what the reader calls it, "" for all tenants; `made` is when."""
    sections = (
        Section("summary", "Summary", (*_summary(evidence),)),
        volumes(evidence),
        refusals(evidence),
        hidden(evidence),
        policies(evidence),
        detectors(evidence),
        measured(evidence),
        review(evidence),
        incidents(evidence),
        integrity(evidence),
        requirements(),
        Section("gaps", "What this report cannot show", (Points(tuple(_gaps(evidence, made))),)),
    )
    period = evidence.period
    return Report(
        title="Evidence report",
        subtitle=f"GuardedVLM, {period.since} to {period.until}",
        verdict=_verdict(evidence),
        is_sound=evidence.is_whole,
        cover=(*_cover(evidence, tenant, made),),
        check=(*_again(evidence),),
        sections=sections,
    )


def _verdict(evidence: Evidence) -> str:
    if not evidence.logs:
        return "There is no ledger here: nothing below rests on evidence."
    broken = [log for log in evidence.logs if log.report is not None and not log.report.chain_ok]
    if broken:
        return (
            f"The chain does NOT hold in {len(broken)} of {len(evidence.logs)} logs. Records after the first flaw were "
            "not counted; figures below are too low or belong to a ledger that was altered."
        )
    if not evidence.is_whole:
        wrong = sum(log.completeness not in GOOD for log in evidence.logs)
        return (
            "The chain holds, and the ledger is NOT shown to be the one that its checkpoints tell: "
            f"{wrong} of {len(evidence.logs)} logs are not complete, {evidence.verdict.damaged:,} checkpoints damaged."
        )
    shown = "shown by checkpoints from elsewhere" if evidence.compared else "not shown (no checkpoints were given)"
    return (
        f"The chain holds: {_some(evidence.records, 'record')} in {_some(len(evidence.logs), 'log')} verified when "
        f"this report was made. Completeness is {shown}."
    )


def _cover(evidence: Evidence, tenant: str, made: datetime) -> Iterator[tuple[str, Cell]]:
    period = evidence.period
    yield "Tenant", tenant or "all tenants of this ledger"
    if evidence.tenant:
        yield "Pseudonym in the ledger", Code(evidence.tenant)
    yield "Period", f"{period.since} to {period.until}, both days included, UTC"
    yield "Made", f"{made.astimezone(UTC):%Y-%m-%d %H:%M} UTC by guardedvlm {__version__}"
    for log in evidence.logs:
        if log.report is not None:
            yield f"Head of log {log.name}", Code(log.report.head)


def _again(evidence: Evidence) -> Iterator[str]:
    who = f" --tenant {evidence.tenant}" if evidence.tenant else ""
    period = evidence.period
    told = " --checkpoints FILE --keys FILE" if evidence.compared else ""
    yield f"guardedvlm audit verify LEDGER{told}"
    when = f"--from {period.since} --to {period.until}"
    yield f"guardedvlm audit report --ledger LEDGER{who} {when}{told} --out report.html"


def _summary(evidence: Evidence) -> Iterator[Block]:
    yield Paragraph(_verdict(evidence))
    yield Points((*_sentences(evidence),))


def _sentences(evidence: Evidence) -> Iterator[str]:
    activity, found = evidence.activity, evidence.review
    released, refused, unfinished = (activity.outcomes[outcome] for outcome in Outcome)
    yield (
        f"{_some(activity.requests, 'request')} by {_some(len(activity.callers), 'caller')}: {released:,} released, "
        f"{refused:,} refused, {unfinished:,} without an end."
    )
    yield (
        f"Pages decoded: {activity.pages:,}. Regions hidden: {activity.regions.total():,}, of "
        f"{_some(len(activity.regions), 'kind')}. The final pixels of {_some(activity.verified, 'request')} passed "
        "verification by detectors other than those that redacted."
    )
    digests = {digest for _, digest in activity.policies}
    yield f"Versions of policies in use: {len(digests):,}. Policy changes on record: {len(evidence.changes):,}."
    yield from _risk(evidence)
    leaked = len(found.incidents)
    yield f"Incidents opened by reviewers: {leaked:,}." if leaked else "No incident was opened by a reviewer."
    if not evidence.measured:
        yield "No measurement of recall was given to this report."


def _some(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _risk(evidence: Evidence) -> Iterator[str]:
    rows = [row for row in evidence.review.rows if row.basis is Basis.RANDOM and row.kind is None and not row.tenant]
    if not rows:
        yield "No randomly drawn picture was reviewed: no residual risk can be stated."
    elif (share := rows[0].share) is None:
        yield f"Fewer than {LEAST} randomly drawn pictures were reviewed: no residual risk is stated."
    else:
        yield (
            f"Of {share.n:,} randomly drawn redacted pictures, reviewers found something left in {share.hits:,}: "
            f"{share.value:.1%}, 95 % interval {share.low:.1%} to {share.high:.1%}."
        )


def _gaps(evidence: Evidence, made: datetime) -> Iterator[str]:
    yield (
        "Content. The ledger holds no picture, question, answer or name, so nothing here can be compared with the "
        "documents themselves."
    )
    if evidence.tenant:
        yield (
            f"{_some(evidence.activity.nobody, 'request')} of the period ended before a tenant was known: not counted "
            "here, and perhaps this tenant's."
        )
        yield (
            "Policies of other names than those that this tenant's requests ran under are left out; which policy the "
            "tenants file names is not in the ledger."
        )
    if not evidence.compared:
        yield (
            "Without checkpoints kept elsewhere a chain cannot show that its end was cut off or that all of it was "
            "written anew; compare the heads on the cover with those of earlier reports."
        )
    unsigned = [one for one in evidence.changes if one.told and "signer" not in one.told]
    if unsigned:
        yield f"Who made {len(unsigned):,} of {len(evidence.changes):,} policy changes: those policies were not signed."
    silent = [one for one in evidence.changes if one.told and one.old != one.new and "why" not in one.told]
    if silent:
        yield f"Why {len(silent):,} of {len(evidence.changes):,} policy changes were made: the files do not say."
    yield "Who approved a signed policy beside the holder of the key, and in which meeting or ticket."
    yield "What a leak that no reviewer saw looked like: residual risk is an estimate from a sample, with its interval."
    yield "Requests that never reached this service, other replicas' ledgers, and pictures that went another way."
    yield "Whether the machine's clock was right."
    if evidence.period.until >= made.astimezone(UTC).date():
        yield "The end of the period: it was not over when this report was made."
