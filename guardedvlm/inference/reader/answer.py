"""An answer before it is cut into drafts, and the sentences that the reader says when it has none."""

from __future__ import annotations

from dataclasses import dataclass, field

from guardedvlm.core.ports import Evidence, FinishReason, Reading
from guardedvlm.inference.reader.page import Excerpt

NO_TEXT = (
    "This picture has no readable text. Describing it needs a vision-language model such as CogVLM2; "
    "the embedded reader only reads text."
)
CANNOT_TELL = "I cannot tell this from the visible text of the page."
VISUAL = (
    "I cannot tell: this question is about what the picture shows. Answering it needs a vision-language model such as "
    "CogVLM2; the embedded reader only reads text."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A sentence or more, the places it was read from, and why it ends. `value` is the bare value, if it has one."""

    text: str = field(repr=False)
    evidence: tuple[Evidence, ...] = ()
    finish: FinishReason = FinishReason.STOP
    value: str = field(default="", repr=False)
    readings: tuple[Reading, ...] = ()  # of an answer in JSON


def told(text: str, *sources: Excerpt, score: float = 1.0, value: str = "") -> Answer:
    """An answer read from `sources`; each box has the recogniser's confidence times `score`."""
    places = tuple(Evidence(source.box, round(min(1.0, source.confidence * score), 3)) for source in sources)
    return Answer(text, places, value=value)


def unknown(text: str = CANNOT_TELL) -> Answer:
    """The answer that there is none."""
    return Answer(text, (), FinishReason.CANNOT_TELL)
