"""The 4-bit floats of the published int4 checkpoint: bitsandbytes' FP4, blocks of 64, no double quantisation.

A weight is two codes a byte, the first in the high half; a code is an index into a table of 16 values between -1 and 1;
each block of 64 consecutive weights, in the order of memory, is scaled by the largest absolute value it had.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch

from guardedvlm.cogvlm2.layout import FP4_BLOCK, FP4_STATE

POSITIVE = (0.0, 0.0625 / 12, 8 / 12, 12 / 12, 4 / 12, 6 / 12, 2 / 12, 3 / 12)
"""bitsandbytes' table for codes 0 to 7; codes 8 to 15 are the same, negative. Its entries are multiples of 1/12."""


def table() -> torch.Tensor:
    """The 16 values by code, float32. The checkpoint carries its own copy, which is what loading uses."""
    return torch.tensor([*POSITIVE, *(-value for value in POSITIVE)], dtype=torch.float32)


def dequantise(
    packed: torch.Tensor, scales: torch.Tensor, values: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    """The weight of `shape` and `dtype` from its parts: uint8 codes, float32 scales a block, float32 values a code."""
    count = math.prod(shape)
    flat = packed.flatten()
    codes = torch.stack((flat >> 4, flat & 0x0F), dim=1).flatten().int()
    weights = values.index_select(0, codes)
    padded = torch.nn.functional.pad(weights[:count], (0, scales.numel() * FP4_BLOCK - count))
    scaled = padded.view(-1, FP4_BLOCK) * scales.view(-1, 1)
    return scaled.flatten()[:count].view(shape).to(dtype)


def quantise(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parts of a weight by suffix, as the published checkpoint holds them; each value goes to its nearest."""
    count = weight.numel()
    blocks = -(-count // FP4_BLOCK)
    flat = torch.nn.functional.pad(weight.detach().float().flatten(), (0, blocks * FP4_BLOCK - count))
    grouped = flat.view(blocks, FP4_BLOCK)
    scales = grouped.abs().amax(dim=1)
    relative = grouped / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    codes = (relative[..., None] - table()).abs().argmin(dim=-1).to(torch.uint8).flatten()
    codes = codes[: count + count % 2]
    packed = codes[0::2] << 4 | codes[1::2]
    state: dict[str, Any] = {"quant_type": "fp4", "blocksize": FP4_BLOCK, "dtype": "float16"}
    state["shape"] = list(weight.shape)
    return {
        "": packed.view(-1, 1),
        ".absmax": scales,
        ".quant_map": table(),
        FP4_STATE: torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
    }
