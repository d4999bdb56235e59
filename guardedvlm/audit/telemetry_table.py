"""What telemetry tells, as a document made from the tables that the boundary checks against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from guardedvlm.audit import conventions as names
from guardedvlm.audit.checks import Check
from guardedvlm.audit.facts import Stage
from guardedvlm.audit.metric_table import METRICS, Source
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.grounding import Ground

_HEAD = f"""# Telemetry

Made by `guardedvlm audit telemetry > docs/telemetry.md` from the tables that the exporter checks against; what has
no row here does not leave, and is counted in `guardedvlm.telemetry.dropped`. Names of the GenAI conventions as of
`{names.REVISION}`, which every resource states (`guardedvlm.semconv.revision`).

Spans, log records and the metrics "of records" are made from the ledger alone, by a tailer that reads its files: in
the service (`otel: otlp`), or `guardedvlm audit tail` beside it (`tail: {{inside: false}}`).

- **At least once, in order.** Each log has a cursor (`tail/LOG.json` in the ledger's folder, or `tail.state`),
  replaced and synced when the collector has taken a batch, never before. A batch that was not taken is sent again,
  the same, with a random back-off of up to 15 s; nothing is given up. A log begins where its cursor stands, or with
  its oldest record. Who deletes the cursor has everything delivered again.
- **Identity.** `log.record.uid` is the replica's pseudonym, the log's name and the record's number: equal ones are
  one record that was delivered twice. `guardedvlm.ledger.hash` is the chain's hash of it. The ids of spans are made
  from the audit id, so a span that is delivered twice is the same span.
- **Partial success** of a collector counts as taken, as OTLP demands, and in `guardedvlm.telemetry.rejected`. A
  request that it refuses as a whole is sent again.
- **Lag.** Beyond `tail.most_records` records or `tail.most_seconds` seconds (100,000 and 900) the service is not
  ready, and goes on serving who calls it all the same; so it is when a log does not go on from what was delivered
  of it.
- **The caller's trace.** Of a `traceparent` of the W3C form keyed digests of both ids are told and stand in the
  RECEIVED record: calls of one trace stay together, and their spans do not join the caller's own. With `traces: join`
  they do: the ids are then taken as they are, and **what a caller hides in these 24 bytes reaches ledger and
  collector**. Ids that read as text or as a number of 13 digits are replaced all the same (some 2 % of random ids,
  too); an SSN, a name in pieces and what is enciphered are not known from chance. `tracestate` and baggage are never
  read. Without a `traceparent` the trace id is the audit id.
- **Verdict and action** of a guardrail are apart: `{names.VERDICT}` is what it said, `{names.ACTION}` what was
  done."""

_FAMILIES = {
    "guardedvlm.regions.": ("KIND", len(Kind)),
    "guardedvlm.area_permille.": ("KIND", len(Kind)),
    "guardedvlm.actions.": ("ACTION", len(Action)),
    "guardedvlm.grounding.": ("GROUND", len(Ground)),
    "guardedvlm.milliseconds.": ("STAGE", len(Stage)),
}
"""Names that differ in their last word, and the sets that it is of."""
_SOURCES = {
    Source.RECORDS: "who delivers, from records",
    Source.TAIL: "who delivers",
    Source.SERVICE: "the service",
}


def telemetry_table() -> str:
    """The document, as Markdown."""
    spans = (
        f"## Spans\n\nOne for a request (`{names.CHAT} MODEL`, `redact`), and below it one for each stage: "
        f"`{names.RUN_GUARDRAIL} STAGE` where the stage judges ({_quoted(sorted(names.GUARDRAILS))}), "
        f"`{names.STAGE} STAGE` elsewhere. No events, no links, no descriptions. Besides the facts:\n\n"
        + _attributes({"the request": names.ROOT, "a stage": names.CHILD})
    )
    logs = (
        f"## Log records\n\nOne for each record of the ledger, event name `{names.EVENT_NAME}`, no body, severity INFO "
        "(REFUSED: WARN, INCIDENT: ERROR), in the trace and span of its request. Besides the facts that the record "
        "states:\n\n" + _attributes({"each": names.RECORD})
    )
    facts = "## Facts\n\nOf a request's span all that its records state; of a log record what that record states.\n\n"
    facts += "\n".join(f"- {name}" for name in _collected(row.name for row in names.FACTS))
    resource = "## Resource\n\n" + "\n".join(f"- `{name}`" for name in names.RESOURCE)
    return "\n\n".join((_HEAD, resource, spans, logs, facts, _metrics()))


def _attributes(groups: Mapping[str, Mapping[str, Check]]) -> str:
    lines = [f"| `{name}` | {group} |" for group, rows in groups.items() for name in rows]
    return "| attribute | of |\n|---|---|\n" + "\n".join(lines)


def _metrics() -> str:
    rows = (
        f"| `{one.name}` | {one.unit} | {one.description} | {_quoted(one.labels)} | {_SOURCES[one.source]} |"
        for one in METRICS.values()
    )
    head = (
        "## Metrics\n\nA label has values of a closed set, or is a pseudonym; none is a caller's. Sums count since the "
        "start of the process.\n\n| metric | unit | what | labels | from |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


def _collected(found: Iterable[str]) -> list[str]:
    """Names, each family once."""
    shown: dict[str, None] = {}
    for name in found:
        family = next((family for family in _FAMILIES if name.startswith(family)), None)
        if family is None:
            shown[f"`{name}`"] = None
        else:
            word, number = _FAMILIES[family]
            shown[f"`{family}{word}` ({number} of them)"] = None
    return list(shown)


def _quoted(found: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in found) or "–"
