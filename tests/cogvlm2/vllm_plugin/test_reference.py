"""Upstream's own reference cases on vLLM, without the native model between."""

import shutil

import numpy as np
import pytest
from cogvlm2_cases import CASES, ORACLE

from guardedvlm.cogvlm2 import tiny

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not CASES, reason="the reference outputs are not beside this checkout"),
]

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


@pytest.mark.parametrize("variant", ["fp32", "bf16ckpt_fp32"])
def test_upstream_s_own_tokens(variant, tmp_path, answers_here):
    directory, prompts, tokens, _ = reference(variant, tmp_path)
    assert answers_here(directory, prompts, tokens=16) == tokens


def test_rounded_arithmetic_chooses_what_was_clear(tmp_path, answers_here):
    """As it is served: behind each part of the reference's answer comes its next token, where that was clear."""
    directory, prompts, tokens, margins = reference("bf16", tmp_path)
    forced, wanted = [], []
    for (words, image), answer, margin in zip(prompts, tokens, margins, strict=True):
        for step, (token, clear) in enumerate(zip(answer, margin, strict=True)):
            if clear > CLEAR:
                forced.append((words + answer[:step], image))
                wanted.append([token])
    assert len(wanted) >= 10
    assert answers_here(directory, forced, tokens=1, dtype="bfloat16") == wanted
