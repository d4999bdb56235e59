"""The vision tower and its adapter of vLLM's parallel linears; what they compute stands in the native `vision`."""

from __future__ import annotations

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_world_size
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.attention import MMEncoderAttention
from vllm.model_executor.layers.linear import (
    ColumnParallelLinear,
    MergedColumnParallelLinear,
    QKVParallelLinear,
    ReplicatedLinear,
    RowParallelLinear,
)

from guardedvlm.cogvlm2.configuration import CogVLM2VisionConfig
from guardedvlm.cogvlm2.vision import ADAPTER_NORM_EPS, CogVLM2VisionTower
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig


class ParallelVisionAttention(nn.Module):
    """Full attention among the patches of one image; a rank holds some of the heads."""

    def __init__(self, config: CogVLM2VisionConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        width, quant = config.hidden_size, vllm_config.quant_config
        size = width // config.num_heads
        self.query_key_value = QKVParallelLinear(
            width, size, config.num_heads, quant_config=quant, prefix=f"{prefix}.query_key_value", return_bias=False
        )
        self.dense = RowParallelLinear(width, width, quant_config=quant, prefix=f"{prefix}.dense", return_bias=False)
        heads = config.num_heads // get_tensor_model_parallel_world_size()
        self.attn = MMEncoderAttention(heads, size, size**-0.5, prefix=f"{prefix}.attn")

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        query, key, value = self.query_key_value(hidden_states).chunk(3, dim=-1)
        return self.dense(self.attn(query, key, value))


class ParallelVisionMLP(nn.Module):
    """fc2(gelu(fc1)), the exact (erf) GELU."""

    def __init__(self, config: CogVLM2VisionConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        width, inner, quant = config.hidden_size, config.intermediate_size, vllm_config.quant_config
        self.fc1 = ColumnParallelLinear(width, inner, quant_config=quant, prefix=f"{prefix}.fc1", return_bias=False)
        self.fc2 = RowParallelLinear(inner, width, quant_config=quant, prefix=f"{prefix}.fc2", return_bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        return self.fc2(nn.functional.gelu(self.fc1(hidden_states)))


class ParallelVisionLayer(nn.Module):
    """h += norm1(attention(h)); h += norm2(mlp(h))."""

    def __init__(self, config: CogVLM2VisionConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = ParallelVisionAttention(config, vllm_config, f"{prefix}.attention")
        self.mlp = ParallelVisionMLP(config, vllm_config, f"{prefix}.mlp")
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        hidden_states = hidden_states + self.input_layernorm(self.attention(hidden_states))
        return hidden_states + self.post_attention_layernorm(self.mlp(hidden_states))


class ParallelVisionTransformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: CogVLM2VisionConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ParallelVisionLayer(config, vllm_config, f"{prefix}.layers.{index}")
            for index in range(config.num_hidden_layers)
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class ParallelAdapter(nn.Module):
    """Tower's width -> language model's width: a projection, a norm, a GELU, and a gated MLP without residual."""

    def __init__(self, config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        hidden, inner, quant = config.hidden_size, config.intermediate_size, vllm_config.quant_config
        width = config.vision_config.hidden_size
        self.linear_proj = ReplicatedLinear(
            width, hidden, bias=False, quant_config=quant, prefix=f"{prefix}.linear_proj", return_bias=False
        )
        self.norm1 = nn.LayerNorm(hidden, eps=ADAPTER_NORM_EPS)
        self.gate_up_proj = MergedColumnParallelLinear(
            hidden, [inner, inner], bias=False, quant_config=quant, prefix=f"{prefix}.gate_up_proj", return_bias=False
        )
        self.dense_4h_to_h = RowParallelLinear(
            inner, hidden, bias=False, quant_config=quant, prefix=f"{prefix}.dense_4h_to_h", return_bias=False
        )
        self.activation = SiluAndMul()

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(images, patches, tower's width) -> (images, patches, hidden)."""
        hidden_states = nn.functional.gelu(self.norm1(self.linear_proj(patches)))
        return self.dense_4h_to_h(self.activation(self.gate_up_proj(hidden_states)))


def parallel_vision_tower(config: CogVLM2VllmConfig, vllm_config: VllmConfig, prefix: str) -> CogVLM2VisionTower:
    """The native tower around parallel parts."""
    transformer = ParallelVisionTransformer(config.vision_config, vllm_config, f"{prefix}.transformer")
    return CogVLM2VisionTower(config, transformer, ParallelAdapter(config, vllm_config, f"{prefix}.linear_proj"))
