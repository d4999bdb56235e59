"""The one table from what a record says to OpenTelemetry's names. Nothing leaves that has no row here, or, of metrics,
in `audit.metric_table`.

GenAI names follow open-telemetry/semantic-conventions-genai, guardrail names its draft pull request 427; both are still
moving, so they stand here alone and `REVISION` travels with all that leaves. What is ours only is under `guardedvlm.`.
A guardrail's verdict (what it said) and action (what was done) are apart: a check that only watches says deny and does
allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guardedvlm.audit.checks import Check, Value, each, form, is_component, is_flag, is_number, one_of
from guardedvlm.audit.component import is_component_name
from guardedvlm.audit.facts import POLICY_NAME, Facts, MediaFormat, Method, Stage, Verdict, VerifyVerdict
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.reviewed import Basis, Destruction, ReviewVerdict
from guardedvlm.audit.summary import Summary
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.grounding import Ground
from guardedvlm.core.lifecycle import FINAL, State
from guardedvlm.core.ports import FinishReason
from guardedvlm.errors import Reason

REVISION = "semantic-conventions-genai-2026-11+guardrail-427"
"""What the names below were checked against."""
PROVIDER = "guardedvlm"
CHAT, RUN_GUARDRAIL = "chat", "run_guardrail"
TEXT, JSON = "text", "json"
WITHOUT_MODEL: Mapping[Method, str] = {
    Method.REDACT_IMAGE: "redact",
    Method.STREAM_REDACT_IMAGE: "redact",
    Method.GET_POLICY: "policy",
}
"""Span names of the calls that reach no model."""
STAGE, KIND = "guardedvlm.stage", "guardedvlm.kind"

PSEUDONYM, DIGEST = form("[0-9a-f]{32}"), form("[0-9a-f]{64}")
VERDICTS, REASON, STAGES = one_of(*Verdict), one_of(*Reason), one_of(*Stage)
POLICY_NAMES = form(POLICY_NAME)
_VERSION = form(r"[0-9]{1,3}(\.[0-9a-z]{1,6}){0,3}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A row: the name, which values it may have, the fact that it tells, and how it is read from facts with that."""

    name: str
    allows: Check
    fact: str
    read: Callable[[Facts], Value | None]


def _part(*names: str) -> Callable[[Facts], Value | None]:
    """A fact, or a member of one that is a table: `_part("regions", Kind.FACE)`."""

    def read(facts: Facts) -> Value | None:
        found: Any = facts
        for name in names:
            found = found.get(name)
            if found is None:
                return None
        return found  # type: ignore[no-any-return]  # checked by the row

    return read


def _row(name: str, allows: Check, *path: str) -> Attribute:
    return Attribute(name, allows, path[0], _part(*path))


def _finish(facts: Facts) -> Value | None:
    finish = facts.get("finish")
    return None if finish is None else (finish.value,)


def _cells(facts: Facts) -> Value | None:
    """How many cells of the grid a reviewer chose; not where."""
    marked = facts.get("marked")
    return None if marked is None else int(marked.get("cells", "0"), 16).bit_count()


def _asks(facts: Facts) -> bool:
    return "method" in facts and facts["method"] not in WITHOUT_MODEL


def _streams(facts: Facts) -> Value | None:
    return facts["method"] is Method.STREAM_ANALYZE_IMAGE if _asks(facts) else None


def _output(facts: Facts) -> Value | None:
    return None if not _asks(facts) else JSON if facts["method"] is Method.EXTRACT_FIELDS else TEXT


_WHOSE = {"tenant": PSEUDONYM, "policy": DIGEST, "kinds": each(one_of(*Kind))}
_OF_LEDGER: Mapping[str, Mapping[str, Check]] = {
    # Without the sample's name: whoever has both could look up whose picture it is before it is marked.
    "sampled": {"tenant": PSEUDONYM, "basis": one_of(*Basis), "failure": REASON},
    "viewed": {"sample": PSEUDONYM, "reviewer": PSEUDONYM},
    "marked": {
        "sample": PSEUDONYM,
        "reviewer": PSEUDONYM,
        "verdict": one_of(*ReviewVerdict),
        "basis": one_of(*Basis),
        **_WHOSE,
    },
    "incident": {"sample": PSEUDONYM, "of": PSEUDONYM, **_WHOSE},
    "destroyed": {"sample": PSEUDONYM, "cause": one_of(*Destruction)},
    "pruned": {
        "log": form("years-[1-9][0-9]{0,2}"),
        "origin": PSEUDONYM,
        "records": is_number,
        "root": DIGEST,
        "until": form("20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9][.][0-9]{3}Z"),
    },
}
"""What events of the ledger say of blind review and of records that were removed."""

FACTS: tuple[Attribute, ...] = (
    Attribute("gen_ai.operation.name", one_of(CHAT), "method", lambda facts: CHAT if _asks(facts) else None),
    Attribute("gen_ai.provider.name", one_of(PROVIDER), "method", lambda facts: PROVIDER if _asks(facts) else None),
    _row("gen_ai.request.model", is_component, "model", "name"),
    Attribute("gen_ai.request.stream", is_flag, "method", _streams),
    Attribute("gen_ai.output.type", one_of(TEXT, JSON), "method", _output),
    Attribute("gen_ai.response.finish_reasons", each(one_of(*FinishReason)), "finish", _finish),
    _row("gen_ai.usage.input_tokens", is_number, "input_tokens"),
    _row("gen_ai.usage.output_tokens", is_number, "output_tokens"),
    _row("error.type", REASON, "reason"),
    _row("guardedvlm.method", one_of(*Method), "method"),
    _row("guardedvlm.tenant", PSEUDONYM, "tenant"),
    _row("guardedvlm.caller", PSEUDONYM, "caller"),
    _row("guardedvlm.policy.name", POLICY_NAMES, "policy", "name"),
    _row("guardedvlm.policy.digest", DIGEST, "policy", "digest"),
    _row("guardedvlm.engine", is_component, "engine"),
    _row("guardedvlm.model.digest", DIGEST, "model", "digest"),
    _row("guardedvlm.document.media", one_of(*MediaFormat), "media"),
    _row("guardedvlm.document.pages", is_number, "pages"),
    _row("guardedvlm.document.width", is_number, "width"),
    _row("guardedvlm.document.height", is_number, "height"),
    _row("guardedvlm.document.bytes", is_number, "input_bytes"),
    _row("guardedvlm.input.digest", DIGEST, "input_digest"),
    _row("guardedvlm.image.digest", DIGEST, "image_digest"),
    _row("guardedvlm.prompt.digest", DIGEST, "prompt_digest"),
    _row("guardedvlm.prompt.chars", is_number, "prompt_chars"),
    _row("guardedvlm.answer.digest", DIGEST, "answer_digest"),
    _row("guardedvlm.answer.chars", is_number, "answer_chars"),
    _row("guardedvlm.sealed_labels", is_number, "sealed_labels"),
    *(_row(f"guardedvlm.regions.{kind}", is_number, "regions", kind) for kind in Kind),
    *(_row(f"guardedvlm.area_permille.{kind}", is_number, "area_permille", kind) for kind in Kind),
    *(_row(f"guardedvlm.actions.{action}", is_number, "actions", action) for action in Action),
    *(_row(f"guardedvlm.grounding.{ground}", is_number, "grounding", ground) for ground in Ground),
    *(_row(f"guardedvlm.milliseconds.{stage}", is_number, "timings", stage) for stage in Stage),
    _row("guardedvlm.instructions", is_number, "instructions"),
    _row("guardedvlm.verification.verdict", one_of(*VerifyVerdict), "verification", "verdict"),
    _row("guardedvlm.verification.passes", is_number, "verification", "passes"),
    _row("guardedvlm.prompt.verdict", VERDICTS, "prompt_screen", "verdict"),
    _row("guardedvlm.prompt.action", VERDICTS, "prompt_screen", "action"),
    _row("guardedvlm.answer.verdict", VERDICTS, "answer_screen", "verdict"),
    _row("guardedvlm.answer.action", VERDICTS, "answer_screen", "action"),
    _row("guardedvlm.policy_problems", is_number, "policy_problems"),
    _row("guardedvlm.shadow.of", PSEUDONYM, "shadow", "of"),
    _row("guardedvlm.shadow.candidate", DIGEST, "shadow", "candidate", "digest"),
    _row("guardedvlm.shadow.said", VERDICTS, "shadow", "said", "verdict"),
    _row("guardedvlm.shadow.would_say", VERDICTS, "shadow", "would_say", "verdict"),
    *(
        _row(f"guardedvlm.{fact}.{name}", allows, fact, name)
        for fact, parts in _OF_LEDGER.items()
        for name, allows in parts.items()
    ),
    Attribute("guardedvlm.marked.cells", is_number, "marked", _cells),
    _row("guardedvlm.torn_bytes", is_number, "torn_bytes"),
)
"""The root span of a request, which tells all its facts, and the log record of each record, which tells its own."""

REQUEST_ID, OUTCOME = "guardedvlm.request.id", "guardedvlm.outcome"
UNFINISHED = "UNFINISHED"
"""Outcome of a request whose process died."""
UID, EVENT, LEDGER_LOG, LEDGER_ORIGIN = (
    "log.record.uid",
    "guardedvlm.event",
    "guardedvlm.log",
    "guardedvlm.ledger.origin",
)
SEQUENCE, RECORD_HASH = "guardedvlm.ledger.sequence", "guardedvlm.ledger.hash"
LOG = form(r"ledger|[a-z]{1,16}(-[0-9]{1,5})?|log-[0-9a-f]{12}")
"""Name of a log, as `audit.signals.log_name` makes it: "service", "years-6"."""
EVENT_NAME = "guardedvlm.ledger.record"

ROOT: Mapping[str, Check] = MappingProxyType(
    {REQUEST_ID: PSEUDONYM, SEQUENCE: is_number, LEDGER_LOG: LOG, OUTCOME: one_of(*FINAL, UNFINISHED)}
)
"""What the root span says besides facts; the sequence is that of the closing record."""

RECORD: Mapping[str, Check] = MappingProxyType(
    {
        UID: form(r"[0-9a-f]{32}/[a-z0-9-]{1,24}/[0-9]{1,16}"),
        EVENT: one_of(*State, *LedgerEvent),
        LEDGER_LOG: LOG,
        LEDGER_ORIGIN: PSEUDONYM,
        SEQUENCE: is_number,
        RECORD_HASH: DIGEST,
        REQUEST_ID: PSEUDONYM,
    }
)
"""What a log record says besides facts. `log.record.uid` (origin, log and sequence) is its identity: two with the same
are one record that was delivered twice. The hash is the chain's: the collector's copy proves what the ledger held."""


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
        OPERATION: one_of(CHAT, RUN_GUARDRAIL),
        COMPONENT: STAGES,
        TARGET: one_of("input", "output"),
        VERDICT: VERDICTS,
        VERDICT_REASON: REASON,
        ACTION: VERDICTS,
        POLICY_ID: POLICY_NAMES,
        MODIFIED: is_flag,
        INPUT_HASH: DIGEST,
        STAGE: STAGES,
    }
)
"""Attributes of the spans below the root, and their values."""

RESOURCE: Mapping[str, Check] = MappingProxyType(
    {
        "service.name": one_of(PROVIDER),
        "service.version": _VERSION,
        "service.instance.id": PSEUDONYM,
        "guardedvlm.semconv.revision": one_of(REVISION),
    }
)
"""Attributes of the resource; what the SDK or the environment adds is dropped."""

SPAN_ATTRIBUTES: Mapping[str, Check] = MappingProxyType({**{row.name: row.allows for row in FACTS}, **ROOT, **CHILD})
"""Every attribute that a span may carry."""
LOG_ATTRIBUTES: Mapping[str, Check] = MappingProxyType({**{row.name: row.allows for row in FACTS}, **RECORD})
"""Every attribute that a log record may carry."""


def is_span_name(name: str) -> bool:
    """Whether `name` is one that `root_name` or `child_name` makes."""
    first, _, rest = name.partition(" ")
    if first == CHAT:
        return not rest or is_component_name(rest)
    return name in WITHOUT_MODEL.values() or (first in (RUN_GUARDRAIL, STAGE) and STAGES(rest))


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


_BY_FACT: Mapping[str, tuple[Attribute, ...]] = MappingProxyType(
    {fact: tuple(row for row in FACTS if row.fact == fact) for fact in {row.fact for row in FACTS}}
)


def told(facts: Facts) -> dict[str, Value]:
    """Attributes of what facts say."""
    read = ((row.name, row.read(facts)) for fact in facts for row in _BY_FACT.get(fact, ()))
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
