"""The language model's layers: two experts in each linear, chosen by token; everything else is shared.

Image tokens go through weights of their own (CogVLM, arXiv 2311.03079) and meet the text in the attention. Rows are
gathered by indices that were made once for the prompt (`routing.Rows`); where there is no image, as in every decoding
step, the language expert takes the whole batch and the vision expert's weights are not touched. Names are the
checkpoint's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from guardedvlm.cogvlm2.attention import Attended, attend
from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.cogvlm2.rope import CogVLM2RotaryEmbedding, rotate
from guardedvlm.cogvlm2.routing import Rows

Rope = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, each (batch, 1, tokens, head size / 2)."""


class CogVLM2RMSNorm(nn.Module):
    """Root-mean-square norm in float32; the weight is applied before the result is rounded, not after."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape whose last size is the width -> the same shape and type."""
        exact = hidden_states.float()
        exact = exact * torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + self.eps)
        return (self.weight * exact).to(hidden_states.dtype)


def by_expert(states: torch.Tensor, rows: Rows | None, vision: nn.Module, language: nn.Module) -> torch.Tensor:
    """(batch, tokens, in) -> (batch, tokens, out): `vision` on its rows, `language` on all others."""
    if rows is None:
        return language(states)
    flat = states.reshape(-1, states.shape[-1])
    of_vision = vision(flat.index_select(0, rows.vision))
    of_language = language(flat.index_select(0, rows.language))
    together = of_vision.new_empty(len(flat), of_vision.shape[-1])
    together.index_copy_(0, rows.vision, of_vision)
    together.index_copy_(0, rows.language, of_language)
    return together.view(*states.shape[:-1], -1)


class CogVLM2Attention(nn.Module):
    """Causal attention with grouped queries; an image's tokens are causal too."""

    def __init__(self, config: CogVLM2Config, layer_idx: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_multi_query_heads
        # The library's own attention functions ask for it.
        self.num_key_value_groups = self.heads // self.kv_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        qkv = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.rotary_emb = CogVLM2RotaryEmbedding(config)
        self.vision_expert_query_key_value = nn.Linear(hidden, qkv, bias=True)
        self.vision_expert_dense = nn.Linear(hidden, hidden, bias=False)
        self.language_expert_query_key_value = nn.Linear(hidden, qkv, bias=False)
        self.language_expert_dense = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self,
        hidden_states: torch.Tensor,
        rows: Rows | None,
        rope: Rope,
        attention_mask: Any = None,
        past_key_values: Cache | None = None,
    ) -> Attended:
        """(batch, tokens, hidden) -> the same shape, and the probabilities under eager attention."""
        batch, tokens, _ = hidden_states.shape
        qkv = by_expert(hidden_states, rows, self.vision_expert_query_key_value, self.language_expert_query_key_value)
        heads = qkv.view(batch, tokens, -1, self.head_dim).transpose(1, 2)
        query, key, value = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        query, key = rotate(query, *rope), rotate(key, *rope)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        output, probabilities = attend(self, query, key, value, attention_mask)
        output = output.reshape(batch, tokens, -1)
        return by_expert(output, rows, self.vision_expert_dense, self.language_expert_dense), probabilities


class CogVLM2MLP(nn.Module):
    """down(silu(gate) * up), without biases: one expert."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.activation = ACT2FN[config.hidden_act]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., hidden) -> the same shape."""
        return self.down_proj(self.activation(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))


class CogVLM2ExpertMLP(nn.Module):
    """The two experts."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        self.language_mlp = CogVLM2MLP(config)
        self.vision_mlp = CogVLM2MLP(config)

    def forward(self, hidden_states: torch.Tensor, rows: Rows | None) -> torch.Tensor:
        """(batch, tokens, hidden) -> the same shape."""
        return by_expert(hidden_states, rows, self.vision_mlp, self.language_mlp)


class CogVLM2DecoderLayer(GradientCheckpointingLayer):
    """h += attention(norm(h)); h += mlp(norm(h))."""

    def __init__(self, config: CogVLM2Config, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = CogVLM2Attention(config, layer_idx)
        self.mlp = CogVLM2ExpertMLP(config)
        self.input_layernorm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        rows: Rows | None,
        rope: Rope | None,
        position_ids: torch.Tensor,
        attention_mask: Any = None,
        past_key_values: Cache | None = None,
    ) -> Attended:
        """(batch, tokens, hidden) -> the same shape. Without `rope` the layer makes it from its own frequencies."""
        if rope is None:
            rope = self.self_attn.rotary_emb(position_ids, hidden_states.dtype)
        attended, probabilities = self.self_attn(
            self.input_layernorm(hidden_states), rows, rope, attention_mask, past_key_values
        )
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), rows), probabilities
