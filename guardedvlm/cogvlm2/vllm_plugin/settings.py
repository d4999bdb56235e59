"""What vLLM is told of this model before anything is loaded, and what is refused then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vllm.config.compilation import CUDAGraphMode
from vllm.model_executor.models.config import VerifyAndUpdateConfig

from guardedvlm.cogvlm2 import headers, layout
from guardedvlm.cogvlm2.vllm_plugin import MODE
from guardedvlm.errors import ConfigurationError, Reason

WITHOUT_FILES = "dummy"
"""vLLM's load format for random weights."""


class CogVLM2Settings(VerifyAndUpdateConfig):
    """vLLM's hook for one architecture. Raises ConfigurationError: CHECKPOINT_*, TENSOR_*."""

    @staticmethod
    def verify_and_update_model_config(model_config: Any) -> None:
        """Prompts are made by our renderer; the 4-bit checkpoint is refused."""
        if getattr(model_config.hf_config, "quantization_config", None) is not None:
            raise ConfigurationError(
                Reason.CHECKPOINT_CONFIG,
                place="config.json",
                explanation="a quantised checkpoint runs on the transformers engine only",
            )
        if model_config.tokenizer_mode == "auto":
            model_config.tokenizer_mode = MODE

    @staticmethod
    def verify_and_update_config(vllm_config: Any) -> None:
        """Hold the files against the configuration, and keep decoding graphs where routing can be seen."""
        model, load = vllm_config.model_config, vllm_config.load_config
        if load.load_format == "auto":
            # Files of pickles beside the tensors are never an alternative.
            load.load_format = "safetensors"
        if load.load_format != WITHOUT_FILES:
            layout.verify(model.hf_config, headers.read_tensors(_directory(model.model)))
        _keep_graphs_piecewise(vllm_config.compilation_config)


def _directory(source: str) -> Path:
    if not Path(source).is_dir():
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, explanation="a checkpoint is a directory on this machine")
    return Path(source)


def _keep_graphs_piecewise(compilation: Any) -> None:
    """Graphs of the pieces between attentions, never of the whole step.

    A prompt's chunk of one token looks like decoding to vLLM, and may be a token of an image: a graph of the whole step
    would take it to the language expert. Where the graphs are pieces, our forward is asked each time.
    """
    mode = compilation.cudagraph_mode
    if mode is None or mode.has_full_cudagraphs():
        compilation.cudagraph_mode = CUDAGraphMode.PIECEWISE
