"""What is told to the browser: messages of GuardService as plain values, with words beside the codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from guardedvlm.errors import ConfigurationError, GuardedVLMError
from guardedvlm.playground.ports import Event, Offer
from guardedvlm.playground.sheets import sheets
from guardedvlm.playground.words import advice, in_words, why
from guardedvlm.policy.compare import Change
from guardedvlm.transport.response import redacted_document
from guardedvlm.v1 import guard_pb2 as pb

Told: TypeAlias = tuple[dict[str, Any], bytes | None]
"""A line of the response, and the bytes behind it."""

_GROUND = {pb.GROUND_GROUNDED: "grounded", pb.GROUND_UNGROUNDED: "ungrounded", pb.GROUND_MASKED: "masked"}
_FINISH = {
    pb.FINISH_REASON_STOP: "complete",
    pb.FINISH_REASON_LENGTH: "the token limit was reached",
    pb.FINISH_REASON_CANNOT_TELL: "the visible picture does not answer the question",
}


def told(event: Event) -> Iterator[Told]:
    """The lines of one event. Drawing the pages of a document takes a while: not for the event loop."""
    kind = event.WhichOneof("event")
    if kind == "progress":
        yield (
            {"progress": {"stage": event.progress.stage, "page": event.progress.page, "pages": event.progress.pages}},
            None,
        )
    elif isinstance(event, pb.StreamRedactImageResponse):
        yield from _redacted(event.result.redaction)
        yield {"done": {"audit_id": event.result.audit_id, "times": _times(event.result.redaction.stage_times)}}, None
    elif kind == "redaction":
        yield from _redacted(event.redaction)
    elif kind == "text":
        yield {"text": event.text}, None
    elif kind == "done":
        yield {"done": _analysis(event.done)}, None


def refused(error: GuardedVLMError) -> Told:
    """A refusal in words. Of an operator's own file also where and why, which is known in local use alone."""
    message: dict[str, Any] = {
        "code": error.code,
        "reason": error.reason.value,
        "sentence": error.sentence,
        "advice": advice(error.reason),
        "details": {name: str(value) for name, value in error.details.items()},
    }
    if isinstance(error, ConfigurationError):
        message["place"], message["explanation"] = error.place, error.explanation
    return {"refused": message}, None


def offered(offer: Offer) -> dict[str, Any]:
    """A policy of the list."""
    faults = [
        {"place": fault.place, "explanation": fault.explanation, "excerpt": fault.excerpt} for fault in offer.faults
    ]
    if offer.policy is None:
        return {"id": offer.id, "name": offer.id, "faults": faults}
    policy = offer.policy
    return {
        "id": offer.id,
        "name": policy.name,
        "version": policy.version,
        "digest": policy.digest(),
        "description": policy.description,
        "mode": policy.text.mode.value,
        "boxes": policy.say.boxes,
        "redacted_image": policy.say.redacted_image,
        "faults": faults,
    }


def changes(found: Sequence[Change]) -> list[dict[str, str]]:
    """Differences of two policies."""
    return [{"path": one.path, "old": one.old, "new": one.new, "effect": one.effect.value} for one in found]


def _redacted(redaction: pb.Redaction) -> Iterator[Told]:
    pages = [_page(page) for page in redaction.pages]
    yield {"redaction": {"pages": pages, "policy_digest": redaction.policy_digest}}, None
    whole = redacted_document(redaction)
    if not whole.content:
        return
    for number, picture in sheets(whole.media_type, whole.content):
        yield {"sheet": {"page": number, "media_type": "image/png"}}, picture
    yield {"file": {"media_type": whole.media_type}}, whole.content


def _page(page: pb.RedactedPage) -> dict[str, Any]:
    verified = page.verification
    return {
        "width": page.width,
        "height": page.height,
        "regions": [_region(region) for region in page.regions],
        "passes": verified.passes,
        "residuals": _counts(verified.residuals),
        "verified": {"width": verified.width, "height": verified.height},
    }


def _region(region: pb.Region) -> dict[str, Any]:
    return {
        "kind": region.kind,
        "words": in_words(region.kind),
        "why": why(region.kind, region.detector, region.action),
        "box": _box(region.box) if region.HasField("box") else None,
        "score": round(region.score, 2),
        "detector": region.detector,
        "action": region.action,
        "label": region.label,
    }


def _analysis(found: pb.Analysis) -> dict[str, Any]:
    return {
        "answer": found.answer,
        "finish": _FINISH.get(found.finish_reason, "not said"),
        "model": found.model,
        "audit_id": found.audit_id,
        "modified": found.screening.modified,
        "edits": _counts(found.screening.edits),
        "instructions": found.screening.picture_instructions,
        "grounding": [
            {
                "start": span.start,
                "end": span.end,
                "ground": _GROUND.get(span.ground, "ungrounded"),
                "places": [{"page": place.page_index, "box": _box(place.box)} for place in span.places],
            }
            for span in found.grounding
        ],
        "evidence": [{"page": item.page_index, "box": _box(item.box)} for item in found.evidence],
        # Of the raster that the model saw; places count in it.
        "verified": [
            {"width": page.verification.width, "height": page.verification.height} for page in found.redaction.pages
        ],
        "times": _times(found.stage_times),
    }


def _box(box: pb.Box) -> list[int]:
    return [box.x0, box.y0, box.x1, box.y1]


def _counts(counts: Sequence[pb.KindCount]) -> list[Mapping[str, Any]]:
    return [{"kind": item.kind, "words": in_words(item.kind), "count": item.count} for item in counts]


def _times(times: Sequence[pb.StageTime]) -> list[Mapping[str, Any]]:
    return [{"stage": item.stage, "ms": item.duration.ToMilliseconds()} for item in times]
