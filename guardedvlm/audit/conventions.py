"""The one table from what a record says to OpenTelemetry's names. Nothing leaves that has no row here.

GenAI names follow open-telemetry/semantic-conventions-genai, guardrail names its draft pull request 427; both are still
moving, so they stand here alone and `REVISION` travels with every span. What is ours only is under `guardedvlm.`.
A guardrail's verdict (what it said) and action (what was done) are apart: a check that only watches says deny and does
allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from guardedvlm.audit.component import is_component_name
from guardedvlm.audit.facts import POLICY_NAME, Facts, MediaFormat, Method, Stage, Verdict
from guardedvlm.audit.summary import Summary
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.lifecycle import FINAL
from guardedvlm.core.ports import FinishReason
from guardedvlm.errors import Reason

REVISION = "semantic-conventions-genai-2026-11+guardrail-427"
"""What the names below were checked against."""
PROVIDER = "guardedvlm"
CHAT, RUN_GUARDRAIL = "chat", "run_guardrail"
WITHOUT_MODEL: Mapping[Method, str] = {
    Method.REDACT_IMAGE: "redact",
    Method.STREAM_REDACT_IMAGE: "redact",
    Method.GET_POLICY: "policy",
}
"""Span names of the calls that reach no model."""
STAGE, KIND = "guardedvlm.stage", "guardedvlm.kind"

Scalar = str | bool | int | float
Value = Scalar | tuple[str, ...]
Check = Callable[[Value], bool]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float)


def _is_flag(value: Value) -> bool:
    return isinstance(value, bool)


def _one_of(*words: str) -> Check:
    known = frozenset(words)
    return lambda value: isinstance(value, str) and value in known


def _form(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _is_component(value: Value) -> bool:
    return isinstance(value, str) and is_component_name(value)


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, tuple) and all(check(item) for item in value)


_PSEUDONYM, _DIGEST = _form("[0-9a-f]{32}"), _form("[0-9a-f]{64}")
_VERDICT, _REASON, _STAGE = _one_of(*Verdict), _one_of(*Reason), _one_of(*Stage)
_POLICY = _form(POLICY_NAME)
_VERSION = _form(r"[0-9]{1,3}(\.[0-9a-z]{1,6}){0,3}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A row: the name, which values it may have, and where in a request's summary it is read from."""

    name: str
    allows: Check
    read: Callable[[Summary], Value | None]


def _fact(name: str) -> Callable[[Summary], Value | None]:
    return lambda summary: summary.facts.get(name)  # type: ignore[return-value]  # checked by the row


def _part(name: str, key: str) -> Callable[[Summary], Value | None]:
    """A member of a fact that is a table: `_part("regions", Kind.FACE)`."""

    def read(summary: Summary) -> Value | None:
        part = summary.facts.get(name)
        return part.get(key) if isinstance(part, Mapping) else None

    return read


def _finish(summary: Summary) -> Value | None:
    finish = summary.facts.get("finish")
    return None if finish is None else (finish.value,)


REQUEST: tuple[Attribute, ...] = (
    Attribute("gen_ai.operation.name", _one_of(CHAT), lambda one: CHAT if one.asks else None),
    Attribute("gen_ai.provider.name", _one_of(PROVIDER), lambda one: PROVIDER if one.asks else None),
    Attribute("gen_ai.request.model", _is_component, _part("model", "name")),
    Attribute("gen_ai.response.finish_reasons", _each(_one_of(*FinishReason)), _finish),
    Attribute("gen_ai.usage.input_tokens", _is_number, _fact("input_tokens")),
    Attribute("gen_ai.usage.output_tokens", _is_number, _fact("output_tokens")),
    Attribute("error.type", _REASON, _fact("reason")),
    Attribute("guardedvlm.request.id", _PSEUDONYM, lambda one: one.request),
    Attribute("guardedvlm.ledger.sequence", _is_number, lambda one: one.sequence),
    Attribute("guardedvlm.outcome", _one_of(*FINAL), lambda one: one.outcome),
    Attribute("guardedvlm.method", _one_of(*Method), _fact("method")),
    Attribute("guardedvlm.tenant", _PSEUDONYM, _fact("tenant")),
    Attribute("guardedvlm.caller", _PSEUDONYM, _fact("caller")),
    Attribute("guardedvlm.policy.name", _POLICY, _part("policy", "name")),
    Attribute("guardedvlm.policy.digest", _DIGEST, _part("policy", "digest")),
    Attribute("guardedvlm.engine", _is_component, _fact("engine")),
    Attribute("guardedvlm.model.digest", _DIGEST, _part("model", "digest")),
    Attribute("guardedvlm.document.media", _one_of(*MediaFormat), _fact("media")),
    Attribute("guardedvlm.document.pages", _is_number, _fact("pages")),
    Attribute("guardedvlm.document.width", _is_number, _fact("width")),
    Attribute("guardedvlm.document.height", _is_number, _fact("height")),
    Attribute("guardedvlm.document.bytes", _is_number, _fact("input_bytes")),
    Attribute("guardedvlm.input.digest", _DIGEST, _fact("input_digest")),
    Attribute("guardedvlm.image.digest", _DIGEST, _fact("image_digest")),
    Attribute("guardedvlm.prompt.digest", _DIGEST, _fact("prompt_digest")),
    Attribute("guardedvlm.prompt.chars", _is_number, _fact("prompt_chars")),
    Attribute("guardedvlm.answer.digest", _DIGEST, _fact("answer_digest")),
    Attribute("guardedvlm.answer.chars", _is_number, _fact("answer_chars")),
    Attribute("guardedvlm.sealed_labels", _is_number, _fact("sealed_labels")),
    *(Attribute(f"guardedvlm.regions.{kind}", _is_number, _part("regions", kind)) for kind in Kind),
    *(Attribute(f"guardedvlm.area_permille.{kind}", _is_number, _part("area_permille", kind)) for kind in Kind),
    *(Attribute(f"guardedvlm.actions.{action}", _is_number, _part("actions", action)) for action in Action),
)
"""The root span of a request."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a guardrail stage said and what was done."""

    verdict: Verdict
    action: Verdict


def _screened(name: str) -> Callable[[Facts], Judgement | None]:
    def judge(facts: Facts) -> Judgement | None:
        screening = facts.get("prompt_screen") if name == "prompt_screen" else facts.get("answer_screen")
        return None if screening is None else Judgement(screening["verdict"], screening["action"])

    return judge


def _redacted(facts: Facts) -> Judgement | None:
    if "regions" not in facts:
        return None
    said = Verdict.MODIFY if any(facts["regions"].values()) else Verdict.ALLOW
    return Judgement(said, said)


def _verified(facts: Facts) -> Judgement | None:
    if "verification" not in facts:
        return None
    said = Verdict.ALLOW if facts["verification"]["verdict"] == "cleared" else Verdict.DENY
    return Judgement(said, said)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A stage that judges: what it looks at, and how its judgement is read from the facts."""

    target: str
    judge: Callable[[Facts], Judgement | None]


GUARDRAILS: Mapping[Stage, Guardrail] = MappingProxyType(
    {
        Stage.REDACT: Guardrail("input", _redacted),
        Stage.VERIFY: Guardrail("input", _verified),
        Stage.PROMPT: Guardrail("input", _screened("prompt_screen")),
        Stage.SCREEN: Guardrail("output", _screened("answer_screen")),
    }
)

OPERATION = "gen_ai.operation.name"
COMPONENT = "gen_ai.guardrail.component.name"
TARGET = "gen_ai.guardrail.target.type"
VERDICT = "gen_ai.guardrail.verdict.type"
VERDICT_REASON = "gen_ai.guardrail.verdict.reason"
ACTION = "gen_ai.guardrail.action.type"
POLICY_ID = "gen_ai.guardrail.security.policy.id"
MODIFIED = "gen_ai.guardrail.security.content.modified"
INPUT_HASH = "gen_ai.guardrail.security.content.input.hash"

CHILD: Mapping[str, Check] = MappingProxyType(
    {
        OPERATION: _one_of(CHAT, RUN_GUARDRAIL),
        COMPONENT: _STAGE,
        TARGET: _one_of("input", "output"),
        VERDICT: _VERDICT,
        VERDICT_REASON: _REASON,
        ACTION: _VERDICT,
        POLICY_ID: _POLICY,
        MODIFIED: _is_flag,
        INPUT_HASH: _DIGEST,
        STAGE: _STAGE,
    }
)
"""Attributes of the spans below the root, and their values."""

RESOURCE: Mapping[str, Check] = MappingProxyType(
    {
        "service.name": _one_of(PROVIDER),
        "service.version": _VERSION,
        "service.instance.id": _PSEUDONYM,
        "guardedvlm.semconv.revision": _one_of(REVISION),
    }
)
"""Attributes of the resource; what the SDK or the environment adds is dropped."""

SPAN_ATTRIBUTES: Mapping[str, Check] = MappingProxyType(
    {**{row.name: row.allows for row in REQUEST}, **CHILD, OPERATION: _one_of(CHAT, RUN_GUARDRAIL)}
)
"""Every attribute that a span may carry."""


def is_span_name(name: str) -> bool:
    """Whether `name` is one that `root_name` or `child_name` makes."""
    first, _, rest = name.partition(" ")
    if first == CHAT:
        return not rest or is_component_name(rest)
    return name in WITHOUT_MODEL.values() or (first in (RUN_GUARDRAIL, STAGE) and _STAGE(rest))


def root_name(summary: Summary) -> str:
    """Name of a request's span: "chat <model>", "chat" where no model was reached, or one of `WITHOUT_MODEL`."""
    method = summary.facts["method"]
    if method in WITHOUT_MODEL:
        return WITHOUT_MODEL[method]
    model = summary.facts.get("model")
    return f"{CHAT} {model['name']}" if model else CHAT


def child_name(stage: Stage) -> str:
    """Name of a stage's span."""
    return f"{RUN_GUARDRAIL if stage in GUARDRAILS else STAGE} {stage}"


def root_attributes(summary: Summary) -> dict[str, Value]:
    """Attributes of a request's span."""
    read = ((row.name, row.read(summary)) for row in REQUEST)
    return {name: value for name, value in read if value is not None}


def child_attributes(stage: Stage, summary: Summary) -> dict[str, Value]:
    """Attributes of a stage's span: for a guardrail what it looked at, said and did."""
    guardrail = GUARDRAILS.get(stage)
    if guardrail is None:
        return {STAGE: stage.value}
    facts = summary.facts
    values: dict[str, Value] = {OPERATION: RUN_GUARDRAIL, COMPONENT: stage.value, TARGET: guardrail.target}
    if "policy" in facts:
        values[POLICY_ID] = facts["policy"]["name"]
    if guardrail.target == "input" and "input_digest" in facts and stage is not Stage.PROMPT:
        values[INPUT_HASH] = facts["input_digest"]
    judgement = guardrail.judge(facts)
    if judgement is not None:
        values |= {VERDICT: judgement.verdict.value, ACTION: judgement.action.value}
        values[MODIFIED] = judgement.action is Verdict.MODIFY
        if judgement.verdict is Verdict.DENY and "reason" in facts:
            values[VERDICT_REASON] = facts["reason"].value
    return values


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: unit, what it says, and the labels that a point of it may carry."""

    name: str
    unit: str
    description: str
    labels: Mapping[str, Check]


STAGE_DURATION = Metric("guardedvlm.stage.duration", "s", "Time of a stage of a request.", {STAGE: _STAGE})
INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration",
    "s",
    "Time of the model's answer.",
    {OPERATION: _one_of(CHAT), "gen_ai.provider.name": _one_of(PROVIDER), "gen_ai.request.model": _is_component},
)
REQUESTS = Metric(
    "guardedvlm.requests",
    "{request}",
    "Finished requests.",
    {
        "guardedvlm.method": _one_of(*Method),
        "guardedvlm.outcome": _one_of(*FINAL),
        "error.type": _REASON,
        "guardedvlm.tenant": _PSEUDONYM,
    },
)
REGIONS = Metric("guardedvlm.regions", "{region}", "Regions found, by kind.", {KIND: _one_of(*Kind)})
LEDGER_APPENDS = Metric("guardedvlm.ledger.appends", "{record}", "Records made durable since the start.", {})
LEDGER_FAILURES = Metric("guardedvlm.ledger.failures", "{record}", "Records that could not be made durable.", {})
LEDGER_HEALTHY = Metric("guardedvlm.ledger.healthy", "1", "1 while the ledger can be written, else 0.", {})
TELEMETRY_DROPPED = Metric(
    "guardedvlm.telemetry.dropped", "{item}", "Spans, points and attributes that the allow-list kept back.", {}
)
TELEMETRY_FAILURES = Metric("guardedvlm.telemetry.failures", "{item}", "Spans and metrics that were not delivered.", {})

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            STAGE_DURATION,
            INFERENCE_DURATION,
            REQUESTS,
            REGIONS,
            LEDGER_APPENDS,
            LEDGER_FAILURES,
            LEDGER_HEALTHY,
            TELEMETRY_DROPPED,
            TELEMETRY_FAILURES,
        )
    }
)
"""Every metric that leaves."""


def request_labels(summary: Summary) -> dict[str, Scalar]:
    """Labels of a finished request: closed sets and the tenant's pseudonym."""
    facts = summary.facts
    labels: dict[str, Scalar] = {"guardedvlm.outcome": summary.outcome, "guardedvlm.method": facts["method"].value}
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
