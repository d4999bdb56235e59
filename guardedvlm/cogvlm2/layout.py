"""The names and shapes of a CogVLM2 checkpoint, from its configuration alone.

One table, held against the published index (1,221 names, 19,503,105,280 parameters) by a test; `verify` compares it
with the headers of the files, so that a tensor that is missing, left over or misshapen is an error and never a random
one. Names are the published ones; the model's modules carry the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from guardedvlm.cogvlm2.headers import FLOATS, TensorEntry, read_bytes
from guardedvlm.errors import ConfigurationError, Reason

if TYPE_CHECKING:
    from guardedvlm.cogvlm2.configuration import CogVLM2Config, CogVLM2VisionConfig

Shape = tuple[int, ...]

FP4_STATE = ".quant_state.bitsandbytes__fp4"
"""Suffix of the JSON that says how a weight was quantised."""
FP4_PARTS = (".absmax", ".quant_map", FP4_STATE)
"""What stands beside a 4-bit weight: the largest value of each block, the table of 16 values, and the JSON."""
FP4_BLOCK = 64
"""Weights that share one scale."""
FP4_VALUES = 16
_NOT_QUANTISED = ("lm_head.weight", "embed_tokens.weight", "position_embedding.weight")
"""Matrices of the checkpoint that stay floats: the head is left out by name, the other two are no linear layers."""


def expected_shapes(config: CogVLM2Config) -> dict[str, Shape]:
    """Every tensor of the checkpoint that this configuration describes, by name."""
    hidden = config.hidden_size
    shapes: dict[str, Shape] = {"lm_head.weight": (config.vocab_size, hidden), "model.norm.weight": (hidden,)}
    shapes["model.embed_tokens.weight"] = (config.vocab_size, hidden)
    for index in range(config.num_hidden_layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in _decoder_layer(config)}
    shapes |= {f"model.vision.{name}": shape for name, shape in _tower(config.vision_config, hidden)}
    shapes |= {f"model.vision.{name}": shape for name, shape in _adapter(config)}
    return shapes


def quantised_names(shapes: Mapping[str, Shape]) -> frozenset[str]:
    """The weights that the published int4 checkpoint holds in 4 bits: every linear layer but lm_head."""
    return frozenset(
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and not name.endswith(_NOT_QUANTISED)
    )


def is_fp4(tensors: Mapping[str, TensorEntry]) -> bool:
    """Whether these are the tensors of a 4-bit checkpoint."""
    return any(name.endswith(FP4_STATE) for name in tensors)


def verify(config: CogVLM2Config, tensors: Mapping[str, TensorEntry]) -> None:
    """Hold the tensors of a checkpoint against its configuration.

    Raises ConfigurationError: TENSOR_MISSING, TENSOR_UNEXPECTED, TENSOR_SHAPE, TENSOR_DTYPE. The first name is in the
    explanation, the number of names in the detail `count`.
    """
    shapes = expected_shapes(config)
    packed = {name for name in quantised_names(shapes) if name + FP4_STATE in tensors}
    wanted = set(shapes) | {name + part for name in packed for part in FP4_PARTS}
    _require_none(Reason.TENSOR_MISSING, wanted - set(tensors))
    _require_none(Reason.TENSOR_UNEXPECTED, set(tensors) - wanted)
    plain = set(shapes) - packed
    _require_none(Reason.TENSOR_SHAPE, {name for name in plain if tensors[name].shape != shapes[name]})
    _require_none(Reason.TENSOR_DTYPE, {name for name in plain if tensors[name].dtype not in FLOATS})
    for name in sorted(packed):
        _verify_fp4(name, shapes[name], tensors)


def _decoder_layer(config: CogVLM2Config) -> Iterator[tuple[str, Shape]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    qkv = hidden + 2 * config.num_multi_query_heads * config.head_dim
    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    yield "self_attn.rotary_emb.inv_freq", (config.head_dim // 2,)
    # Only the vision expert's projection has a bias.
    yield "self_attn.vision_expert_query_key_value.bias", (qkv,)
    for expert in ("vision", "language"):
        yield f"self_attn.{expert}_expert_query_key_value.weight", (qkv, hidden)
        yield f"self_attn.{expert}_expert_dense.weight", (hidden, hidden)
        yield f"mlp.{expert}_mlp.gate_proj.weight", (inner, hidden)
        yield f"mlp.{expert}_mlp.up_proj.weight", (inner, hidden)
        yield f"mlp.{expert}_mlp.down_proj.weight", (hidden, inner)


def _tower(vision: CogVLM2VisionConfig, language_hidden: int) -> Iterator[tuple[str, Shape]]:
    hidden, inner, patch = vision.hidden_size, vision.intermediate_size, vision.patch_size
    yield "boi", (1, 1, language_hidden)
    yield "eoi", (1, 1, language_hidden)
    yield "patch_embedding.cls_embedding", (1, hidden)
    yield "patch_embedding.proj.weight", (hidden, vision.in_channels, patch, patch)
    yield "patch_embedding.proj.bias", (hidden,)
    yield "patch_embedding.position_embedding.weight", (vision.num_positions, hidden)
    for index in range(vision.num_hidden_layers):
        layer = f"transformer.layers.{index}."
        for name, rows, columns in (
            ("attention.query_key_value", 3 * hidden, hidden),
            ("attention.dense", hidden, hidden),
            ("mlp.fc1", inner, hidden),
            ("mlp.fc2", hidden, inner),
        ):
            yield f"{layer}{name}.weight", (rows, columns)
            yield f"{layer}{name}.bias", (rows,)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{name}.weight", (hidden,)
            yield f"{layer}{name}.bias", (hidden,)


def _adapter(config: CogVLM2Config) -> Iterator[tuple[str, Shape]]:
    tower, hidden, inner = config.vision_config.hidden_size, config.hidden_size, config.intermediate_size
    yield "conv.weight", (tower, tower, 2, 2)
    yield "conv.bias", (tower,)
    yield "linear_proj.linear_proj.weight", (hidden, tower)
    yield "linear_proj.norm1.weight", (hidden,)
    yield "linear_proj.norm1.bias", (hidden,)
    yield "linear_proj.gate_proj.weight", (inner, hidden)
    yield "linear_proj.dense_h_to_4h.weight", (inner, hidden)
    yield "linear_proj.dense_4h_to_h.weight", (hidden, inner)


def _verify_fp4(name: str, shape: Shape, tensors: Mapping[str, TensorEntry]) -> None:
    """A 4-bit weight: two values a byte, one scale a block, a table of 16 values, and a state that says the same."""
    values = math.prod(shape)
    parts = {
        "": (-(-values // 2), "U8"),
        ".absmax": (-(-values // FP4_BLOCK), "F32"),
        ".quant_map": (FP4_VALUES, "F32"),
    }
    for suffix, (count, dtype) in parts.items():
        entry = tensors[name + suffix]
        _require_none(Reason.TENSOR_SHAPE, {name + suffix} if math.prod(entry.shape) != count else set())
        _require_none(Reason.TENSOR_DTYPE, {name + suffix} if entry.dtype != dtype else set())
    state = _fp4_state(tensors[name + FP4_STATE])
    _require_none(Reason.TENSOR_SHAPE, {name} if state.get("shape") != list(shape) else set())
    known = state.get("quant_type") == "fp4" and state.get("blocksize") == FP4_BLOCK and "nested_absmax" not in state
    _require_none(Reason.TENSOR_DTYPE, set() if known else {name + FP4_STATE})


def _fp4_state(entry: TensorEntry) -> dict[str, object]:
    try:
        state = json.loads(read_bytes(entry))
    except (OSError, ValueError):
        state = None
    if not isinstance(state, dict):
        raise ConfigurationError(Reason.CHECKPOINT_CORRUPT, place=Path(entry.path).name)
    return state


def _require_none(reason: Reason, names: set[str]) -> None:
    if names:
        raise ConfigurationError(reason, place="model.safetensors", explanation=min(names), count=len(names))
