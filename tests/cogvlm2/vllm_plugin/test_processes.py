"""The same tokens in other processes: upstream's reference cases, tensor and pipeline parallel, compiled."""

import shutil

import numpy as np
import pytest
from cogvlm2_cases import CASES, ORACLE
from vllm_cases import PROMPTS

from guardedvlm.cogvlm2 import tiny

pytestmark = pytest.mark.vllm

TWO = {"VLLM_CPU_OMP_THREADS_BIND": "0|0"}
"""vLLM binds a worker to a NUMA node of its own unless it is told which cores to take."""
SOME = ("text", "image", "turns", "long with image")


@pytest.fixture
def asked(native):
    return [(native.words(PROMPTS[name]), PROMPTS[name].image) for name in SOME]


@pytest.fixture
def wanted(native):
    return [native.answer(PROMPTS[name]) for name in SOME]


CLEAR = 0.8
"""Between a reference's best and second token in bfloat16: twice what its logits may differ by."""


def reference(variant, tmp_path):
    """The reference's checkpoint with a tokenizer, its prompts, upstream's own tokens, and how clear each was."""
    directory = tmp_path / variant
    shutil.copytree(ORACLE / ("tiny-fp32" if variant == "fp32" else "tiny-bf16"), directory)
    tiny.byte_tokenizer(272).save(str(directory / "tokenizer.json"))
    prompts, tokens, margins = [], [], []
    for name in CASES:
        with np.load(ORACLE / f"{name}.npz") as case:
            if not name.startswith(f"{variant}__") or len(case["input_ids"]) > 1:
                continue
            words = case["input_ids"][0][case["token_type_ids"][0] == 0]
            prompts.append((words.tolist(), case["image_uint8"] if "image_uint8" in case.files else None))
            tokens.append(case["greedy_tokens"][0].tolist())
            margins.append(case["greedy_top2_margin"][0].tolist())
    assert len(prompts) >= 2
    return directory, prompts, tokens, margins


@pytest.mark.skipif(not CASES, reason="the reference outputs are not beside this checkout")
@pytest.mark.parametrize("variant", ["fp32", "bf16ckpt_fp32"])
def test_upstream_s_own_tokens(variant, tmp_path, answers_of):
    directory, prompts, tokens, _ = reference(variant, tmp_path)
    assert answers_of(directory, prompts, tokens=16) == tokens


@pytest.mark.skipif(not CASES, reason="the reference outputs are not beside this checkout")
def test_rounded_arithmetic_chooses_what_was_clear(tmp_path, answers_of):
    """As it is served: behind each part of the reference's answer comes its next token, where that was clear."""
    directory, prompts, tokens, margins = reference("bf16", tmp_path)
    forced, wanted = [], []
    for (words, image), answer, margin in zip(prompts, tokens, margins, strict=True):
        for step, (token, clear) in enumerate(zip(answer, margin, strict=True)):
            if clear > CLEAR:
                forced.append((words + answer[:step], image))
                wanted.append([token])
    assert len(wanted) >= 10
    assert answers_of(directory, forced, tokens=1, dtype="bfloat16") == wanted


def test_two_tensor_ranks(checkpoint, asked, wanted, answers_of):
    """Two of four query heads, one of two key-value heads, half of every MLP and of the vocabulary each."""
    assert answers_of(checkpoint, asked, environment=TWO, tensor_parallel_size=2) == wanted


def test_two_stages(checkpoint, asked, wanted, answers_of):
    """The second stage is given positions and states only. In chunks, so that images cross it in pieces."""
    options = {"pipeline_parallel_size": 2, "max_num_batched_tokens": 16}
    assert answers_of(checkpoint, asked, environment=TWO, **options) == wanted


def test_compiled(checkpoint, asked, wanted, answers_of):
    """Decoding compiled, images' steps not; traced, but not built: vLLM's own switch for its tests on a CPU."""
    assert answers_of(checkpoint, asked, environment={"VLLM_CPU_CI_ENV": "1"}, enforce_eager=False) == wanted
