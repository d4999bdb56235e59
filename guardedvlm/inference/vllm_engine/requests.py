"""Cleared values -> what vLLM takes: tokens, the picture, sampling. Every cache is bounded by the clearance's scope.

vLLM keeps keys and values of prompt beginnings, prepared pictures and the tower's output. The first are keyed by
`cache_salt`, the others by the picture's identifier: both hold the scope, so nobody meets what another scope left
behind, nor learns from a short answer time that it asked about the same picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from guardedvlm.cogvlm2.processing import CogVLM2Processor
from guardedvlm.cogvlm2.prompts import render
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import Sampling
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.inference.cogvlm2.asked import LEAST_TEMPERATURE, asked, with_schema

MS = 1000
SEED_BITS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What vLLM is given. `tokens` counts the prompt's, the picture's included."""

    prompt: dict[str, Any] = field(repr=False)
    sampling: dict[str, Any] = field(repr=False)
    tokens: int
    priority: int
    is_constrained: bool


class Requests:
    """Makes requests for one model. `context`: tokens of prompt and answer together."""

    def __init__(self, processor: CogVLM2Processor, context: int) -> None:
        self._processor = processor
        self._config = processor.config
        self._context = context

    def request(
        self, image: ClearedImage, prompt: ClearedPrompt, sampling: Sampling, scope: str, deadline: Deadline
    ) -> Request:
        """The request of cleared values. Raises InvalidInput(PROMPT_TOO_LONG)."""
        words = self._words(prompt)
        tokens = 1 + self._config.vision_config.image_tokens + len(words)
        if tokens >= self._context:
            raise InvalidInput(Reason.PROMPT_TOO_LONG, tokens=tokens, limit=self._context)
        is_constrained = _is_schema(prompt.schema)
        return Request(
            prompt={
                # The picture's placeholders are the plugin's to put in, behind beginning-of-text.
                "prompt_token_ids": [self._config.bos_token_id, *words],
                "multi_modal_data": {"image": Image.fromarray(image.raster)},
                "multi_modal_uuids": {"image": [picture_key(scope, image.digest)]},
                "cache_salt": scope,
            },
            sampling=self._sampling(sampling, self._context - tokens)
            | ({"json": prompt.schema} if is_constrained else {}),
            tokens=tokens,
            priority=priority(deadline),
            is_constrained=is_constrained,
        )

    def _words(self, prompt: ClearedPrompt) -> list[int]:
        turns = [(turn.question, turn.answer) for turn in prompt.history]
        question = with_schema(asked(prompt), prompt.schema)
        return self._processor.encode_text(render(question, turns, self._config.template_version))

    def _sampling(self, sampling: Sampling, room: int) -> dict[str, Any]:
        is_greedy = sampling.temperature < LEAST_TEMPERATURE
        return {
            "max_tokens": min(sampling.max_tokens, room),
            "temperature": 0.0 if is_greedy else sampling.temperature,
            "top_p": 1.0 if is_greedy else sampling.top_p,
            "seed": None if is_greedy else sampling.seed & SEED_BITS,
            "stop_token_ids": list(self._config.eos_token_ids),
        }


def picture_key(scope: str, digest: str) -> str:
    """What one scope's copy of a picture is called. Keyed: it tells nobody which picture it is."""
    return hashlib.sha256(f"guardedvlm.v1.picture\x00{scope}\x00{digest}".encode()).hexdigest()


def priority(deadline: Deadline) -> int:
    """Earliest deadline first, in ms: vLLM takes the lowest number next. The deadline is all the urgency that a request
    carries; one that can wait long comes later, and comes, because its own deadline draws near."""
    return int(deadline.at * MS)


def _is_schema(schema: str) -> bool:
    """Whether decoding is kept to it: a shape in words, or beyond `core.field_schema`, the prompt alone asks for."""
    if not schema:
        return False
    try:
        parse_fields(schema)
    except InvalidInput:
        return False
    return True
