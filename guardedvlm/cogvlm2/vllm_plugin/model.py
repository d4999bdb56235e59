"""CogVLM2 as vLLM runs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.distributed import get_pp_group
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsMRoPE, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.utils import PPMissingLayer, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from guardedvlm.cogvlm2.vllm_plugin import loading, routing
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig
from guardedvlm.cogvlm2.vllm_plugin.language import ParallelDecoder
from guardedvlm.cogvlm2.vllm_plugin.processing import (
    CogVLM2DummyInputs,
    CogVLM2MultiModalProcessor,
    CogVLM2ProcessingInfo,
)
from guardedvlm.cogvlm2.vllm_plugin.vision import parallel_vision_tower


@MULTIMODAL_REGISTRY.register_processor(
    CogVLM2MultiModalProcessor, info=CogVLM2ProcessingInfo, dummy_inputs=CogVLM2DummyInputs
)
class CogVLM2ForVllm(nn.Module, SupportsMultiModal, SupportsMRoPE, SupportsPP):
    """Tower, decoder and head. Tensor and pipeline parallel; one image a prompt."""

    packed_modules_mapping: ClassVar[dict[str, list[str]]] = {"gate_up_proj": ["gate_proj", "up_proj"]}

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self.config: CogVLM2VllmConfig = vllm_config.model_config.hf_config
        with self._mark_tower_model(vllm_config, "image"):
            self.vision = parallel_vision_tower(self.config, vllm_config, maybe_prefix(prefix, "vision"))
        with self._mark_language_model(vllm_config):
            self.model = ParallelDecoder(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        self.lm_head: nn.Module = PPMissingLayer()
        if get_pp_group().is_last_rank:
            self.lm_head = ParallelLMHead(
                self.config.vocab_size,
                self.config.hidden_size,
                quant_config=vllm_config.quant_config,
                prefix=maybe_prefix(prefix, "lm_head"),
            )
        self.logits_processor = LogitsProcessor(self.config.vocab_size)
        self.make_empty_intermediate_tensors = self.model.make_empty_intermediate_tensors
        self._step_has_image = False

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """None: a picture leaves nothing in a prompt's text."""
        return None

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
        """Positions of a prompt with each token's expert, see `routing`, and what generation adds to a slot."""
        places = [feature.mm_position for feature in mm_features]
        return routing.prompt_channels(input_tokens, places, self.config.image_end_token_id)

    def embed_multimodal(self, **kwargs: Any) -> MultiModalEmbeddings:
        """`pixel_values` (images, 3, side, side) -> (images, image tokens, hidden)."""
        pixel_values = kwargs.get("pixel_values")
        if pixel_values is None:
            return []
        return self.vision(pixel_values.to(self.vision.patch_embedding.proj.weight.dtype))

    def embed_input_ids(
        self,
        input_ids: torch.Tensor,
        multimodal_embeddings: MultiModalEmbeddings | None = None,
        *,
        is_multimodal: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(tokens,) -> (tokens, hidden), the image's in their places. Called before each step of real tokens."""
        self._step_has_image = multimodal_embeddings is not None and len(multimodal_embeddings) > 0
        return SupportsMultiModal.embed_input_ids(self, input_ids, multimodal_embeddings, is_multimodal=is_multimodal)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor | IntermediateTensors:
        """One step: states of (tokens, hidden), or what the next stage of a pipeline takes.

        Without an image's token in it the step runs compiled, and in graphs; with one it is gathered by expert.
        """
        # The first stage knows of an image by its embeddings, without asking the GPU; the others look.
        may_have_image = self._step_has_image or intermediate_tensors is not None
        self._step_has_image = False
        rows = routing.plan_rows(positions) if may_have_image else None
        if rows is None:
            return self.model(input_ids, positions, intermediate_tensors, inputs_embeds)
        return self.model.forward(input_ids, positions, intermediate_tensors, inputs_embeds, rows)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """(rows, hidden) -> (rows, vocabulary); None where another rank gathers them."""
        return self.logits_processor(self.lm_head, hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Take the checkpoint's tensors. Raises ConfigurationError: TENSOR_*, see `loading.load`."""
        filled = loading.load(self, self.config, weights)
        self.model.share_rope()
        return filled
