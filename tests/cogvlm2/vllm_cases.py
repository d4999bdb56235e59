"""What the tests of vLLM share beside fixtures: one checkpoint's sizes, vLLM's settings, and prompts."""

import random
from typing import NamedTuple

import numpy as np

from guardedvlm.cogvlm2 import tiny

TOKENS = 12
SIZES = tiny.Sizes(num_hidden_layers=3, image_size=168)
"""An image is 38 tokens, from slot 1 on: the first block of 32 slots ends within it."""
BLOCK = 32
OPTIONS = {
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 8,
    "block_size": BLOCK,
    "kv_cache_memory_bytes": 32 << 20,
    "enforce_eager": True,
    "seed": 0,
}
"""In float32 of a bfloat16 checkpoint."""
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class Asked(NamedTuple):
    """A question as both models get it."""

    text: str
    image: np.ndarray | None = None
    history: tuple = ()
    template: str = "chat"


def letters(seed, count):
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz ", k=count))


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (60, 100, 3), np.uint8)


HISTORY = (("What is it?", "A dog."), ("Is it asleep?", "No."))
PROMPTS = {
    "text": Asked("What is the capital of France?"),
    "image": Asked("Describe this image.", picture(1)),
    "short answer": Asked("How many dogs?", picture(2), template="vqa"),
    "turns": Asked("And its colour?", picture(3), HISTORY),
    "turns of text": Asked("And its colour?", None, HISTORY),
    "long text": Asked(letters(1, 400)),
    "long with image": Asked(letters(2, 400), picture(4)),
}
"""The last two reach beyond position 300."""
