"""The plan's arithmetic against the published figures of the 19B model (design notes, section "Cost")."""

from __future__ import annotations

import json
import math

import pytest

from guardedvlm.cogvlm2 import CogVLM2Config, headers, layout, tiny
from guardedvlm.cogvlm2.plan import (
    Speeds,
    activation_bytes,
    is_prefill_only,
    kv_bytes_per_token,
    parsed_bytes,
    plans,
    prefill_flops,
)

REAL = CogVLM2Config(vision_config={}, eos_token_id=[128001, 128009])


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A directory with the real checkpoint's headers and holes where its weights would be."""
    directory = tmp_path_factory.mktemp("real")
    (directory / headers.CONFIG).write_text(json.dumps(tiny.PUBLISHED.config("bfloat16")))
    header, at = {}, 0
    for name, shape in layout.expected_shapes(REAL).items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    with (directory / headers.SINGLE).open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + at)  # a hole: no disk is used
    return directory


def test_the_published_figures():
    assert prefill_flops(REAL) == pytest.approx(151.7e12, rel=0.01)
    assert kv_bytes_per_token(REAL) == 128 * 1024
    waiting = sum(math.prod(shape) for name, shape in layout.expected_shapes(REAL).items() if is_prefill_only(name))
    assert waiting == pytest.approx(11.47e9, rel=0.001)
    assert 0.5e9 < activation_bytes(REAL) < 2e9


def test_bf16_fits_a_24_gb_card_only_with_the_visual_experts_outside(real):
    whole, offloaded = plans(real, parsed_bytes("24GiB"))
    assert whole.device_weights + whole.host_weights == offloaded.device_weights + offloaded.host_weights
    assert whole.device_weights == 39_006_214_656  # the published index's total_size
    assert whole.kv_tokens <= 0
    assert offloaded.device_weights == pytest.approx(16.06e9, rel=0.001)
    assert offloaded.kv_tokens > 2 * 8192
    # 22.9 GB at 25 GB/s take about as long as the arithmetic at 165 TFLOPS.
    assert offloaded.prefill_seconds == pytest.approx(0.92, abs=0.02)
    assert whole.prefill_seconds == pytest.approx(0.92, abs=0.02)


def test_decoding_is_bounded_by_the_language_path(real):
    plan = plans(real, 80 * 10**9, Speeds(memory_gb_per_s=2039))[0]
    assert plan.decode_tokens_per_s == pytest.approx(136, abs=1)
    assert plan.kv_tokens > 0


def test_a_4_bit_checkpoint_is_planned_as_it_is(tmp_path):
    source = tiny.write(tmp_path / "floats")
    packed = tiny.write_fp4(source, tmp_path / "packed")
    (plan,) = plans(packed, 2**34)
    assert 0 < plan.device_weights < plans(source, 2**34)[0].device_weights
    assert plan.host_weights == 0


@pytest.mark.parametrize(
    ("text", "size"), [("24GiB", 24 * 2**30), ("80 gb", 80 * 10**9), ("512", 512), ("1.5 MiB", 3 * 2**19), ("7B", 7)]
)
def test_sizes_are_read(text, size):
    assert parsed_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "24 apples", "-1", "nan", "inf", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises((ValueError, KeyError)):
        parsed_bytes(text)
