"""What a checkpoint needs of a GPU: arithmetic over its own tensors, before anything is loaded.

Two ways to hold the weights are compared: all on the GPU, and what serves the prefill alone in host memory (`offload`;
not for a 4-bit checkpoint, which is small enough). The rest of the GPU's memory is for the KV cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from guardedvlm.cogvlm2 import headers, layout
from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.cogvlm2.offload import BUFFERS
from guardedvlm.cogvlm2.weights import read_config

CACHE_ITEM_BYTES = 2
"""Keys and values are kept in 16 bits, whatever the weights are in."""
RESERVED_BYTES = 2**30
"""An allowance for the CUDA context, kernels, workspaces and fragmentation; not measured."""
MARKERS = ("model.vision.boi", "model.vision.eoi")


@dataclass(frozen=True, slots=True)
class Speeds:
    """Of a GPU and of the way to it. The defaults are a GeForce RTX 4090 in PCIe 4.0 x16 (NVIDIA's data sheet: 165
    TFLOPS in bf16 with fp32 accumulation, 1,008 GB/s), 25 of 31.5 GB/s reached from pinned memory."""

    tflops: float = 165.0
    memory_gb_per_s: float = 1008.0
    host_gb_per_s: float = 25.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to hold a checkpoint; sizes in bytes, times in seconds."""

    name: str
    device_weights: int
    host_weights: int
    buffers: int
    activations: int
    kv_tokens: int
    """Tokens of KV cache that fit, 0 or less when nothing fits."""
    prefill_seconds: float
    """Least time of a prompt with a picture: the larger of computing it and copying what waits in host memory."""
    decode_tokens_per_s: float
    """Most tokens a second of one request: every token reads the language path once."""


def is_prefill_only(name: str) -> bool:
    """Whether a tensor serves the prefill alone: tower, adapter, visual experts. The markers are a few kilobytes."""
    expert = ".vision_expert_" in name or ".vision_mlp." in name
    return expert or (name.startswith("model.vision.") and name not in MARKERS)


def is_read_by_decoding(name: str) -> bool:
    """Whether decoding a token reads this tensor whole. Of the embedding it reads one row."""
    return not is_prefill_only(name) and name not in MARKERS and "embed_tokens" not in name


def plans(directory: Path, gpu_bytes: int, speeds: Speeds = Speeds()) -> tuple[Plan, ...]:
    """The ways to hold the checkpoint in `directory` on a GPU with `gpu_bytes` of memory.

    Raises ConfigurationError (CHECKPOINT_*, TENSOR_*) for a checkpoint that is not sound.
    """
    config = read_config(directory)
    tensors = headers.read_tensors(directory)
    layout.verify(config, tensors)
    sizes = {name: entry.end - entry.begin for name, entry in tensors.items()}
    waiting = sum(size for name, size in sizes.items() if is_prefill_only(name))
    ways = [("all on the GPU", 0, 0)]
    if not layout.is_fp4(tensors):
        ways.append(("visual experts in host memory", waiting, BUFFERS * max(_pieces(sizes).values())))
    return tuple(_plan(config, sizes, gpu_bytes, speeds, *way) for way in ways)


def _plan(
    config: CogVLM2Config,
    sizes: Mapping[str, int],
    gpu_bytes: int,
    speeds: Speeds,
    name: str,
    host: int,
    buffers: int,
) -> Plan:
    device = sum(sizes.values()) - host
    activations = activation_bytes(config)
    free = gpu_bytes - device - buffers - activations - RESERVED_BYTES
    read = sum(size for key, size in sizes.items() if is_read_by_decoding(key))
    computing, copying = prefill_flops(config) / (speeds.tflops * 1e12), host / (speeds.host_gb_per_s * 1e9)
    return Plan(
        name=name,
        device_weights=device,
        host_weights=host,
        buffers=buffers,
        activations=activations,
        kv_tokens=free // kv_bytes_per_token(config),
        prefill_seconds=max(computing, copying),
        decode_tokens_per_s=speeds.memory_gb_per_s * 1e9 / read,
    )


def kv_bytes_per_token(config: CogVLM2Config) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.num_hidden_layers * config.num_multi_query_heads * config.head_dim * CACHE_ITEM_BYTES


def prefill_flops(config: CogVLM2Config) -> float:
    """Floating-point operations of a picture: tower, adapter and its tokens' way through the language model."""
    vision, hidden = config.vision_config, config.hidden_size
    width, inner, patches = vision.hidden_size, vision.intermediate_size, vision.num_positions
    tower = vision.num_hidden_layers * (2 * patches * (4 * width**2 + 2 * width * inner) + 4 * patches**2 * width)
    tokens = vision.image_tokens
    adapter = 2 * tokens * (4 * width**2 + width * hidden + 3 * hidden * config.intermediate_size)
    qkv = hidden * (hidden + 2 * config.num_multi_query_heads * config.head_dim)
    linear = 2 * tokens * (qkv + hidden**2 + 3 * hidden * config.intermediate_size)
    # Causal: half of the pairs.
    decoder = config.num_hidden_layers * (linear + 2 * tokens**2 * hidden)
    return float(tower + adapter + decoder)


def activation_bytes(config: CogVLM2Config) -> int:
    """Most that lies beside weights and cache while a picture is read: a tower layer's or a decoder layer's tensors."""
    vision = config.vision_config
    tower = vision.num_positions * (2 * vision.intermediate_size + 8 * vision.hidden_size)
    decoder = vision.image_tokens * (3 * config.intermediate_size + 8 * config.hidden_size)
    return int(max(tower, decoder)) * CACHE_ITEM_BYTES


def _pieces(sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of what is copied together: a layer of the tower, the adapter, the visual experts of a layer."""
    pieces: dict[str, int] = {}
    for name, size in sizes.items():
        if is_prefill_only(name):
            piece = "/".join(_piece(name))
            pieces[piece] = pieces.get(piece, 0) + size
    return pieces


def _piece(name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[1] == "layers":
        yield from parts[1:3]
    elif parts[2] == "transformer":
        yield from parts[2:5]
    else:
        yield "embedding" if parts[2] == "patch_embedding" else "adapter"


def parsed_bytes(text: str) -> int:
    """Bytes of "24GiB", "80 GB" or "40000000000". Raises ValueError for what is no size."""
    found = _SIZE.fullmatch(text.strip().lower())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise ValueError("no size")
    return size


_UNITS = {"": 1, "b": 1, "mb": 10**6, "mib": 2**20, "gb": 10**9, "gib": 2**30}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(b|mb|mib|gb|gib|)")
