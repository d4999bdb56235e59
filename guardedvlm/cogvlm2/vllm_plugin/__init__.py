"""CogVLM2 on vLLM, from outside vLLM's tree: `vllm serve DIR` runs upstream's checkpoint directory.

vLLM calls `register` in each of its processes through the entry point group `vllm.general_plugins`. What is here is the
model; scheduling, paged keys and values, prefix caching and parallelism are vLLM's own. Nothing of the checkpoint but
its numbers, its configuration and its tokenizer is read.
"""

from __future__ import annotations

ARCHITECTURE = "CogVLMForCausalLM"
"""What the published config.json calls the model."""
MODE = "cogvlm2"
"""Name of the tokenizer and of the renderer of prompts."""


def register() -> None:
    """Make CogVLM2 known to vLLM. May be called any number of times; touches no GPU."""
    from transformers import AutoConfig
    from vllm.model_executor.models import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP
    from vllm.renderers.registry import RENDERER_REGISTRY
    from vllm.tokenizers.registry import TokenizerRegistry
    from vllm.transformers_utils.config import _ARCHITECTURE_TO_MODEL_TYPE

    from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig
    from guardedvlm.cogvlm2.vllm_plugin.settings import CogVLM2Settings

    # The published config.json has no model_type: vLLM finds the class by the architecture.
    AutoConfig.register(CogVLM2VllmConfig.model_type, CogVLM2VllmConfig, exist_ok=True)
    _ARCHITECTURE_TO_MODEL_TYPE[ARCHITECTURE] = CogVLM2VllmConfig.model_type
    MODELS_CONFIG_MAP[ARCHITECTURE] = CogVLM2Settings
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.model:CogVLM2ForVllm")
    if MODE not in TokenizerRegistry.tokenizers:
        TokenizerRegistry.register(MODE, f"{__name__}.rendering", "CogVLM2Tokenizer")
        RENDERER_REGISTRY.register(MODE, f"{__name__}.rendering", "CogVLM2Renderer")
