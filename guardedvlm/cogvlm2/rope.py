"""Rotary position embedding (Su et al., 2021, arXiv 2104.09864), half-split, in upstream's arithmetic.

Upstream computes the angles in the model's own type, bfloat16: the frequencies are a bfloat16 tensor of the checkpoint,
positions are exact up to 256 only and then go in steps of 2, 4, 8, and the angles, their cosines and sines are
rounded again. The model was trained so; beyond about 300 positions the usual float32 arithmetic is another model.
"""

from __future__ import annotations

import torch
from torch import nn

from guardedvlm.cogvlm2.configuration import CogVLM2Config


class CogVLM2RotaryEmbedding(nn.Module):
    """Cosines and sines of one layer. `inv_freq`, shape (head size / 2), is a tensor of the checkpoint."""

    inv_freq: torch.Tensor

    def __init__(self, config: CogVLM2Config) -> None:
        super().__init__()
        self.theta = config.rope_theta
        self.head_dim = config.head_dim
        self.mode = config.rope_mode
        self.register_buffer("inv_freq", self.frequencies(), persistent=True)

    def frequencies(self, device: torch.device | None = None) -> torch.Tensor:
        """theta^(-2i / head size) for i from 0, in float32."""
        steps = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device)
        return 1.0 / (self.theta ** (steps / self.head_dim))

    def forward(self, position_ids: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines in `dtype`, each of shape (batch, 1, tokens, head size / 2)."""
        is_exact = self.mode == "fp32"
        frequencies = self.frequencies(position_ids.device) if is_exact else self.inv_freq.to(dtype)
        positions = position_ids.to(frequencies.dtype)
        angles = (positions[:, :, None] * frequencies)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (i, i + half) of each head by their angle. `states` (batch, heads, tokens, head size)."""
    first, second = states.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
