"""The language model's layers of vLLM's parallel linears; norms, angles and experts' gathering are the native model's.

Each rank of a tensor-parallel group holds some heads of both experts' queries, keys and values and some columns of
both experts' MLPs; one stage of a pipeline holds some layers. Names are the checkpoint's, but for gate and up, which
are one linear.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import VllmConfig
from vllm.distributed import get_pp_group, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, QKVParallelLinear, RowParallelLinear
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.models.utils import (
    PPMissingLayer,
    make_empty_intermediate_tensors_factory,
    make_layers,
)
from vllm.sequence import IntermediateTensors

from guardedvlm.cogvlm2.language import CogVLM2RMSNorm, Rope, by_expert
from guardedvlm.cogvlm2.rope import CogVLM2RotaryEmbedding, rotate
from guardedvlm.cogvlm2.routing import Rows
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig

SMALLEST_HEAD = 32
"""Size of the smallest head that vLLM's kernels know. Smaller ones, of models for tests, are filled up with zeros."""


class ParallelAttention(nn.Module):
    """Causal attention with grouped queries over vLLM's paged keys and values."""

    def __init__(self, config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        ranks = get_tensor_model_parallel_world_size()
        self.head_dim = config.head_dim
        self.heads = config.num_attention_heads // ranks
        # With more ranks than key-value heads, several ranks hold the same head.
        self.kv_heads = max(1, config.num_multi_query_heads // ranks)
        self.filling = max(0, SMALLEST_HEAD - self.head_dim)
        self.rotary_emb = CogVLM2RotaryEmbedding(config)
        # Only the vision expert's projection has a bias.
        self.vision_expert_query_key_value = _qkv(config, vllm_config, f"{prefix}.vision_expert_query_key_value", True)
        self.language_expert_query_key_value = _qkv(
            config, vllm_config, f"{prefix}.language_expert_query_key_value", False
        )
        self.vision_expert_dense = _dense(config, vllm_config, f"{prefix}.vision_expert_dense")
        self.language_expert_dense = _dense(config, vllm_config, f"{prefix}.language_expert_dense")
        self.attn = Attention(
            self.heads,
            self.head_dim + self.filling,
            self.head_dim**-0.5,
            num_kv_heads=self.kv_heads,
            cache_config=vllm_config.cache_config,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.attn",
        )

    def forward(self, hidden_states: torch.Tensor, rows: Rows | None, rope: Rope) -> torch.Tensor:
        """(tokens, hidden) -> the same shape."""
        tokens, size = len(hidden_states), self.head_dim
        qkv = by_expert(hidden_states, rows, self.vision_expert_query_key_value, self.language_expert_query_key_value)
        query, key, value = qkv.split((self.heads * size, self.kv_heads * size, self.kv_heads * size), dim=-1)
        query = rotate(query.reshape(tokens, self.heads, size), *rope)
        key = rotate(key.reshape(tokens, self.kv_heads, size), *rope)
        output = self._attend(query, key, value.reshape(tokens, self.kv_heads, size))
        return by_expert(output, rows, self.vision_expert_dense, self.language_expert_dense)

    def _attend(self, *states: torch.Tensor) -> torch.Tensor:
        """Query, key and value (tokens, heads, head size) -> (tokens, heads * head size)."""
        tokens = len(states[0])
        if not self.filling:
            return self.attn(*(one.reshape(tokens, -1) for one in states))
        filled = (nn.functional.pad(one, (0, self.filling)).reshape(tokens, -1) for one in states)
        output = self.attn(*filled).view(tokens, self.heads, -1)
        return output[..., : self.head_dim].reshape(tokens, -1)


class ParallelMLP(nn.Module):
    """down(silu(gate) * up), without biases: one expert."""

    def __init__(self, config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        hidden, inner, quant = config.hidden_size, config.intermediate_size, vllm_config.quant_config
        self.gate_up_proj = MergedColumnParallelLinear(
            hidden, [inner, inner], bias=False, quant_config=quant, prefix=f"{prefix}.gate_up_proj", return_bias=False
        )
        self.down_proj = RowParallelLinear(
            inner, hidden, bias=False, quant_config=quant, prefix=f"{prefix}.down_proj", return_bias=False
        )
        self.activation = SiluAndMul()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) -> the same shape."""
        return self.down_proj(self.activation(self.gate_up_proj(hidden_states)))


class ParallelExpertMLP(nn.Module):
    """The two experts."""

    def __init__(self, config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.language_mlp = ParallelMLP(config, vllm_config, f"{prefix}.language_mlp")
        self.vision_mlp = ParallelMLP(config, vllm_config, f"{prefix}.vision_mlp")

    def forward(self, hidden_states: torch.Tensor, rows: Rows | None) -> torch.Tensor:
        """(tokens, hidden) -> the same shape."""
        return by_expert(hidden_states, rows, self.vision_mlp, self.language_mlp)


class ParallelDecoderLayer(nn.Module):
    """h += attention(norm(h)); h += mlp(norm(h))."""

    def __init__(self, config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.self_attn = ParallelAttention(config, vllm_config, f"{prefix}.self_attn")
        self.mlp = ParallelExpertMLP(config, vllm_config, f"{prefix}.mlp")
        self.input_layernorm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)

    def rope(self, positions: torch.Tensor, dtype: torch.dtype) -> Rope:
        """Cosines and sines of this layer's frequencies, each (tokens, 1, head size / 2)."""
        cos, sin = self.self_attn.rotary_emb(positions[None], dtype)
        return cos[0].transpose(0, 1), sin[0].transpose(0, 1)

    def forward(self, hidden_states: torch.Tensor, rows: Rows | None, rope: Rope) -> torch.Tensor:
        """(tokens, hidden) -> the same shape."""
        hidden_states = hidden_states + self.self_attn(self.input_layernorm(hidden_states), rows, rope)
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), rows)


@support_torch_compile(
    dynamic_arg_dims={"input_ids": 0, "positions": -1, "intermediate_tensors": 0, "inputs_embeds": 0}
)
class ParallelDecoder(nn.Module):
    """Everything but the tower and the head.

    Called, it is compiled, and runs steps without image tokens only; `forward` itself is never compiled and takes rows.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: CogVLM2VllmConfig = vllm_config.model_config.hf_config
        stage = get_pp_group()
        self.embed_tokens: nn.Module = PPMissingLayer()
        self.norm: nn.Module = PPMissingLayer()
        if stage.is_first_rank:
            self.embed_tokens = VocabParallelEmbedding(
                config.vocab_size, config.hidden_size, prefix=f"{prefix}.embed_tokens"
            )
        if stage.is_last_rank:
            self.norm = CogVLM2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.start_layer, self.end_layer, self.layers = make_layers(
            config.num_hidden_layers,
            lambda prefix: ParallelDecoderLayer(config, vllm_config, prefix),
            prefix=f"{prefix}.layers",
        )
        self.is_last_stage = stage.is_last_rank
        # Set once the layers' frequencies are known to be equal: then the angles are made once for all layers.
        self.layers_share_rope = False
        self.make_empty_intermediate_tensors = make_empty_intermediate_tensors_factory(
            ["hidden_states"], config.hidden_size
        )

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(tokens,) -> (tokens, hidden)."""
        return self.embed_tokens(input_ids)

    def share_rope(self) -> None:
        """Compare this stage's frequencies; where all are equal, as in every published checkpoint, make angles once."""
        frequencies = [layer.self_attn.rotary_emb.inv_freq for layer in self._own_layers()]
        self.layers_share_rope = all(torch.equal(frequencies[0], one) for one in frequencies)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
        rows: Rows | None = None,
    ) -> torch.Tensor | IntermediateTensors:
        """Tokens, their embeddings, or the stage before's states -> the last layer's states, normed, or our own."""
        if intermediate_tensors is not None:
            hidden_states = intermediate_tensors["hidden_states"]
        else:
            hidden_states = self.embed_input_ids(input_ids) if inputs_embeds is None else inputs_embeds
        rope = None
        for layer in self._own_layers():
            if rope is None or not self.layers_share_rope:
                rope = layer.rope(positions[0], hidden_states.dtype)
            hidden_states = layer(hidden_states, rows, rope)
        if not self.is_last_stage:
            return IntermediateTensors({"hidden_states": hidden_states})
        return self.norm(hidden_states)

    def _own_layers(self) -> Any:
        return islice(self.layers, self.start_layer, self.end_layer)


def _qkv(config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str, bias: bool) -> QKVParallelLinear:
    return QKVParallelLinear(
        config.hidden_size,
        config.head_dim,
        config.num_attention_heads,
        config.num_multi_query_heads,
        bias=bias,
        quant_config=vllm_config.quant_config,
        prefix=prefix,
        return_bias=False,
    )


def _dense(config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> RowParallelLinear:
    hidden = config.hidden_size
    return RowParallelLinear(
        hidden, hidden, bias=False, quant_config=vllm_config.quant_config, prefix=prefix, return_bias=False
    )
