"""The reader's child process: reads the cleared pixels and answers. Run by `guardedvlm.worker`, one call at a time.

Nothing of a page outlives its call: no cache, no file, no log.
"""

from __future__ import annotations

from collections.abc import Sequence

from guardedvlm.core.clearance import Turn
from guardedvlm.core.ports import FinishReason
from guardedvlm.core.region import Raster
from guardedvlm.core.word import TextLine
from guardedvlm.inference.reader.answer import Answer
from guardedvlm.inference.reader.answering import Answering
from guardedvlm.inference.reader.reply import Reply
from guardedvlm.inference.reader.schema import filled, wanted
from guardedvlm.reading.embedding import MODEL, TOKENIZER, Sentences
from guardedvlm.reading.ppocr import PageReader

MAX_EVIDENCE = 64
"""Boxes in one answer: a transcript has one a line, and a reviewer looks at a screen."""


class Reader:
    """The role's object. Making it loads all weights; raises Unavailable when a file is absent or changed."""

    def __init__(self) -> None:
        self._pages = PageReader(marks_unread=False)
        self._sentences = Sentences()
        self._answering = Answering(self._sentences)

    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file in use, by package and name."""
        own = {f"{package}/{name}": digest for package, name, digest in (MODEL, TOKENIZER)}
        return self._pages.weights() | own

    def answer(
        self, raster: Raster, *, question: str, history: Sequence[tuple[str, str]], schema: str, max_tokens: int
    ) -> Reply:
        """Read `raster`, (H, W, 3) uint8 RGB, and answer in at most `max_tokens` tokens.

        Raises InvalidInput(FIELD_INVALID) for a schema that is no flat JSON object schema.
        """
        properties = wanted(schema) if schema.strip() else ()
        turns = [Turn(asked, answered) for asked, answered in history]
        lines = self._pages.read(raster)
        if properties:
            answer = filled(
                properties,
                lambda asked: self._answering.answer(lines, raster, asked),
                lambda asked: self._answering.listed(lines, asked),
            )
        else:
            answer = self._answering.answer(lines, raster, question, turns)
        prompt = " ".join([question, schema, *(part for turn in history for part in turn)])
        return self._reply(answer, lines, prompt, max_tokens)

    def _reply(self, answer: Answer, lines: Sequence[TextLine], prompt: str, max_tokens: int) -> Reply:
        text = self._sentences.first_tokens(answer.text, max_tokens)
        seen = self._sentences.tokens(prompt) + sum(self._sentences.tokens(line.text) for line in lines)
        boxes = ((item.box, item.score) for item in answer.evidence[:MAX_EVIDENCE])
        return Reply(
            text=text,
            finish=answer.finish if text == answer.text else FinishReason.LENGTH,
            input_tokens=seen,
            output_tokens=self._sentences.tokens(text),
            evidence=tuple((box.x0, box.y0, box.x1, box.y1, score) for box, score in boxes),
            readings=tuple(
                (item.pointer, item.confidence or 0.0, tuple((box.x0, box.y0, box.x1, box.y1) for box in item.boxes))
                for item in answer.readings
            ),
        )
