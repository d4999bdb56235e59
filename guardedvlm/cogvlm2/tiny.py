"""Write a complete CogVLM2 checkpoint of any size in the published layout, with random weights from a fixed seed.

For tests, benchmarks and demonstrations without the real 39 GB: the same files, the same names, the same keys left out
of `config.json`, shards with an index, a byte-level tokenizer whose ids 0..255 are the bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from guardedvlm.cogvlm2 import fp4, headers, layout
from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.errors import Reason

BYTES = 256
LICENSE = "LICENSE"
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_EMBEDDING_STD = 0.5
_NORM_STD = 0.2
_BIAS_STD = 0.1
"""Spreads that keep the activations of a random model away from 0 and from overflow, so that every part shows."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a model. The defaults are the smallest that still has every part in it."""

    hidden_size: int = 64
    intermediate_size: int = 96
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_multi_query_heads: int = 2
    max_position_embeddings: int = 8192
    vocab_size: int = 272
    vision_hidden_size: int = 32
    vision_intermediate_size: int = 48
    vision_layers: int = 2
    vision_heads: int = 2
    patch_size: int = 14
    image_size: int = 56

    def config(self, dtype: str) -> dict[str, Any]:
        """`config.json` with the published file's keys; KV heads only where they are not the 8 of upstream's code."""
        sizes = asdict(self)
        side = self.image_size // self.patch_size
        vision = {
            "dropout_prob": 0.0,
            "hidden_act": "gelu",
            "in_channels": 3,
            "num_hidden_layers": sizes.pop("vision_layers"),
            "hidden_size": sizes.pop("vision_hidden_size"),
            "patch_size": sizes.pop("patch_size"),
            "num_heads": sizes.pop("vision_heads"),
            "intermediate_size": sizes.pop("vision_intermediate_size"),
            "layer_norm_eps": 1e-6,
            "num_positions": side * side + 1,
            "image_size": sizes.pop("image_size"),
        }
        if self.num_multi_query_heads == CogVLM2Config.num_multi_query_heads:
            del sizes["num_multi_query_heads"]
        code = {"AutoConfig": "configuration_cogvlm.CogVLMConfig"}
        special = {"bos_token_id": BYTES, "eos_token_id": [BYTES + 1, BYTES + 2], "pad_token_id": BYTES + 3}
        fixed = {"rms_norm_eps": 1e-5, "template_version": "chat", "initializer_range": 0.02, "hidden_act": "silu"}
        whole = {"architectures": ["CogVLMForCausalLM"], "auto_map": code, "vision_config": vision}
        return whole | sizes | fixed | special | {"use_cache": True, "torch_dtype": dtype}


PUBLISHED = Sizes(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_multi_query_heads=8,
    vocab_size=128256,
    vision_hidden_size=1792,
    vision_intermediate_size=15360,
    vision_layers=63,
    vision_heads=16,
    image_size=1344,
)
"""Sizes of cogvlm2-llama3-chat-19B, for a model of random weights as large as it."""


def write(
    directory: Path, sizes: Sizes | None = None, *, dtype: str = "bfloat16", shards: int = 3, seed: int = 0
) -> Path:
    """Write a checkpoint and return its directory. The same arguments give the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    content = (sizes or Sizes()).config(dtype)
    _write_json(directory / headers.CONFIG, content)
    config = CogVLM2Config(**content)
    _write_shards(directory, dict(random_tensors(config, _DTYPES[dtype], seed)), shards)
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_length": 4096, "_from_model_config": True}
    special = {key: content[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(directory / "generation_config.json", special | sampling)
    byte_tokenizer(config.vocab_size).save(str(directory / "tokenizer.json"))
    (directory / LICENSE).write_text("Random numbers. No rights reserved.\n", encoding="utf-8")
    return directory


def write_fp4(source: Path, directory: Path) -> Path:
    """Write the int4 form of the checkpoint in `source`, as upstream published its own, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    content = headers.read_json(source / headers.CONFIG, Reason.CHECKPOINT_CONFIG)
    entries = headers.read_tensors(source)
    packed = layout.quantised_names(layout.expected_shapes(CogVLM2Config(**content)))
    tensors: dict[str, torch.Tensor] = {}
    for name, entry in entries.items():
        with safe_open(entry.path, framework="pt") as file:
            tensor = file.get_tensor(name)
        parts = fp4.quantise(tensor) if name in packed else {"": tensor.half()}
        tensors |= {name + suffix: part for suffix, part in parts.items()}
    _write_shards(directory, tensors, 1)
    method = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}
    method |= {"bnb_4bit_compute_dtype": "float32", "bnb_4bit_use_double_quant": False}
    _write_json(directory / headers.CONFIG, content | {"torch_dtype": "float16", "quantization_config": method})
    for name in ("generation_config.json", "tokenizer.json", LICENSE):
        (directory / name).write_bytes((source / name).read_bytes())
    return directory


def random_tensors(config: CogVLM2Config, dtype: torch.dtype, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the checkpoint, from one stream of random numbers in the order of the names."""
    generator = torch.Generator().manual_seed(seed)
    for name, shape in sorted(layout.expected_shapes(config).items()):
        if name.endswith("inv_freq"):
            exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
            yield name, (1.0 / config.rope_theta**exponents).to(dtype)
            continue
        mean, spread = _distribution(name, shape)
        yield name, (torch.randn(shape, generator=generator) * spread + mean).to(dtype)


def byte_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer in the published form (byte-level BPE) without merges: a byte is the token of its number."""
    characters = _byte_characters()
    tokenizer = Tokenizer(BPE({characters[byte]: byte for byte in range(BYTES)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|reserved_special_token_0|>"]
    names += [f"<|reserved_special_token_{index}|>" for index in range(1, vocab_size - BYTES - len(names) + 1)]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer


def _byte_characters() -> list[str]:
    """The character that byte-level BPE writes for each byte: itself where it prints, one beyond 255 where not.

    The table of GPT-2's encoder (Radford et al., 2019): three ranges print, the rest is numbered from 256 on.
    """
    printing = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(BYTES) if byte not in printing]
    return [chr(byte) if byte in printing else chr(BYTES + others.index(byte)) for byte in range(BYTES)]


def _distribution(name: str, shape: Sequence[int]) -> tuple[float, float]:
    """Mean and standard deviation of a tensor."""
    if "norm" in name:
        return (1.0 if name.endswith("weight") else 0.0), _NORM_STD
    if name.endswith("bias"):
        return 0.0, _BIAS_STD
    if "embed" in name or name.endswith(("boi", "eoi")):
        return 0.0, _EMBEDDING_STD
    return 0.0, 1.0 / math.sqrt(math.prod(shape[1:]))


def _write_shards(directory: Path, tensors: Mapping[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(dict(tensors), directory / headers.SINGLE, metadata={"format": "pt"})
        return
    names = sorted(tensors)
    per_shard = -(-len(names) // shards)
    where: dict[str, str] = {}
    for index in range(shards):
        part = names[index * per_shard : (index + 1) * per_shard]
        file_name = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name] for name in part}, directory / file_name, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file_name)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    _write_json(directory / headers.INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
