"""Between protobuf messages and the guard's values. Decides nothing; refuses what has no meaning (FIELD_INVALID)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from google.protobuf.duration_pb2 import Duration

from guardedvlm.audit.facts import Stage
from guardedvlm.core.clearance import Turn
from guardedvlm.core.finding import Kind, Region
from guardedvlm.core.grounding import Ground, GroundedSpan, Place
from guardedvlm.core.ports import FinishReason, Sampling
from guardedvlm.core.region import Box
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.image import Format
from guardedvlm.guard.outcome import Answer, ExtractedField, Extraction, PageOutcome, Progress, Redaction
from guardedvlm.guard.pipeline import Event, Question
from guardedvlm.policy.model import Policy
from guardedvlm.transport.reidentification import Sealed
from guardedvlm.v1 import guard_pb2 as pb

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{0,64}\Z")

_FINISH = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.CANNOT_TELL: pb.FINISH_REASON_CANNOT_TELL,
}
_GROUND = {
    Ground.GROUNDED: pb.GROUND_GROUNDED,
    Ground.UNGROUNDED: pb.GROUND_UNGROUNDED,
    Ground.MASKED: pb.GROUND_MASKED,
}


def request_id(text: str) -> str:
    """The id when it is well-formed. Raises InvalidInput(FIELD_INVALID)."""
    if not REQUEST_ID.match(text):
        raise InvalidInput(Reason.FIELD_INVALID, field="request_id")
    return text


def question(query: pb.Query, policy: Policy) -> Question:
    """The question with the sampling that the caller wishes: `Policy.sampling` brings it inside the policy's limits.

    Raises InvalidInput(FIELD_INVALID).
    """
    if query.max_tokens < 0:
        raise InvalidInput(Reason.FIELD_INVALID, field="query.max_tokens")
    if not 0 <= query.temperature <= 2:
        raise InvalidInput(Reason.FIELD_INVALID, field="query.temperature")
    if not 0 <= query.top_p <= 1:
        raise InvalidInput(Reason.FIELD_INVALID, field="query.top_p")
    return Question(
        text=query.question,
        history=tuple(Turn(turn.question, turn.answer) for turn in query.history),
        schema=query.answer_schema,
        sampling=Sampling(
            max_tokens=query.max_tokens or policy.say.max_tokens,
            temperature=query.temperature,
            top_p=query.top_p or 1.0,
            seed=query.seed,
        ),
    )


def analysis(answer: Answer, policy: Policy) -> pb.Analysis:
    """The message for a finished answer."""
    return pb.Analysis(
        answer=answer.text,
        finish_reason=_FINISH[answer.finish],
        redaction=redaction(answer.redaction, policy),
        evidence=[pb.Evidence(box=_box(item.box), score=item.score, page_index=item.page) for item in answer.evidence],
        screening=_screening(answer),
        grounding=[_grounded(span) for span in answer.grounding],
        usage=pb.Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens),
        model=answer.model,
        audit_id=answer.redaction.audit_id,
        stage_times=_times(answer.times),
        reidentification=reidentification(answer.redaction.sealed),
    )


def extraction(found: Extraction, policy: Policy) -> pb.ExtractFieldsResponse:
    """The message for extracted fields."""
    answer = found.answer
    return pb.ExtractFieldsResponse(
        json=answer.text,
        fields=[_extracted(field, policy) for field in found.fields],
        finish_reason=_FINISH[answer.finish],
        redaction=redaction(answer.redaction, policy),
        screening=_screening(answer),
        usage=pb.Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens),
        model=answer.model,
        audit_id=answer.redaction.audit_id,
        stage_times=_times(answer.times),
        reidentification=reidentification(answer.redaction.sealed),
    )


def _extracted(field: ExtractedField, policy: Policy) -> pb.ExtractedField:
    return pb.ExtractedField(
        pointer=field.pointer,
        places=_places(field.places) if policy.say.boxes or not field.hidden else None,
        confidence=field.confidence,
        grounded=field.grounded,
        hidden=field.hidden,
    )


def _screening(answer: Answer) -> pb.Screening:
    return pb.Screening(
        edits=_counts(answer.edits), modified=_is_modified(answer), picture_instructions=answer.instructions
    )


def _is_modified(answer: Answer) -> bool:
    return bool(answer.edits) or any(span.ground is Ground.MASKED for span in answer.grounding)


def _grounded(span: GroundedSpan) -> pb.GroundedSpan:
    return pb.GroundedSpan(start=span.start, end=span.end, ground=_GROUND[span.ground], places=_places(span.places))


def _places(places: Iterable[Place]) -> list[pb.Place]:
    return [pb.Place(page_index=place.page, box=_box(place.box)) for place in places]


def reidentification(sealed: Sealed | None) -> pb.Reidentification | None:
    """The message for what the labels stand for; None where it was not asked for."""
    return pb.Reidentification(key_id=sealed.key_id, sealed=sealed.box) if sealed else None


def event(released: Event, policy: Policy) -> pb.StreamAnalyzeImageResponse:
    """The message for one event of a streamed answer."""
    if isinstance(released, str):
        return pb.StreamAnalyzeImageResponse(text=released)
    if isinstance(released, Redaction):
        return pb.StreamAnalyzeImageResponse(redaction=redaction(released, policy))
    return pb.StreamAnalyzeImageResponse(done=analysis(released, policy))


def progress(told: Progress) -> pb.Progress:
    """The message for how far a request is."""
    return pb.Progress(stage=told.stage, page=told.done, pages=told.pages)


def redaction(found: Redaction, policy: Policy) -> pb.Redaction:
    """The message for what was hidden; boxes only where the policy gives them out."""
    message = pb.Redaction(
        pages=[_page(page, policy) for page in found.pages],
        policy_digest=found.policy_digest,
        stage_times=_times(found.times),
    )
    if found.file is not None:
        alone = len(found.pages) == 1 and found.file.format is not Format.PDF
        place = message.pages[0] if alone else message.document
        place.media_type, place.content = found.file.media_type, found.file.content
    return message


def redacted(found: Redaction, policy: Policy) -> pb.RedactImageResponse:
    """The message for a redaction that was all that was asked for."""
    return pb.RedactImageResponse(
        redaction=redaction(found, policy),
        audit_id=found.audit_id,
        reidentification=reidentification(found.sealed),
    )


def _page(page: PageOutcome, policy: Policy) -> pb.RedactedPage:
    return pb.RedactedPage(
        page_index=page.index,
        width=page.size.width,
        height=page.size.height,
        regions=[_region(region, policy) for region in page.regions],
        counts=_counts(page.counts()),
        verification=pb.Verification(
            passes=page.passes,
            residuals=_counts(page.residuals),
            width=page.verified.width,
            height=page.verified.height,
        ),
    )


def _region(region: Region, policy: Policy) -> pb.Region:
    return pb.Region(
        kind=region.kind,
        box=_box(region.box) if policy.say.boxes else None,
        score=region.score,
        detector=region.detector,
        action=region.action,
        page_index=region.page,
        label=region.label,
    )


def _box(box: Box) -> pb.Box:
    return pb.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)


def _counts(counts: Mapping[Kind, int]) -> list[pb.KindCount]:
    return [pb.KindCount(kind=kind, count=count) for kind, count in sorted(counts.items())]


def _times(times: Mapping[Stage, int]) -> list[pb.StageTime]:
    return [
        pb.StageTime(stage=stage, duration=Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000))
        for stage, ms in times.items()
    ]
