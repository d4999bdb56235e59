"""Decoding under a JSON Schema: at each step only tokens that can still become an object that is valid against it.

Which tokens those are is llguidance's to say (https://github.com/guidance-ai/llguidance). Here its masks meet the
library's generation, and the likelihoods of the tokens become confidences of the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from transformers import LogitsProcessor

from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import Reading
from guardedvlm.errors import Internal, InvalidInput, Reason
from guardedvlm.inference.cogvlm2.readings import readings

_COMPACT = {"whitespace_flexible": False}
"""No white space between the parts: a model that writes spaces for ever would never come to an end."""


class Grammars:
    """Compiles schemas for one tokenizer. `size`: tokens that the model's logits have."""

    def __init__(self, tokenizer: Any, size: int, ends: Sequence[int]) -> None:
        self._tokenizer = LLTokenizer(tokenizer.backend_tokenizer.to_str(), n_vocab=size, eos_token=list(ends))

    def constraint(self, schema: str) -> Constraint | None:
        """What keeps an answer to `schema`; None for a shape in words, or a schema beyond `core.field_schema`: the
        prompt alone asks for it. Raises Internal(INFERENCE_FAILED) where the library takes no such schema."""
        try:
            parse_fields(schema)
        except InvalidInput:
            return None
        grammar = LLMatcher.grammar_from_json_schema(schema, defaults=_COMPACT)
        matcher = LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise Internal(Reason.INFERENCE_FAILED)
        return Constraint(matcher, self._tokenizer.vocab_size)


class Constraint(LogitsProcessor):
    """Masks the logits of one answer, and keeps the probabilities of what is drawn. For one sequence, used once."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher = matcher
        self._mask = allocate_token_bitmask(1, size)
        self._length: int | None = None  # of the prompt, then of what was seen
        self._before: torch.Tensor | None = None  # log-probabilities of the step before
        self._drawn: list[tuple[int, float]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores with everything that may not follow at minus infinity."""
        if self._length is not None:
            self._take(int(input_ids[0, -1]))
        self._length = int(input_ids.shape[1])
        fill_next_token_bitmask(self._matcher, self._mask, 0)
        bits = np.unpackbits(self._mask.view(np.uint8), axis=1, bitorder="little")[:, : scores.shape[-1]]
        allowed = torch.from_numpy(bits.astype(bool)).to(scores.device)
        masked = scores.masked_fill(~allowed, -math.inf)
        self._before = torch.log_softmax(masked[0].float(), dim=-1)
        return masked

    def _take(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise Internal(Reason.INFERENCE_FAILED)
        if self._before is not None:
            self._drawn.append((token, float(self._before[token])))

    def readings(self, tokenizer: Any) -> tuple[Reading, ...]:
        """Of each value of the finished answer how sure the model was; () where the answer is not whole."""
        drawn = [(tokenizer.decode([token], skip_special_tokens=True), logp) for token, logp in self._drawn]
        return readings(drawn)
