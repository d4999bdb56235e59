"""Compare vLLM with the transformers engine: tokens a second and time to the first token, both behind the same port.

    .venv-vllm/bin/python tests/bench/bench_vllm.py [--tokens 256] [--concurrent 1 4 16] [--native 4] [--out FILE]

On a CPU the random model of about 285 million parameters of `bench_cogvlm2.py`, 448 px, float32; on a GPU one of the
real size, bfloat16. Every request has a picture and a scope of its own, so that nothing is found in a cache. The
transformers engine takes `--native` requests one after the other, vLLM as many as `--concurrent` says at once. Both
run on as many threads, in one run, the transformers engine before and after vLLM: what counts is the ratio, and the
machine's load is told with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bench_cogvlm2 import MIDDLE
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from guardedvlm.cogvlm2 import checkpoint, tiny
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Draft, Engine, Sampling
from guardedvlm.inference.cogvlm2.engine import CogVLM2Engine
from guardedvlm.inference.cogvlm2.model import Loading as NativeLoading
from guardedvlm.inference.cogvlm2.model import Model
from guardedvlm.inference.vllm_engine.engine import VLLMEngine
from guardedvlm.inference.vllm_engine.loading import Loading, load

QUESTION = "What does the page say?"
SECONDS = 3600.0
KV_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Rate:
    """What one round gave."""

    requests: int
    tokens: int
    seconds: float
    first_token_s: float
    """Median over the requests."""
    load: float
    """The machine's, over the last minute, at the end of the round."""

    @property
    def tokens_a_second(self) -> float:
        """Of all requests together."""
        return self.tokens / self.seconds


def wordy_tokenizer(vocab_size: int) -> Tokenizer:
    """As `tiny.byte_tokenizer`, but every further token has a text: a random model draws them, and a piece of an answer
    is seen when it has one."""
    plain = tiny.byte_tokenizer(tiny.BYTES + 4)
    vocabulary = {text: number for text, number in plain.get_vocab().items() if number < tiny.BYTES + 4}
    vocabulary |= {f"w{number}": number for number in range(tiny.BYTES + 4, vocab_size)}
    made = Tokenizer(BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    control = sorted((number, text) for text, number in plain.get_vocab().items() if number >= tiny.BYTES)
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for _, text in control])
    return made


def asked(engine: Engine, number: int, tokens: int) -> AsyncIterator[Draft]:
    """The drafts of one request, which shares nothing with another."""
    side = engine.capacity().geometry.width
    raster = np.random.default_rng(number).integers(0, 256, (side, side, 3)).astype(np.uint8)
    raster.setflags(write=False)
    image = ClearedImage(raster, raster_digest(raster))
    prompt = ClearedPrompt(QUESTION)
    return engine.generate(image, prompt, Sampling(max_tokens=tokens), f"{number:064x}", Deadline.after(SECONDS))


async def one(engine: Engine, number: int, tokens: int) -> tuple[int, float]:
    """(tokens, seconds to the first) of one request."""
    began, first, count = time.perf_counter(), 0.0, 0
    async for draft in asked(engine, number, tokens):
        first = first or time.perf_counter() - began
        count = draft.output_tokens
    return count, first


async def measure(engine: Engine, numbers: range, tokens: int, *, at_once: bool) -> Rate:
    """One round: all requests together, or one after the other."""
    began = time.perf_counter()
    if at_once:
        found = await asyncio.gather(*(one(engine, number, tokens) for number in numbers))
    else:
        found = [await one(engine, number, tokens) for number in numbers]
    seconds = time.perf_counter() - began
    counts, firsts = zip(*found, strict=True)
    return Rate(len(numbers), sum(counts), seconds, statistics.median(firsts), os.getloadavg()[0])


def show(name: str, rate: Rate, base: float | None = None) -> None:
    """One line."""
    ratio = f", {rate.tokens_a_second / base:.2f} x" if base else ""
    print(
        f"{name}: {rate.tokens_a_second:.1f} tokens/s{ratio}, first token after {rate.first_token_s:.2f} s"
        f" ({rate.requests} requests, {rate.tokens} tokens, {rate.seconds:.1f} s, load {rate.load:.1f})",
        flush=True,
    )


async def compare(directory: Path, options: argparse.Namespace) -> dict[str, list[Rate]]:
    """Rounds of both engines."""
    numbers = iter(range(1, 1_000_000, 100))

    def fresh(count: int) -> range:
        start = next(numbers)
        return range(start, start + count)

    loading = Loading(
        directory, kv_cache_bytes=KV_BYTES, max_sequences=max(options.concurrent), eager=not options.compile
    )
    vllm = VLLMEngine(await load(loading))
    native = CogVLM2Engine(Model(NativeLoading(directory)))
    await one(vllm, 999_999_999, 4)
    found: dict[str, list[Rate]] = {"transformers": [], **{f"vllm {count}": [] for count in options.concurrent}}
    for half in range(2):
        found["transformers"].append(await measure(native, fresh(options.native), options.tokens, at_once=False))
        show("transformers, one by one", found["transformers"][-1])
        for count in options.concurrent if half == 0 else ():
            found[f"vllm {count}"].append(await measure(vllm, fresh(count), options.tokens, at_once=True))
            show(f"vllm, {count} at once", found[f"vllm {count}"][-1])
    vllm.close()
    native.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of an answer; the port's own default")
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--native", type=int, default=4, help="requests of the transformers engine a round")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of either; 0 = torch's own choice")
    parser.add_argument("--compile", action="store_true", help="vLLM with compiled graphs")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    # vLLM would bind its threads to cores and leave one out; here both engines have the same.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    is_gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        sizes, dtype = (tiny.PUBLISHED, "bfloat16") if is_gpu else (MIDDLE, "float32")
        directory = tiny.write(Path(folder), sizes, dtype=dtype)
        wordy_tokenizer(sizes.vocab_size).save(str(directory / "tokenizer.json"))
        checkpoint.pin(directory)
        found = asyncio.run(compare(directory, options))
    base = statistics.median(rate.tokens_a_second for rate in found["transformers"])
    for name, rates in found.items():
        if name != "transformers":
            print(f"{name}: {rates[0].tokens_a_second / base:.2f} x the transformers engine one by one")
    if options.out:
        written = {name: [asdict(rate) for rate in rates] for name, rates in found.items()}
        options.out.write_text(json.dumps({"command": sys.argv, **written}, indent=2) + "\n")


if __name__ == "__main__":
    main()
