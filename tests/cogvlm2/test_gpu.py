"""What only a GPU can show. `make test-gpu` runs these; without a GPU each is skipped and says so."""

from __future__ import annotations

import threading

import pytest
import torch

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, checkpoint, tiny
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Draft, Sampling
from guardedvlm.inference.cogvlm2.model import COMPILE_BACKEND, Loading, Model

pytestmark = pytest.mark.gpu

NEARLY = 0.4
"""Largest difference of bf16 logits that two orders of summation make; of the reference outputs too."""


def logits(model, prompt):
    with torch.inference_mode():
        return model(**prompt.to(model.device)).logits.float().cpu()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("gpu") / "model", tiny.Sizes(hidden_size=128, intermediate_size=256))


@pytest.fixture(scope="module")
def prompt(processor, picture):
    return processor(images=picture, text="What is it?")


@pytest.fixture(scope="module")
def plain(directory):
    return CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.bfloat16, device_map="cuda:0")


def test_flash_attention_says_what_sdpa_says(directory, plain, prompt):
    pytest.importorskip("flash_attn", reason="flash-attn is not installed")
    flash = CogVLM2ForCausalLM.from_pretrained(
        directory, dtype=torch.bfloat16, device_map="cuda:0", attn_implementation="flash_attention_2"
    )
    assert flash.config._attn_implementation == "flash_attention_2"
    assert (logits(flash, prompt) - logits(plain, prompt)).abs().max() <= NEARLY


def test_a_cpu_and_a_gpu_say_the_same(directory, prompt):
    models = [CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32, device_map=one) for one in ("cpu", 0)]
    assert (logits(models[0], prompt) - logits(models[1], prompt)).abs().max() <= 2e-4


def test_over_several_gpus(directory, plain, prompt):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    memory = {0: 2 * 2**20, 1: 2**30}
    spread = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.bfloat16, device_map="auto", max_memory=memory)
    assert len(set(spread.hf_device_map.values())) > 1
    assert (logits(spread, prompt) - logits(plain, prompt)).abs().max() <= NEARLY


def test_four_bits_as_they_are(directory, prompt, tmp_path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    packed = tiny.write_fp4(directory, tmp_path / "int4")
    native = CogVLM2ForCausalLM.from_pretrained(packed, device_map="cuda:0")
    floats = CogVLM2ForCausalLM.from_pretrained(packed, dequantise=True, dtype=torch.float16).to("cuda:0")
    assert native.get_memory_footprint() < floats.get_memory_footprint()
    assert (logits(native, prompt) - logits(floats, prompt)).abs().max() <= NEARLY


def test_decoding_in_cuda_graphs_gives_the_same_answers(directory):
    checkpoint.pin(directory)
    said = [_answers(Model(Loading(directory, dtype="float32", compile_backend=one))) for one in ("", COMPILE_BACKEND)]
    assert said[0] == said[1]


def _answers(model):
    raster = torch.full((model.side, model.side, 3), 90, dtype=torch.uint8).numpy()
    drafts: list[Draft] = []
    for question in ("What is it?", "Is this longer?"):
        deadline, never = Deadline.after(600), threading.Event()
        model.answer(raster, question, (), "", Sampling(max_tokens=16), ("s", "r"), deadline, never, drafts.append)
    return drafts
