"""How the screens look for what a policy forbids to ask or say of people.

Two look, and what either finds counts: the rules (`topics`) read a text whole, the classifier (`topic_model`) reads it
in pieces. The classifier needs weights, so that both run in a worker of the guard, behind `Topics`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from guardedvlm.guard.screen.normal import normalise
from guardedvlm.guard.screen.topics import words_of
from guardedvlm.policy.model import Topic

if TYPE_CHECKING:
    from guardedvlm.guard.screen.topic_model import TopicModel

Topics = Callable[[Sequence[str], Sequence[str]], Awaitable[frozenset[Topic]]]
"""Rules and classifier: topics of whole texts (the rules) and of pieces of them (the classifier), or an error."""

MIN_PIECE = 2
"""Words that are no numbers, of a piece that the classifier reads; one word alone is the rules' matter."""
MAX_PIECE, OVERLAP = 24, 12
"""Words. A longer sentence is read in pieces that overlap: a question within a long one would drown in its mean."""

_END_OF_PIECE = re.compile(r"(?<=[.!?;:])[\"'”’)\]]*\s+|\n+")


def pieces_of(text: str) -> tuple[str, ...]:
    """What the classifier reads of `text`, as folded words: its sentences, and of long ones overlapping parts. Every
    word is in one of them but those of sentences shorter than MIN_PIECE."""
    sentences = _END_OF_PIECE.split(normalise(text))
    return tuple(dict.fromkeys(piece for sentence in sentences for piece in _parts(words_of(sentence).split())))


def _parts(words: Sequence[str]) -> Iterator[str]:
    if sum(not word.isdigit() for word in words) < MIN_PIECE:
        return
    for start in range(0, max(len(words) - OVERLAP, 1), OVERLAP):
        yield " ".join(words[start : start + MAX_PIECE])


async def read_here(texts: Sequence[str], pieces: Sequence[str]) -> frozenset[Topic]:
    """`Topics` in this process: for whoever screens without the guard's workers. Raises as `TopicModel` does."""
    return frozenset(await asyncio.to_thread(_model().topics, texts, pieces))


@cache
def _model() -> TopicModel:
    from guardedvlm.guard.screen.topic_model import TopicModel  # onnxruntime, only where it is asked for

    return TopicModel()
