"""Scaled dot-product attention with grouped queries, without copies of keys and values.

32 query heads share 8 key-value heads. The library's own functions repeat keys and values to 32 heads whenever there is
a mask; here the queries of a group become rows of one head instead, which is the same arithmetic on a quarter of the
memory. Other implementations (flash_attention_2, which groups by itself) come from the library's registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

Attended = tuple[torch.Tensor, torch.Tensor | None]
"""Output (batch, tokens, heads, head size), and the probabilities (batch, heads, tokens, keys) where they exist."""


def attend(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **options: Any
) -> Attended:
    """Attend as `module.config` says. All states are (batch, heads, tokens, head size).

    `mask` is what the library's mask function made for the same implementation: None where there is nothing to mask
    beyond `module.is_causal`.
    """
    implementation: str = module.config._attn_implementation
    attention: Callable[..., Attended] = _OURS.get(implementation) or ALL_ATTENTION_FUNCTIONS[implementation]
    return attention(module, query, key, value, mask, scaling=module.scaling, **options)


def eager_attention(
    _module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> Attended:
    """Attention in plain steps: the slow oracle of the others, and the one that returns probabilities."""
    batch, heads, tokens, _size = query.shape
    folded = _fold(query, key.shape[1])
    scores = torch.matmul(folded, key.transpose(2, 3)) * scaling
    scores = scores.view(batch, heads, tokens, -1)
    if mask is not None:
        scores = scores + mask
    probabilities = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    output = torch.matmul(_fold(probabilities, key.shape[1]), value)
    return output.view(batch, heads, tokens, -1).transpose(1, 2), probabilities


def sdpa_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> Attended:
    """torch's fused attention."""
    batch, heads, tokens, size = query.shape
    kv_heads = key.shape[1]
    if mask is None and tokens > 1:
        if module.is_causal:
            # A static cache is longer than the prompt that begins it; what follows the prompt is empty.
            key, value = key[:, :, :tokens], value[:, :, :tokens]
        # Without a mask the flash kernel runs, and it groups by itself.
        output = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=module.is_causal, scale=scaling, enable_gqa=kv_heads != heads
        )
    else:
        if mask is not None and tokens > 1:
            mask = mask.repeat(1, 1, heads // kv_heads, 1)
        folded = _fold(query, kv_heads)
        output = nn.functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
        output = output.view(batch, heads, tokens, size)
    return output.transpose(1, 2), None


def _fold(states: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """(batch, heads, tokens, n) -> (batch, kv heads, heads of a group * tokens, n)."""
    batch, heads, tokens, width = states.shape
    return states.reshape(batch, kv_heads, heads // kv_heads * tokens, width)


_OURS: dict[str, Callable[..., Attended]] = {"eager": eager_attention, "sdpa": sdpa_attention}
