"""How a question and the turns before it become the text of a prompt: upstream's three templates.

No system prompt and no tokens for roles. The image stands right after the beginning-of-text token, before this text.
"""

from __future__ import annotations

from collections.abc import Sequence

from guardedvlm.cogvlm2.configuration import TEMPLATES
from guardedvlm.errors import InvalidInput, Reason

ANSWER_CUES = {"chat": "Answer:", "vqa": "Short answer:"}
"""What asks for an answer, in the question at hand and in the turns before it."""

Turn = tuple[str, str]
"""A past question and its answer."""
TURN_PARTS = 2


def render(query: str, history: Sequence[Turn] = (), template: str = "chat") -> str:
    """The prompt's text. `base` is the query itself and has no turns.

    Raises InvalidInput(FIELD_INVALID) for an unknown template, for a history where there is none, and for a turn that
    is not a question and an answer.
    """
    if template not in TEMPLATES or (template == "base" and history):
        raise InvalidInput(Reason.FIELD_INVALID, field="history" if template in TEMPLATES else "template")
    if any(len(turn) != TURN_PARTS for turn in history):
        raise InvalidInput(Reason.FIELD_INVALID, field="history")
    if template == "base":
        return query
    cue = ANSWER_CUES[template]
    turns = "".join(f"Question: {question} {cue} {answer}\n" for question, answer in history)
    return f"{turns}Question: {query} {cue}"
