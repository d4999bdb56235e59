"""The checkpoint's tensors into vLLM's parameters, by the native model's table: none missing, none left over."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from vllm.model_executor.model_loader.weight_utils import default_weight_loader
from vllm.model_executor.models.utils import is_pp_missing_parameter

from guardedvlm.cogvlm2 import layout
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig
from guardedvlm.cogvlm2.vllm_plugin.names import parameter_of
from guardedvlm.errors import ConfigurationError, Reason


def load(model: nn.Module, config: CogVLM2VllmConfig, tensors: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
    """Put every tensor of the checkpoint where it belongs, as much of it as this process holds.

    Gives the names of the parameters that were filled. Raises ConfigurationError: TENSOR_UNEXPECTED, TENSOR_SHAPE,
    TENSOR_MISSING, before the model is used.
    """
    shapes = layout.expected_shapes(config)
    places = dict(model.named_parameters()) | dict(model.named_buffers())
    missing, filled = set(shapes), set[str]()
    for name, tensor in tensors:
        _require_known(name, tensor, shapes)
        missing.discard(name)
        place, half = parameter_of(name)
        if is_pp_missing_parameter(place, model):
            continue
        _put(places[place], tensor, half)
        filled.add(place)
    if missing:
        raise _refused(Reason.TENSOR_MISSING, min(missing), len(missing))
    return filled


def _put(place: torch.Tensor, tensor: torch.Tensor, half: int | None) -> None:
    loader = getattr(place, "weight_loader", default_weight_loader)
    if half is None:
        loader(place, tensor)
    else:
        loader(place, tensor, half)


def _require_known(name: str, tensor: torch.Tensor, shapes: dict[str, layout.Shape]) -> None:
    if name not in shapes:
        raise _refused(Reason.TENSOR_UNEXPECTED, name, 1)
    if tuple(tensor.shape) != shapes[name]:
        raise _refused(Reason.TENSOR_SHAPE, name, 1)


def _refused(reason: Reason, name: str, count: int) -> ConfigurationError:
    return ConfigurationError(reason, place="model.safetensors", explanation=name, count=count)
