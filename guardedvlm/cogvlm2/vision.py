"""The vision tower (EVA2-CLIP-E) and the adapter that makes language embeddings of its output.

Against the usual ViT: no norm before or after the stack, and each layer's LayerNorm stands on the branch's output,
before the residual is added. Module names are the checkpoint's.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from guardedvlm.cogvlm2.attention import attend
from guardedvlm.cogvlm2.configuration import POOLING, CogVLM2Config, CogVLM2VisionConfig

ADAPTER_NORM_EPS = 1e-5
"""Of the adapter's LayerNorm: torch's default, which upstream leaves in place; the tower's own is 1e-6."""


class CogVLM2PatchEmbedding(nn.Module):
    """Pixels -> patches in rows, a class token before them, a learned position added to each."""

    def __init__(self, config: CogVLM2VisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.proj = nn.Conv2d(config.in_channels, width, kernel_size=patch, stride=patch)
        self.cls_embedding = nn.Parameter(torch.zeros(1, width))
        self.position_embedding = nn.Embedding(config.num_positions, width)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images, 3, side, side) -> (images, 1 + patches, width)."""
        patches = self.proj(pixel_values).flatten(2).transpose(1, 2)
        first = self.cls_embedding.expand(len(patches), 1, -1)
        return torch.cat((first, patches), dim=1) + self.position_embedding.weight


class CogVLM2VisionAttention(nn.Module):
    """Full attention among the patches of one image."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        width = config.vision_config.hidden_size
        self.config = config
        self.heads = config.vision_config.num_heads
        self.scaling = (width // self.heads) ** -0.5
        self.is_causal = False
        self.query_key_value = nn.Linear(width, 3 * width)
        self.dense = nn.Linear(width, width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        images, tokens, width = hidden_states.shape
        qkv = self.query_key_value(hidden_states).view(images, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        output, _ = attend(self, query, key, value, None)
        return self.dense(output.reshape(images, tokens, width))


class CogVLM2VisionMLP(nn.Module):
    """fc2(gelu(fc1)), the exact (erf) GELU."""

    def __init__(self, config: CogVLM2VisionConfig) -> None:
        super().__init__()
        self.activation = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        return self.fc2(self.activation(self.fc1(hidden_states)))


class CogVLM2VisionLayer(GradientCheckpointingLayer):
    """h += norm1(attention(h)); h += norm2(mlp(h))."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        vision = config.vision_config
        self.input_layernorm = nn.LayerNorm(vision.hidden_size, eps=vision.layer_norm_eps)
        self.attention = CogVLM2VisionAttention(config)
        self.mlp = CogVLM2VisionMLP(vision)
        self.post_attention_layernorm = nn.LayerNorm(vision.hidden_size, eps=vision.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        hidden_states = hidden_states + self.input_layernorm(self.attention(hidden_states))
        return hidden_states + self.post_attention_layernorm(self.mlp(hidden_states))


class CogVLM2VisionTransformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CogVLM2VisionLayer(config) for _ in range(config.vision_config.num_hidden_layers))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(images, tokens, width) -> the same shape."""
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class CogVLM2Adapter(nn.Module):
    """Tower's width -> language model's width: a projection, a norm, a GELU, and a gated MLP without residual."""

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.linear_proj = nn.Linear(config.vision_config.hidden_size, hidden, bias=False)
        self.norm1 = nn.LayerNorm(hidden, eps=ADAPTER_NORM_EPS)
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.dense_h_to_4h = nn.Linear(hidden, inner, bias=False)
        self.dense_4h_to_h = nn.Linear(inner, hidden, bias=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(images, patches, tower's width) -> (images, patches, hidden)."""
        hidden_states = nn.functional.gelu(self.norm1(self.linear_proj(patches)))
        gate = nn.functional.silu(self.gate_proj(hidden_states))
        return self.dense_4h_to_h(gate * self.dense_h_to_4h(hidden_states))


class CogVLM2VisionTower(nn.Module):
    """Pixels -> the embeddings that stand for an image in the prompt.

    Its two large parts are given: `transformer` maps (images, tokens, width) to the same shape, `adapter` maps
    (images, tokens, width) to (images, tokens, hidden).
    """

    def __init__(self, config: CogVLM2Config, transformer: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        width = config.vision_config.hidden_size
        self.patches_per_side = config.vision_config.patches_per_side
        self.patch_embedding = CogVLM2PatchEmbedding(config.vision_config)
        self.transformer = transformer
        self.conv = nn.Conv2d(width, width, kernel_size=POOLING, stride=POOLING)
        self.linear_proj = adapter
        self.boi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.eoi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images, 3, side, side) -> (images, image tokens, hidden): boi, the pooled patches row by row, eoi."""
        patches = self.transformer(self.patch_embedding(pixel_values))[:, 1:]
        images, _, width = patches.shape
        grid = patches.transpose(1, 2).reshape(images, width, self.patches_per_side, self.patches_per_side)
        pooled = self.conv(grid).flatten(2).transpose(1, 2).contiguous()  # vLLM's CPU kernels want whole rows
        markers = (self.boi.expand(images, -1, -1), self.eoi.expand(images, -1, -1))
        return torch.cat((markers[0], self.linear_proj(pooled), markers[1]), dim=1)
