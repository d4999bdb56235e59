"""The int4 checkpoint: bitsandbytes' layout, turned into floats on a CPU."""

import json

import pytest
import torch
from cogvlm2_changes import change_json, change_tensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, fp4, headers, layout, tiny
from guardedvlm.errors import ConfigurationError, Reason


@pytest.fixture
def packed(checkpoint_dir, tmp_path):
    return tiny.write_fp4(checkpoint_dir, tmp_path / "int4")


def by_hand(parts, shape):
    """The slow oracle: a byte at a time, the high half first, a scale every 64 values."""
    values, scales, codes = parts[".quant_map"].tolist(), parts[".absmax"].tolist(), []
    for byte in parts[""].flatten().tolist():
        codes += [byte >> 4, byte & 15]
    count = torch.Size(shape).numel()
    weights = [values[code] * scales[index // 64] for index, code in enumerate(codes[:count])]
    return torch.tensor(weights).view(shape)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 5))
def test_dequantise(rows, columns, seed):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    parts = fp4.quantise(weight)
    found = fp4.dequantise(parts[""], parts[".absmax"], parts[".quant_map"], (rows, columns), torch.float32)
    assert torch.equal(found, by_hand(parts, (rows, columns)))
    # The widest gap between neighbouring values is a third of the largest.
    assert (found - weight).abs().max() <= weight.abs().max() / 6 + 1e-6


def test_the_high_half_comes_first():
    found = fp4.dequantise(
        torch.tensor([[0x3B]], dtype=torch.uint8), torch.tensor([2.0]), fp4.table(), (1, 2), torch.float32
    )
    assert found.tolist() == [[2.0, -2.0]]
    assert fp4.dequantise(
        torch.tensor([[0x30]], dtype=torch.uint8), torch.tensor([2.0]), fp4.table(), (1, 2), torch.float32
    ).tolist() == [[2.0, 0.0]]


def test_the_table_and_the_layout_are_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(1)).half()
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="fp4", compress_statistics=False)
    ours, theirs = fp4.quantise(weight), state.as_dict(packed=True)
    assert torch.equal(fp4.table(), state.code)
    assert {key: value.shape for key, value in ours.items() if key} == {
        f".{key}": value.shape for key, value in theirs.items()
    }
    assert json.loads(bytes(ours[layout.FP4_STATE].tolist())) == json.loads(
        bytes(theirs["quant_state.bitsandbytes__fp4"].tolist())
    )
    assert packed.shape == ours[""].shape
    found = fp4.dequantise(packed, state.absmax, state.code, (96, 64), torch.float16)
    assert torch.equal(found, functional.dequantize_4bit(packed, state))


@pytest.mark.parametrize("dtype", ["auto", torch.float32])
def test_it_loads_as_floats(packed, checkpoint_dir, dtype):
    model = CogVLM2ForCausalLM.from_pretrained(packed, dtype=dtype)
    plain = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32).state_dict()
    assert model.dtype == (torch.float16 if dtype == "auto" else dtype)
    assert getattr(model.config, "quantization_config", None) is None
    assert model.generation_config.eos_token_id == [257, 258]
    tensors, names = load_file(packed / headers.SINGLE), layout.quantised_names(layout.expected_shapes(model.config))
    for name, value in model.state_dict().items():
        if name in names:
            parts = {suffix: tensors[name + suffix] for suffix in ("", ".absmax", ".quant_map")}
            assert torch.equal(value.half(), by_hand(parts, value.shape).half()), name
        else:
            assert torch.equal(value.half(), plain[name].half()), name


def test_what_is_quantised(packed):
    entries = headers.read_tensors(packed)
    quantised = {name for name, entry in entries.items() if entry.dtype == "U8" and name.endswith(".weight")}
    assert "model.vision.linear_proj.gate_proj.weight" in quantised
    assert "model.vision.transformer.layers.0.attention.query_key_value.weight" in quantised
    assert "model.layers.0.mlp.vision_mlp.up_proj.weight" in quantised
    assert not {name for name in quantised if "embed" in name or "lm_head" in name or "conv" in name}


@torch.no_grad()
def test_it_answers(packed, processor, picture):
    model = CogVLM2ForCausalLM.from_pretrained(packed, dtype=torch.float32, rope_mode="fp32")
    assert model.config.rope_mode == "fp32"
    inputs = dict(processor(images=picture, text="What?"))
    again = packed.parent / "floats"
    model.save_pretrained(again)
    assert torch.equal(CogVLM2ForCausalLM.from_pretrained(again)(**inputs).logits, model(**inputs).logits)


NAME = "model.layers.0.mlp.vision_mlp.up_proj.weight"


def _state(**changes):
    content = {"quant_type": "fp4", "blocksize": 64, "dtype": "float16", "shape": [96, 64]} | changes
    return {NAME + layout.FP4_STATE: torch.tensor(list(json.dumps(content).encode()), dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({NAME + ".absmax": torch.zeros(3)}, Reason.TENSOR_SHAPE),
        ({NAME + ".quant_map": torch.zeros(16).half()}, Reason.TENSOR_DTYPE),
        ({NAME: torch.zeros(7, 1, dtype=torch.uint8)}, Reason.TENSOR_SHAPE),
        (_state(shape=[64, 96]), Reason.TENSOR_SHAPE),
        (_state(quant_type="nf4"), Reason.TENSOR_DTYPE),
        (_state(blocksize=128), Reason.TENSOR_DTYPE),
        (_state(nested_absmax=1), Reason.TENSOR_DTYPE),
        ({NAME + layout.FP4_STATE: torch.zeros(9, dtype=torch.uint8)}, Reason.CHECKPOINT_CORRUPT),
    ],
)
def test_parts_that_do_not_fit(packed, change, reason):
    change_tensors(packed, lambda tensors: tensors | change)
    with pytest.raises(ConfigurationError) as error:
        CogVLM2ForCausalLM.from_pretrained(packed)
    assert error.value.reason is reason


def test_a_lost_scale(packed):
    change_tensors(packed, lambda tensors: {key: value for key, value in tensors.items() if key != NAME + ".absmax"})
    with pytest.raises(ConfigurationError) as error:
        CogVLM2ForCausalLM.from_pretrained(packed)
    assert error.value.reason is Reason.TENSOR_MISSING


def test_without_a_word_in_the_configuration(packed):
    """The tensors themselves say that they are 4-bit."""
    change_json(packed / "config.json", quantization_config=None)
    assert CogVLM2ForCausalLM.from_pretrained(packed).dtype == torch.float16
