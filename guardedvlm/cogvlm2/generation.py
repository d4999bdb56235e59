"""What `generate()` must know of CogVLM2: types and positions of the whole prompt, made once.

The library would take the image placeholder, which is the padding token, for padding; would count positions from the
attention mask; and would hand the prompt's types down to every decoding step.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import GenerationMixin
from transformers.utils import logging

from guardedvlm.cogvlm2 import routing

logger = logging.get_logger(__name__)


class CogVLM2GenerationMixin(GenerationMixin):
    """`generate(input_ids, attention_mask, token_type_ids, pixel_values, ...)` with the library's own loop."""

    config: Any

    def _prepare_attention_mask_for_generation(
        self, inputs_tensor: torch.Tensor, generation_config: Any, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Mask of a call that came without one."""
        ids = _ids(inputs_tensor, model_kwargs)
        if ids is None:
            return super()._prepare_attention_mask_for_generation(inputs_tensor, generation_config, model_kwargs)
        return routing.mask_of_left_padding(ids, self.config.image_token_id)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Positions of the whole prompt, shape (batch, tokens); decoding continues from the last."""
        mask, cache = model_kwargs.get("attention_mask"), model_kwargs.get("past_key_values")
        types = self._types(inputs_tensor, model_kwargs)
        tokens = types.shape[1]
        past = 0 if cache is None else int(cache.get_seq_length())
        whole = past == 0 if mask is None else mask.shape[1] == tokens
        if not whole and hasattr(cache, routing.OFFSET):
            return routing.following_positions(cache, past, tokens)
        return routing.position_ids(types, mask)

    def _types(self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]) -> torch.Tensor:
        """Types of the prompt; where they are missing they are derived and kept for the prefill."""
        types: torch.Tensor | None = model_kwargs.get("token_type_ids")
        if types is None:
            ids = _ids(inputs_tensor, model_kwargs)
            if ids is None or model_kwargs.get("pixel_values") is None:
                shape = (inputs_tensor if ids is None else ids).shape[:2]
                return torch.zeros(shape, dtype=torch.long, device=inputs_tensor.device)
            types = routing.image_token_types(ids, model_kwargs.get("attention_mask"), self.config.image_token_id)
            model_kwargs["token_type_ids"] = types
        return types

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, is_first_iteration: bool | None = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Inputs of one call: types and pixels with the prompt only, so that decoding gathers nothing."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        types = inputs.get("token_type_ids")
        if not is_first_iteration and kwargs.get("use_cache", True):
            inputs.pop("token_type_ids", None)
        elif types is not None and types.shape[1] < input_ids.shape[1] and not types.any():
            # The prompt continues a cache that holds its image already.
            inputs.pop("pixel_values", None)
        return inputs

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *args: Any, num_new_tokens: int = 1, **options: Any
    ) -> dict[str, Any]:
        """What was generated is text, whatever the prompt's last token was."""
        types: torch.Tensor | None = model_kwargs.pop("token_type_ids", None)
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *args, num_new_tokens=num_new_tokens, **options
        )
        if types is not None:
            text = types.new_zeros((len(types), num_new_tokens))
            updated["token_type_ids"] = torch.cat((types, text), dim=1)
        return updated

    def _prefill(
        self, input_ids: torch.Tensor, generation_config: Any, model_kwargs: dict[str, Any], *args: Any, **options: Any
    ) -> Any:
        """A prompt with an image goes in whole: in chunks the library would drop its pixels."""
        if generation_config.prefill_chunk_size is not None and model_kwargs.get("pixel_values") is not None:
            logger.warning_once("prefill_chunk_size is not used for prompts with images")
            generation_config = copy.copy(generation_config)
            generation_config.prefill_chunk_size = None
        return super()._prefill(input_ids, generation_config, model_kwargs, *args, **options)


def _ids(inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]) -> torch.Tensor | None:
    """The prompt's tokens, which are not the main input where embeddings are."""
    if not inputs_tensor.is_floating_point():
        return inputs_tensor
    ids: torch.Tensor | None = model_kwargs.get("input_ids")
    return ids if ids is not None and ids.shape[1] else None
