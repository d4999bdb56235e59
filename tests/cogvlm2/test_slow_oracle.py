"""The model against its slow oracle, and the oracle against upstream's outputs."""

import pytest
import torch
from cogvlm2_cases import CASES, greedy
from slow_oracle import SlowOracle

CLOSE = 1e-4
HISTORY = [("What is it?", "A dog."), ("Asleep?", "No.")]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("fp32__") and "batch" not in name])
def test_the_oracle_is_upstreams(name, case, oracle):
    case = case(name)
    slow = SlowOracle(oracle / "tiny-fp32")
    pixels = case["pixel_values"][0] if "pixel_values" in case.arrays else None
    logits = slow.logits(case["input_ids"][0].tolist(), case["token_type_ids"][0].tolist(), pixels)
    assert (logits - case["prefill_logits"][0]).abs().max() <= CLOSE


@pytest.fixture(scope="module")
def slow(checkpoint_dir):
    return SlowOracle(checkpoint_dir)


ROWS = {
    "one image": [("What?", None, True)],
    "turns about an image": [("And now?", HISTORY, True)],
    "text": [("Why?", None, False)],
    "texts of several lengths": [("Why?", None, False), ("Hi", HISTORY[:1], False)],
    "images of several lengths": [("Why?", None, True), ("What is in it?", HISTORY[:1], True)],
    "an image between texts": [("Hi", None, False), ("Why?", None, True), ("What is in it?", None, False)],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@torch.no_grad()
def test_the_model_is_its_oracle(rows, model, slow, processor, picture):
    pictures = [picture[index:].copy() if has_image else None for index, (_, _, has_image) in enumerate(rows)]
    inputs = dict(processor(images=pictures, text=[row[0] for row in rows], history=[row[1] for row in rows]))
    found = greedy(model, inputs, 3)
    answers = found.sequences[:, inputs["input_ids"].shape[1] :]
    prefill = model(**inputs).logits
    pixels = iter(inputs.get("pixel_values", ()))
    for index, (_, _, has_image) in enumerate(rows):
        real = inputs["attention_mask"][index].bool()
        ids = [*inputs["input_ids"][index][real].tolist(), *answers[index].tolist()]
        types = [*inputs["token_type_ids"][index][real].tolist(), 0, 0, 0]
        expected = slow.logits(ids, types, next(pixels) if has_image else None)
        assert (prefill[index][real] - expected[:-3]).abs().max() <= CLOSE
        steps = torch.stack(found.logits, dim=1)[index]
        assert (steps - expected[-4:-1]).abs().max() <= CLOSE
