"""The metrics that leave, with the only labels and label values that a point may carry: closed sets and pseudonyms.

No value of a label is a caller's: a tenant is the pseudonym of what the transport proved, a reason is one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from guardedvlm.audit.checks import Check, Scalar, form, is_component, one_of
from guardedvlm.audit.conventions import (
    CHAT,
    KIND,
    LEDGER_LOG,
    LOG,
    OPERATION,
    OUTCOME,
    PROVIDER,
    PSEUDONYM,
    REASON,
    STAGE,
    STAGES,
    UNFINISHED,
)
from guardedvlm.audit.facts import Method
from guardedvlm.audit.summary import Summary
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import FINAL
from guardedvlm.core.quota import Quota


class Source(StrEnum):
    """Where a metric is measured."""

    RECORDS = "records"
    """By who delivers the ledger, from the records: since its start."""
    TAIL = "tail"
    """By who delivers the ledger, of itself."""
    SERVICE = "service"
    """By the service."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: unit, what it says, who measures it, and the labels that a point of it may carry."""

    name: str
    unit: str
    description: str
    source: Source
    labels: Mapping[str, Check]


SIGNAL = "guardedvlm.signal"
ROLE = "guardedvlm.role"
LIMIT = "guardedvlm.limit"
PART = "guardedvlm.part"
_MODEL = {OPERATION: one_of(CHAT), "gen_ai.provider.name": one_of(PROVIDER), "gen_ai.request.model": is_component}
_SIGNAL = {SIGNAL: one_of("traces", "logs", "metrics")}

REQUESTS = Metric(
    "guardedvlm.requests",
    "{request}",
    "Finished requests.",
    Source.RECORDS,
    {
        "guardedvlm.method": one_of(*Method),
        OUTCOME: one_of(*FINAL, UNFINISHED),
        "error.type": REASON,
        "guardedvlm.tenant": PSEUDONYM,
    },
)
REGIONS = Metric("guardedvlm.regions", "{region}", "Regions found, by kind.", Source.RECORDS, {KIND: one_of(*Kind)})
STAGE_DURATION = Metric(
    "guardedvlm.stage.duration", "s", "Time of a stage of a request.", Source.RECORDS, {STAGE: STAGES}
)
INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration", "s", "Time of the model's answer.", Source.RECORDS, _MODEL
)
INPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.input_tokens", "{token}", "Tokens that the model read.", Source.RECORDS, _MODEL
)
OUTPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.output_tokens", "{token}", "Tokens that the model wrote.", Source.RECORDS, _MODEL
)
DELIVERED = Metric(
    "guardedvlm.telemetry.records", "{record}", "Records that the collector took.", Source.TAIL, {LEDGER_LOG: LOG}
)
DROPPED = Metric(
    "guardedvlm.telemetry.dropped",
    "{item}",
    "Spans, log records, points and attributes that the allow-list kept back.",
    Source.TAIL,
    {},
)
REJECTED = Metric(
    "guardedvlm.telemetry.rejected",
    "{item}",
    "Spans, log records and points that the collector took notice of and did not keep (partial success).",
    Source.TAIL,
    _SIGNAL,
)
FAILURES = Metric(
    "guardedvlm.telemetry.failures", "{attempt}", "Deliveries that failed and are tried again.", Source.TAIL, _SIGNAL
)
UNTOLD = Metric(
    "guardedvlm.telemetry.untold", "{request}", "Requests without spans: their beginning is not there.", Source.TAIL, {}
)
LAG_RECORDS = Metric(
    "guardedvlm.ledger.lag.records", "{record}", "Records not delivered yet.", Source.TAIL, {LEDGER_LOG: LOG}
)
LAG_SECONDS = Metric(
    "guardedvlm.ledger.lag.seconds", "s", "Age of the oldest record not delivered yet.", Source.TAIL, {LEDGER_LOG: LOG}
)
LOG_BROKEN = Metric(
    "guardedvlm.ledger.broken",
    "1",
    "1 while a log does not go on from what was delivered of it, else 0.",
    Source.TAIL,
    {LEDGER_LOG: LOG},
)
APPENDS = Metric("guardedvlm.ledger.appends", "{record}", "Records made durable since the start.", Source.SERVICE, {})
LEDGER_FAILURES = Metric(
    "guardedvlm.ledger.failures", "{record}", "Records that could not be made durable.", Source.SERVICE, {}
)
HEALTHY = Metric("guardedvlm.ledger.healthy", "1", "1 while the ledger can be written, else 0.", Source.SERVICE, {})
RUNNING = Metric("guardedvlm.calls.running", "{call}", "Calls that are being served.", Source.SERVICE, {})
REFUSALS = Metric(
    "guardedvlm.calls.refused",
    "{call}",
    "Calls that ended with an error, by reason; also those that never became a request.",
    Source.SERVICE,
    {"error.type": REASON},
)
QUEUE = Metric(
    "guardedvlm.queue.depth",
    "{call}",
    "Calls that wait: for a worker process of a role, for their turn (`admission`), for the model (`model`).",
    Source.SERVICE,
    {ROLE: form("[a-z]{1,16}(_[a-z]{1,16})?")},
)
LIMITED = Metric(
    "guardedvlm.admission.refused",
    "{call}",
    "Calls that met a limit of admission, by the limit.",
    Source.SERVICE,
    {LIMIT: one_of(*Quota)},
)
HELD = Metric("guardedvlm.admission.held", "By", "Bytes of documents that calls hold.", Source.SERVICE, {})
BROKEN = Metric(
    "guardedvlm.reload.broken",
    "1",
    "1 while a part's new files, or a provider's new keys, cannot be used and older ones are in force, else 0.",
    Source.SERVICE,
    {PART: one_of("server_tls", "inference_tls", "tenants", "jwks")},
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            REQUESTS,
            REGIONS,
            STAGE_DURATION,
            INFERENCE_DURATION,
            INPUT_TOKENS,
            OUTPUT_TOKENS,
            DELIVERED,
            DROPPED,
            REJECTED,
            FAILURES,
            UNTOLD,
            LAG_RECORDS,
            LAG_SECONDS,
            LOG_BROKEN,
            APPENDS,
            LEDGER_FAILURES,
            HEALTHY,
            RUNNING,
            REFUSALS,
            QUEUE,
            LIMITED,
            HELD,
            BROKEN,
        )
    }
)
"""Every metric that leaves."""


def request_labels(summary: Summary) -> dict[str, Scalar]:
    """Labels of a finished request: closed sets and the tenant's pseudonym."""
    facts = summary.facts
    labels: dict[str, Scalar] = {OUTCOME: summary.outcome, "guardedvlm.method": facts["method"].value}
    if "tenant" in facts:
        labels["guardedvlm.tenant"] = facts["tenant"]
    if "reason" in facts:
        labels["error.type"] = facts["reason"].value
    return labels


def inference_labels(summary: Summary) -> dict[str, Scalar]:
    """Labels of a model's answer."""
    labels: dict[str, Scalar] = {OPERATION: CHAT, "gen_ai.provider.name": PROVIDER}
    if "model" in summary.facts:
        labels["gen_ai.request.model"] = summary.facts["model"]["name"]
    return labels
