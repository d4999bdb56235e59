"""Pictures on their way into vLLM: pixels as the native model makes them, and placeholders in the prompt.

A prompt comes without any placeholder. An image's tokens stand right after beginning-of-text, wherever a chat's message
held the picture: that is the only place where the model knows one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.inputs import MultiModalDataDict
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptIndexTargets,
    PromptInsertion,
    PromptUpdate,
)

from guardedvlm.cogvlm2.image_processing import CogVLM2ImageProcessor
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig

IMAGES = 1
"""Images that a prompt may have."""


class CogVLM2ProcessingInfo(BaseProcessingInfo):
    """Facts that the other two classes ask for."""

    def get_hf_config(self) -> CogVLM2VllmConfig:
        """The model's configuration."""
        return self.ctx.get_hf_config(CogVLM2VllmConfig)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """One image a prompt."""
        return {"image": IMAGES}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """An image has always the same number of tokens."""
        return {"image": self.get_hf_config().vision_config.image_tokens}

    @property
    def supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """None: how a picture becomes pixels is the model's, and no caller changes it."""
        return {"text_kwargs": set(), "images_kwargs": set()}

    def image_processor(self) -> CogVLM2ImageProcessor:
        """The native model's own."""
        return CogVLM2ImageProcessor(image_size=self.get_hf_config().vision_config.image_size)


class CogVLM2DummyInputs(BaseDummyInputsBuilder[CogVLM2ProcessingInfo]):
    """The largest prompt, which vLLM measures memory with: every prompt with an image is as large."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """No text: the tokenizer puts beginning-of-text before it."""
        return ""

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        """White squares of the model's own size."""
        side = self.info.get_hf_config().vision_config.image_size
        images = self._get_dummy_images(width=side, height=side, num_images=mm_counts.get("image", 0))
        return {"image": images}


class CogVLM2MultiModalProcessor(BaseMultiModalProcessor[CogVLM2ProcessingInfo]):
    """Prompt and picture -> tokens with placeholders, and pixels."""

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        return self.info.image_processor()(list(hf_data["images"]), return_tensors="pt")

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {"pixel_values": MultiModalFieldConfig.batched("image")}

    def _postprocess_prompt(self, prompt: list[int]) -> list[int]:
        """A prompt begins with beginning-of-text, also where a caller gave tokens without it."""
        bos = self.info.get_hf_config().bos_token_id
        return prompt if prompt[:1] == [bos] else [bos, *prompt]

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        config = self.info.get_hf_config()
        # eoi has a placeholder of its own: it is the image's last token, and the language expert's.
        tokens = [config.image_token_id] * (config.vision_config.image_tokens - 1) + [config.image_end_token_id]
        after_bos = PromptIndexTargets.prefix([config.bos_token_id])
        return [PromptInsertion(modality="image", target=after_bos, insertion=tokens)]
