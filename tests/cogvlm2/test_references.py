"""Upstream's own outputs, number for number: every case of the reference data, by forward and by generate()."""

import numpy as np
import pytest
import torch
from cogvlm2_cases import CASES, greedy

from guardedvlm.cogvlm2.image_processing import CogVLM2ImageProcessor
from guardedvlm.cogvlm2.prompts import render

EXACT = 2e-4
"""Most that a float32 logit may differ; logits reach about 15."""
ROUNDED = 0.4
"""The same in bfloat16, when the reference's own tokens are fed."""

pytestmark = pytest.mark.skipif(not CASES, reason="the reference outputs are not beside this checkout")


def difference(ours, theirs, real=None):
    distance = (ours.float() - theirs.float()).abs()
    return (distance if real is None else distance[real]).max().item()


def tolerance(case):
    return ROUNDED if case.variant == "bf16" else EXACT


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_prefill(name, attention, case, load):
    case, model = case(name), load(case(name).variant, attention)
    outputs = model(**case.inputs, output_hidden_states=True)
    assert outputs.logits.dtype == torch.float32
    assert difference(outputs.logits, case["prefill_logits"], case.real) <= tolerance(case)
    assert len(outputs.hidden_states) == len(case["hidden_states"])
    for ours, theirs in zip(outputs.hidden_states, case["hidden_states"], strict=True):
        assert difference(ours, theirs, case.real) <= tolerance(case)
    assert difference(outputs.hidden_states[-1], case["final_hidden"], case.real) <= tolerance(case)
    for layer, keys, values in zip(outputs.past_key_values.layers, case["key_cache"], case["value_cache"], strict=True):
        assert difference(layer.keys.transpose(1, 2), keys.transpose(1, 2), case.real) <= tolerance(case)
        assert difference(layer.values.transpose(1, 2), values.transpose(1, 2), case.real) <= tolerance(case)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_teacher_forced_answer(name, case, load):
    case = case(name)
    tokens = case["greedy_tokens"].shape[1]
    logits = load(case.variant)(**case.answered(), logits_to_keep=tokens + 1).logits
    assert difference(logits[:, :-1], case["greedy_logits"]) <= tolerance(case)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", CASES)
def test_generate(name, cache, case, load):
    case = case(name)
    found = greedy(load(case.variant), case.inputs, 16, cache_implementation=cache)
    assert torch.equal(found.sequences[:, case["input_ids"].shape[1] :], case["greedy_tokens"])
    assert difference(torch.stack(found.logits, dim=1), case["greedy_logits"]) <= tolerance(case)


@pytest.mark.parametrize("name", [name for name in CASES if "image" in name or "batch" in name])
@torch.no_grad()
def test_vision_tower(name, case, load):
    case, model = case(name), load(case(name).variant)
    tower, seen = model.model.vision, []
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2])) for layer in tower.transformer.layers]
    pixels = case["pixel_values"].to(model.dtype)
    patches = tower.patch_embedding(pixels)
    output = model.get_image_features(case["pixel_values"])
    for hook in hooks:
        hook.remove()
    allowed = 0.1 if case.variant == "bf16" else 1e-5
    assert difference(patches, case["vision_patch_embedding"]) <= allowed
    assert difference(torch.stack(seen), case["vision_hidden_states"]) <= allowed
    assert difference(output, case["vision_output"]) <= allowed


@pytest.mark.parametrize("name", [name for name in CASES if "image" in name])
def test_pixels(name, case):
    case = case(name)
    pixels = CogVLM2ImageProcessor(image_size=84)(np.asarray(case["image_uint8"]), return_tensors="pt")["pixel_values"]
    assert difference(pixels, case["pixel_values"]) <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_routing(name, case):
    from guardedvlm.cogvlm2 import routing

    case = case(name)
    types, mask = case["token_type_ids"], case["attention_mask"]
    assert torch.equal(routing.vision_expert_mask(types), case["vision_expert_mask"])
    assert torch.equal(routing.position_ids(types, mask), case["position_ids"])


def test_prompts(oracle):
    import json

    prompts = json.loads((oracle / "manifest.json").read_text())["prompts"]
    assert len(prompts) >= 5
    for prompt in prompts.values():
        assert render(prompt["query"], prompt["history"] or (), prompt["template"]) == prompt["prompt"]
