"""From a checkpoint directory to what the library's loader takes: nothing missing, left over or random."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import GENERATION_CONFIG_NAME, is_bitsandbytes_available, logging

from guardedvlm.cogvlm2 import fp4, headers, layout
from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.errors import ConfigurationError, Reason

logger = logging.get_logger(__name__)

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of an adapter as PEFT saves it."""
ADAPTER_PREFIX = "base_model.model."
"""What PEFT writes before the names of the model's own modules."""
_OWN_FIELDS = set(CogVLM2Config.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__)
"""Fields of the configuration that `from_pretrained` may be given; `dtype` and the like are the library's own."""


def read_config(directory: Path, **changes: Any) -> CogVLM2Config:
    """The configuration of a checkpoint directory, with `changes`.

    Raises ConfigurationError(CHECKPOINT_MISSING, CHECKPOINT_CONFIG).
    """
    headers.read_json(directory / headers.CONFIG, Reason.CHECKPOINT_CONFIG)
    try:
        config: CogVLM2Config = CogVLM2Config.from_pretrained(directory, **changes)
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        # A value of a type that no field has: the library's own message would quote it.
        raise ConfigurationError(Reason.CHECKPOINT_CONFIG, place=headers.CONFIG) from None
    return config


def prepare(source: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Verify the checkpoint in `source`; the source and options that the library's `from_pretrained` takes for it.

    A 4-bit checkpoint is handed to bitsandbytes where that and a GPU are there, and is turned into floats where not, or
    where the option `dequantise` is set: then the tensors are among the options and the source is None. Without a
    source the caller brings a state dict. Raises ConfigurationError, see `CogVLM2ForCausalLM.from_pretrained`.
    """
    options = dict(options)
    wants_floats = options.pop("dequantise", False)
    if source is None:
        return None, options
    if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
        raise ConfigurationError(Reason.CHECKPOINT_MISSING, explanation="a checkpoint is a directory on this machine")
    directory = Path(source)
    fields = {name: value for name, value in options.items() if name in _OWN_FIELDS}
    given = options.get("config")
    config = given if isinstance(given, CogVLM2Config) else read_config(directory, **fields)
    tensors = headers.read_tensors(directory)
    layout.verify(config, tensors)
    # Files of pickles beside the tensors are never an alternative.
    options["use_safetensors"] = True
    if layout.is_fp4(tensors) and (wants_floats or not _runs_fp4(config)):
        logger.warning_once("the 4-bit checkpoint is turned into floats of 16 bits or more: four times the memory")
        if getattr(config, "quantization_config", None) is not None:
            del config.quantization_config
        options = {name: value for name, value in options.items() if name not in fields}
        del options["use_safetensors"]
        floats = dict(float_tensors(tensors, layout.expected_shapes(config)))
        return None, options | {"config": config, "state_dict": floats}
    return source, options


def read_generation_config(directory: Path, config: CogVLM2Config) -> GenerationConfig:
    """How the checkpoint generates by default: its `generation_config.json`, or the configuration's tokens alone."""
    if (directory / GENERATION_CONFIG_NAME).is_file():
        return GenerationConfig.from_pretrained(directory)
    return GenerationConfig.from_model_config(config)


def require_adapter(directory: Path) -> None:
    """Hold an adapter's directory to what is loaded: its configuration and its safetensors, never a pickle.

    Raises ConfigurationError(CHECKPOINT_MISSING, CHECKPOINT_CONFIG, CHECKPOINT_CORRUPT, CHECKPOINT_TRUNCATED).
    """
    headers.read_json(directory / ADAPTER_CONFIG, Reason.CHECKPOINT_CONFIG)
    headers.read_header(directory / ADAPTER_WEIGHTS)


def put_on(model: Any, directory: Path) -> None:
    """Put an adapter on a model, whole: what the library would leave at random or leave out is an error.

    Raises ConfigurationError(CHECKPOINT_CONFIG, TENSOR_SHAPE, TENSOR_MISSING, TENSOR_UNEXPECTED).
    """
    try:
        model.load_adapter(str(directory), adapter_kwargs={"local_files_only": True})
    except RuntimeError:  # sizes that do not match
        raise ConfigurationError(Reason.TENSOR_SHAPE, place=ADAPTER_WEIGHTS) from None
    except (KeyError, TypeError, ValueError):  # an unknown kind of adapter, or one for modules that are not there
        raise ConfigurationError(Reason.CHECKPOINT_CONFIG, place=ADAPTER_CONFIG) from None
    brought = {name.removeprefix(ADAPTER_PREFIX) for name in headers.read_header(directory / ADAPTER_WEIGHTS)}
    wanted = set(model.get_adapter_state_dict())
    for names, reason in ((wanted - brought, Reason.TENSOR_MISSING), (brought - wanted, Reason.TENSOR_UNEXPECTED)):
        if names:
            raise ConfigurationError(reason, place=ADAPTER_WEIGHTS, explanation=min(names), count=len(names))
    model.eval()


def require_complete(report: Mapping[str, Any]) -> None:
    """Hold the library's own loading report against the promise. Raises ConfigurationError(TENSOR_*)."""
    for key, reason in (
        ("missing_keys", Reason.TENSOR_MISSING),
        ("unexpected_keys", Reason.TENSOR_UNEXPECTED),
        ("mismatched_keys", Reason.TENSOR_SHAPE),
        ("error_msgs", Reason.CHECKPOINT_CORRUPT),
    ):
        if report.get(key):
            raise ConfigurationError(reason, place="model.safetensors", count=len(report[key]))


class LazyTensor:
    """A tensor that is made when it is sliced, as the library's loader does with those of a file: one at a time."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        self._make = make

    def __getitem__(self, place: Any) -> torch.Tensor:
        return self._make()[place]


def float_tensors(
    tensors: Mapping[str, headers.TensorEntry], shapes: Mapping[str, layout.Shape]
) -> Iterator[tuple[str, LazyTensor]]:
    """Names and float tensors of a 4-bit checkpoint; those that it holds as floats stay as they are."""
    for name, shape in shapes.items():
        if name + layout.FP4_STATE in tensors:
            yield name, LazyTensor(lambda name=name, shape=shape: _dequantised(name, shape, tensors))  # type: ignore[misc]
        else:
            yield name, LazyTensor(lambda name=name: _read(name, tensors))  # type: ignore[misc]


def _dequantised(name: str, shape: layout.Shape, tensors: Mapping[str, headers.TensorEntry]) -> torch.Tensor:
    parts = [_read(name + suffix, tensors) for suffix in ("", ".absmax", ".quant_map")]
    return fp4.dequantise(parts[0], parts[1], parts[2], shape, torch.float16)


def _read(name: str, tensors: Mapping[str, headers.TensorEntry]) -> torch.Tensor:
    with safe_open(tensors[name].path, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor


def _runs_fp4(config: CogVLM2Config) -> bool:
    said = getattr(config, "quantization_config", None) is not None
    return bool(said and torch.cuda.is_available() and is_bitsandbytes_available())
