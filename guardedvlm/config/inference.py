"""Settings of an inference service."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from guardedvlm.config.address import ADDRESS, is_local
from guardedvlm.config.part import Part
from guardedvlm.config.tls import Tls


class InferenceEngine(StrEnum):
    """What an inference service runs."""

    READER = "reader"
    TRANSFORMERS = "transformers"  # CogVLM2
    VLLM = "vllm"  # CogVLM2, many requests at a time


class Attention(StrEnum):
    """How a model computes attention, by the library's own names."""

    EAGER = "eager"
    SDPA = "sdpa"
    FLASH_ATTENTION_2 = "flash_attention_2"  # sdpa where it is not installed


_OF_AN_ENGINE = {
    InferenceEngine.TRANSFORMERS: {"adapter", "attention", "offload", "compiled"},
    InferenceEngine.VLLM: {
        "tensor_parallel_size",
        "max_model_len",
        "gpu_memory_utilization",
        "kv_cache_bytes",
        "max_num_seqs",
        "eager",
    },
}
"""Settings that only one engine knows."""


class InferenceSettings(Part):
    """Settings of an inference service, from its command line."""

    listen: Annotated[str, Field(pattern=ADDRESS)]
    health_listen: Annotated[str, Field(pattern=ADDRESS)] = "127.0.0.1:8446"
    engine: InferenceEngine = InferenceEngine.READER
    model: Path | None = None  # checkpoint directory, for the engine that has one
    manifest: Path | None = None  # its pinned digests, when they do not stand beside it
    adapter: Path | None = None  # directory of a LoRA adapter on top of the model
    attention: Attention | None = None  # None: the engine's own choice
    offload: bool = False  # the model's visual experts in host memory
    compiled: bool = False  # decoding as one compiled graph
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1  # GPUs that share each layer
    max_model_len: Annotated[int, Field(ge=1)] | None = None  # tokens of prompt and answer; None: the model's own
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None  # share of the memory; None: vLLM's own
    kv_cache_bytes: Annotated[int, Field(ge=1)] | None = None  # instead of what that share leaves
    max_num_seqs: Annotated[int, Field(ge=1, le=256)] | None = None  # answers made at the same time; None: the engine's
    eager: bool = False  # no compiled graphs
    guard_keys: Annotated[tuple[Path, ...], Field(min_length=1)]  # public keys of the guards that may ask
    tls: Tls | None = None  # with client_ca: who may connect
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 30.0

    @model_validator(mode="after")
    def _no_pixels_in_clear(self) -> InferenceSettings:
        if not is_local(self.listen) and (self.tls is None or self.tls.client_ca is None):
            raise ValueError("beyond this machine the service needs a certificate, its key and a client CA")
        return self

    @model_validator(mode="after")
    def _model_where_it_is_run(self) -> InferenceSettings:
        if (self.engine is not InferenceEngine.READER) != (self.model is not None):
            raise ValueError("the engines 'transformers' and 'vllm' need a model directory, and no other takes one")
        if self.model is None and "manifest" in self.model_fields_set:
            raise ValueError("'manifest' belongs to a model directory")
        for engine, names in _OF_AN_ENGINE.items():
            foreign = names & self.model_fields_set
            if self.engine is not engine and foreign:
                raise ValueError(f"'{min(foreign)}' belongs to the engine '{engine.value}'")
        return self

    @model_validator(mode="after")
    def _one_graph_or_streams(self) -> InferenceSettings:
        if self.compiled and self.offload:
            raise ValueError("'compiled' records one graph on the GPU, 'offload' copies weights meanwhile: choose one")
        return self
