"""A checkpoint -> a running vLLM."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardedvlm.cogvlm2.checkpoint import check
from guardedvlm.cogvlm2.processing import CogVLM2Processor
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.inference.vllm_engine.quiet import Outlet, prepare_environment, silence_loggers

NOT_STARTED = "vLLM did not start; what it said stands above"
MEMORY_SHARE = 0.9
"""Of a GPU's memory, vLLM's own default."""
MAX_SEQUENCES = 16
"""Answers that are made at the same time. One with a picture of 1344 pixels takes 288 MiB of KV."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How vLLM is started."""

    directory: Path
    manifest: Path | None = None  # where the checkpoint's digests stand; None: beside it
    tensor_parallel_size: int = 1
    max_model_len: int | None = None  # tokens of prompt and answer, a picture's included; None: the model's own
    memory_share: float = MEMORY_SHARE
    kv_cache_bytes: int | None = None  # instead of what the share leaves
    max_sequences: int = MAX_SEQUENCES
    eager: bool = False  # no torch.compile, no CUDA graphs


@dataclass(frozen=True, slots=True)
class Loaded:
    """A running vLLM and what is known of its model."""

    llm: Any  # vllm.v1.engine.async_llm.AsyncLLM
    meters: Any  # Meters
    digest: str
    processor: CogVLM2Processor
    context: int  # tokens of prompt and answer together
    max_sequences: int
    clean_up: Callable[[], None]  # what is left when vLLM has ended


async def load(loading: Loading) -> Loaded:
    """Verify the checkpoint's digests and start vLLM on it.

    Raises ConfigurationError: SETTINGS_INVALID where vLLM does not start, CHECKPOINT_*, TENSOR_*, TOKENIZER_INVALID.
    """
    checked = await asyncio.to_thread(check, loading.directory, manifest=loading.manifest)
    processor = CogVLM2Processor.from_pretrained(loading.directory)
    sockets = prepare_environment()
    outlet = Outlet()
    try:
        with outlet.inherited():
            llm, meters = _started(loading, checked.dtype)
    except Exception:  # its words may go to the operator, as those of its processes did: there is no request yet
        traceback.print_exc()
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="engine", explanation=NOT_STARTED) from None
    outlet.shut()
    silence_loggers()
    config = llm.vllm_config
    meters.blocks = config.cache_config.num_gpu_blocks
    context = config.model_config.max_model_len
    return Loaded(llm, meters, checked.digest, processor, context, loading.max_sequences, sockets.cleanup)


def _started(loading: Loading, dtype: str) -> tuple[Any, Any]:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from guardedvlm.inference.vllm_engine.meters import MeterLogger, Meters

    meters = Meters()
    arguments = AsyncEngineArgs(**engine_arguments(loading, dtype))
    return AsyncLLM.from_engine_args(arguments, stat_loggers=[lambda *_: MeterLogger(meters)]), meters


def engine_arguments(loading: Loading, dtype: str) -> dict[str, Any]:
    """vLLM's arguments. `dtype` is the checkpoint's own: vLLM's "auto" would make float32 something smaller."""
    return {
        "model": str(loading.directory),
        "dtype": dtype,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",  # sampling is the request's, not the checkpoint's
        "max_model_len": loading.max_model_len,
        "tensor_parallel_size": loading.tensor_parallel_size,
        "gpu_memory_utilization": loading.memory_share,
        "kv_cache_memory_bytes": loading.kv_cache_bytes,
        "max_num_seqs": loading.max_sequences,
        "enforce_eager": loading.eager,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "limit_mm_per_prompt": {"image": 1},
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "enable_log_requests": False,
        "disable_log_stats": True,  # vLLM's own loggers; `Meters` counts all the same
    }
