"""Measure CogVLM2: prefill of a picture, decoding, memory, the second question about a picture, beside their ceilings.

    .venv/bin/python tests/bench/bench_cogvlm2.py [--repeats 3] [--threads 2] [--tokens 32] [--out FILE]

On a CPU a random model of about 290 million parameters, 448 px, float32; on a GPU one of the real size, 1344 px,
bfloat16, with random weights. Ceilings come from the same run, measured before and after (the larger rate counts):
arithmetic is a matmul of the sizes that dominate the prefill, memory is one pass over the weights that a token reads,
as matrix by vector. Prefill counts the operations of `cogvlm2.plan.prefill_flops`; decoding counts the bytes of the
language path. Times are medians of `repeats`; on a GPU by CUDA events.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, tiny
from guardedvlm.cogvlm2.plan import is_read_by_decoding, prefill_flops

MIDDLE = tiny.Sizes(
    hidden_size=1024,
    intermediate_size=2816,
    num_hidden_layers=10,
    num_attention_heads=8,
    num_multi_query_heads=2,
    vocab_size=8192,
    vision_hidden_size=512,
    vision_intermediate_size=1536,
    vision_layers=12,
    vision_heads=8,
    image_size=448,
)
QUESTION = "What does the page say?"


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median time of `work`, after one run that does not count."""
    work()
    found = []
    for _ in range(repeats):
        if device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            found.append(begin.elapsed_time(end) / 1000)
        else:
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
    return statistics.median(found)


def rates(model: Any, repeats: int) -> tuple[float, float]:
    """(operations a second, bytes a second) that this machine reaches on sizes of this model."""
    config, weight = model.config, model.lm_head.weight
    rows = config.vision_config.num_positions
    width, inner = config.vision_config.hidden_size, config.vision_config.intermediate_size
    made = {"dtype": weight.dtype, "device": weight.device}
    left, right = torch.randn(rows, width, **made), torch.randn(inner, width, **made)
    hidden, wide = torch.randn(rows, config.hidden_size, **made), model.model.layers[0].mlp.language_mlp.up_proj.weight
    device = weight.device
    flops = max(
        2 * rows * width * inner / seconds(lambda: left @ right.T, 3 * repeats, device),
        2 * rows * wide.numel() / seconds(lambda: hidden @ wide.T, 3 * repeats, device),
    )
    read = [one for name, one in model.named_parameters() if one.ndim == 2 and is_read_by_decoding(name)]
    vectors = [torch.randn(1, one.shape[1], **made) for one in read]
    size = sum(one.numel() * one.element_size() for one in read)

    def once() -> None:
        for vector, one in zip(vectors, read, strict=True):
            torch.nn.functional.linear(vector, one)

    return flops, size / seconds(once, repeats, device)


def measure(model: Any, processor: Any, batch: int, options: argparse.Namespace) -> dict[str, float]:
    """Prefill and decoding of `batch` rows, each with a picture of its own."""
    side, device = model.config.vision_config.image_size, model.lm_head.weight.device
    chance = np.random.default_rng(0)
    pictures = [chance.integers(0, 256, (side, side, 3)).astype(np.uint8) for _ in range(batch)]
    inputs = processor(images=pictures, text=[QUESTION] * batch).to(device)
    prefill = seconds(lambda: model(**inputs, use_cache=True, logits_to_keep=1), options.repeats, device)
    cache = model(**inputs, use_cache=True, logits_to_keep=1).past_key_values
    step = torch.full((batch, 1), 65, device=device)

    def decode() -> None:
        held = copy.deepcopy(cache)
        for _ in range(options.tokens):
            model(step, past_key_values=held, logits_to_keep=1)

    return {"prefill_s": prefill, "decode_token_s": seconds(decode, options.repeats, device) / options.tokens}


def second_question(model: Any, processor: Any, repeats: int) -> tuple[float, float]:
    """Seconds of a prompt with a picture, and of another prompt whose picture's keys and values are kept."""
    side, device = model.config.vision_config.image_size, model.lm_head.weight.device
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)
    inputs = processor(images=picture, text=QUESTION).to(device)
    whole = seconds(lambda: model(**inputs, use_cache=True, logits_to_keep=1), repeats, device)
    length = 1 + model.config.vision_config.image_tokens
    begun = {name: inputs[name][:, :length] for name in ("input_ids", "token_type_ids", "attention_mask")}
    kept = model(**begun, pixel_values=inputs["pixel_values"], use_cache=True, logits_to_keep=1).past_key_values
    rest = inputs["input_ids"][:, length:]
    return whole, seconds(lambda: model(rest, past_key_values=copy.deepcopy(kept), logits_to_keep=1), repeats, device)


def peak_bytes(device: torch.device) -> int:
    """Most memory that was in use: the device's, or the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's own choice")
    parser.add_argument("--tokens", type=int, default=32, help="tokens to decode")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    found: dict[str, object] = {"command": sys.argv, "device": device.type}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        is_gpu = device.type == "cuda"
        dtype = "bfloat16" if is_gpu else "float32"
        directory = tiny.write(Path(folder), tiny.PUBLISHED if is_gpu else MIDDLE, dtype=dtype)
        model = CogVLM2ForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval().to(device)
        processor = CogVLM2Processor.from_pretrained(directory)
        parameters = sum(one.numel() for one in model.parameters())
        print(f"{parameters / 1e6:.0f} million parameters, {dtype}, {peak_bytes(device) / 1e9:.2f} GB after loading")
        before = rates(model, options.repeats)
        measured = {batch: measure(model, processor, batch, options) for batch in options.batch}
        again = second_question(model, processor, options.repeats)
        after = rates(model, options.repeats)
        flops, bandwidth = max(before[0], after[0]), max(before[1], after[1])
        print(f"this machine: {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.2f} GB/s")
        read = sum(
            one.numel() * one.element_size() for name, one in model.named_parameters() if is_read_by_decoding(name)
        )
        for batch, times in measured.items():
            least = batch * prefill_flops(model.config) / flops
            token = max(read / bandwidth, 2 * batch * read / model.lm_head.weight.element_size() / flops)
            prefill, step = times["prefill_s"], times["decode_token_s"]
            print(f"batch {batch}: prefill {prefill:.3f} s, ceiling {least:.3f} s, {least / prefill:.0%} of it reached")
            print(f"  decoding {batch / step:.1f} tokens/s, ceiling {batch / token:.1f}, {token / step:.0%} reached")
        print(f"second question about a picture: {again[0]:.3f} s -> {again[1]:.3f} s, ratio {again[0] / again[1]:.1f}")
        print(f"peak memory {peak_bytes(device) / 1e9:.2f} GB")
        if not is_gpu:
            print("not measured: a GPU, the real size, bfloat16 (no GPU here)")
        found |= {"flops": flops, "bandwidth": bandwidth, "batches": measured, "second_question_s": again}
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
