"""From drafts in JSON to released fields: nothing leaves before each value was screened and the whole fits the schema.

An answer's way (`guard.release`), but that all of the draft is taken before any of it is examined. Each value goes
through the answer screen with its name before it, all of them as one answer, so that what two values tell together is
seen. What comes out is validated against the caller's schema before RELEASE_OPEN.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jsonschema import Draft202012Validator

from guardedvlm.core.field_schema import Record, parse_fields, pointer
from guardedvlm.core.grounding import Place
from guardedvlm.core.ports import Draft, Evidence, FinishReason
from guardedvlm.errors import InvalidInput, Reason, Refused, Unavailable
from guardedvlm.guard.answers import Piece
from guardedvlm.guard.outcome import ExtractedField, Extraction
from guardedvlm.guard.release import AnswerRelease
from guardedvlm.guard.screen import DenySet, Grounding
from guardedvlm.guard.screen.edits import LABEL
from guardedvlm.guard.screen.leaves import ABSENT, Leaf, PageObject, Path, border, combined, parted, rebuilt
from guardedvlm.guard.screen.normal import normalise
from guardedvlm.guard.screen.shown import MOST_PLACES

ASKED = "Extract these fields from the document. A field that the document does not show is null."
"""The question that goes with a schema."""


class FieldsRelease:
    """The fields of one document on their way out."""

    def __init__(self, release: AnswerRelease, fields: Record, grounding: Grounding, deny: DenySet, limit: int) -> None:
        """`limit`: the most characters of the draft about one page, above which an engine is not believed."""
        self._deny = deny
        self._release = release
        self._fields = fields
        self._grounding = grounding
        self._limit = limit

    async def extraction(self, pieces: AsyncIterator[Piece]) -> Extraction:
        """Take `pieces`, and give what may leave of them once it is on record that it does.

        Raises Refused(EXTRACTION_INVALID, ANSWER_REFUSED) and what the engine raises.
        """
        drafted = await _drafted(pieces, self._limit)
        leaves = combined(self._fields, [page.object(self._fields) for page in drafted.pages])
        screened = await self._release.screened(
            (f"{leaf.named}{leaf.text}", border(index), leaf.pages) for index, leaf in enumerate(leaves)
        )
        texts = [_unnamed(leaf, text) for leaf, text in zip(leaves, parted(screened, len(leaves)), strict=True)]
        await asyncio.to_thread(self._check_together, texts)
        values = {leaf.place: _value(leaf, text) for leaf, text in zip(leaves, texts, strict=True)}
        found = rebuilt(self._fields, values)
        _check(self._fields.document(), found)
        told = [self._field(leaf, text, _at(found, leaf.place)) for leaf, text in zip(leaves, texts, strict=True)]
        encoded = json.dumps(found, ensure_ascii=False, allow_nan=False)
        return Extraction(await self._release.released(encoded, drafted.last), tuple(told))

    def _check_together(self, texts: Sequence[str]) -> None:
        """Raise Refused(ANSWER_REFUSED) where values one after the other spell what is hidden: the names that stood
        between them when they were screened do not leave with them."""
        written = " ".join(LABEL.sub(" ", text) for text in texts if text)
        if self._deny.matches(normalise(written)):
            raise Refused(Reason.ANSWER_REFUSED)

    def _field(self, leaf: Leaf, text: str, value: Any) -> ExtractedField:
        hidden = text != leaf.text or value is None or value is ABSENT or bool(LABEL.search(text))
        shown = () if hidden else self._grounding.shows(text, leaf.pages)
        boxes = leaf.reading.boxes if leaf.reading else ()
        read = tuple(Place(page, box) for page in leaf.pages for box in boxes)[:MOST_PLACES]
        confidence = leaf.reading.confidence if leaf.reading else None
        return ExtractedField(pointer(leaf.place), shown or read, confidence, bool(shown), hidden)


@dataclass(slots=True)
class _Page:
    """The draft about one picture."""

    pages: Sequence[int]
    text: list[str] = field(default_factory=list, repr=False)
    last: Draft | None = field(default=None, repr=False)

    def object(self, fields: Record) -> PageObject:
        """The object that it writes. Raises Refused(EXTRACTION_INVALID) for anything else."""
        try:
            value = json.loads(
                "".join(self.text), object_pairs_hook=_distinct, parse_constant=_finite, parse_float=_finite
            )
        except (ValueError, RecursionError):
            raise Refused(Reason.EXTRACTION_INVALID, of="draft") from None
        _check(fields.document(open_ended=True), value)
        readings = self.last.readings if self.last else ()
        return PageObject(value, self.pages, {reading.pointer: reading for reading in readings})


@dataclass(frozen=True, slots=True)
class _Drafted:
    pages: list[_Page]
    last: Draft  # with the finish, the sum of the tokens and the evidence of all pages


async def _drafted(pieces: AsyncIterator[Piece], limit: int) -> _Drafted:
    """All pieces, page by page. Raises Unavailable(INFERENCE_FAILED) where an engine writes without end, or stops
    without saying why; Refused(EXTRACTION_INVALID) where the token limit cut an object off."""
    found: list[_Page] = []
    evidence: list[Evidence] = []
    length = 0
    async for piece in pieces:
        draft = piece.draft
        if piece.lead or not found:
            found.append(_Page(piece.pages))
            length = 0
        length += len(draft.text)
        if length > limit:
            break
        evidence += draft.evidence
        if draft.text:
            found[-1].text.append(draft.text)
        if draft.readings:
            found[-1].last = draft
        if draft.finish is FinishReason.LENGTH:
            raise Refused(Reason.EXTRACTION_INVALID, of="length")
        if draft.finish is not None:
            return _Drafted([page for page in found if page.text], replace(draft, evidence=tuple(evidence)))
    raise Unavailable(Reason.INFERENCE_FAILED)


def check_fixed(fields: Record, screened: str) -> None:
    """Raise Refused(QUESTION_PERSONAL) where the prompt screen rewrote a name or a choice of the schema: what came back
    would be another object than the one that was asked for."""
    try:
        kept = parse_fields(screened)
    except InvalidInput:
        raise Refused(Reason.QUESTION_PERSONAL) from None
    if [*kept.fixed()] != [*fields.fixed()]:
        raise Refused(Reason.QUESTION_PERSONAL)


def _check(schema: Mapping[str, Any], value: Any) -> None:
    if not Draft202012Validator(schema).is_valid(value):
        raise Refused(Reason.EXTRACTION_INVALID, of="draft")


def _unnamed(leaf: Leaf, text: str) -> str:
    """What left of a value without its name before it; of a text in which the screen replaced both, all of it."""
    return text.removeprefix(leaf.named) if leaf.named else text


def _value(leaf: Leaf, text: str) -> Any:
    return leaf.value if text == leaf.text else text or ABSENT


def _at(found: Any, place: Path) -> Any:
    for part in place:
        if isinstance(part, str) and part not in found:
            return ABSENT
        found = found[part]
    return found


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError
    return found


def _finite(text: str) -> float:
    """The number; "1e999" and NaN are none that JSON can write again. Raises ValueError."""
    if not math.isfinite(value := float(text)):
        raise ValueError
    return value
