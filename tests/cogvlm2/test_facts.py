"""The reference cases can tell: break one fact of the model, and its outputs leave the references.

Each breaks one line of the mathematics on a loaded model, and asserts that the logits move by more than the references'
tolerance. What the references cannot see (the adapter's eps moves them by 1.6e-5) is asserted as a constant.
"""

import pytest
import torch
from cogvlm2_cases import CASES
from torch import nn
from transformers.activations import ACT2FN

from guardedvlm.cogvlm2 import CogVLM2Config, CogVLM2ForCausalLM, routing, vision
from guardedvlm.cogvlm2 import language as language_module
from guardedvlm.cogvlm2.language import CogVLM2RMSNorm
from guardedvlm.cogvlm2.rope import CogVLM2RotaryEmbedding
from guardedvlm.cogvlm2.vision import CogVLM2VisionAttention, CogVLM2VisionLayer

EXACT = 2e-4
needs_oracle = pytest.mark.skipif(not CASES, reason="the reference outputs are not beside this checkout")


@pytest.fixture
def moved(case, oracle):
    """How far the logits of a case are from the reference once a fresh model was changed."""

    @torch.no_grad()
    def measure(change=lambda model: None, name="fp32__image_chat", dtype=torch.float32):
        reference = case(name)
        directory = oracle / ("tiny-fp32" if name.startswith("fp32") else "tiny-bf16")
        model = CogVLM2ForCausalLM.from_pretrained(directory, dtype=dtype)
        change(model)
        logits = model(**reference.inputs).logits
        return (logits - reference["prefill_logits"])[reference.real].abs().max().item()

    return measure


@needs_oracle
def test_unchanged_nothing_moves(moved):
    assert moved() <= EXACT / 5


@needs_oracle
def test_eoi_goes_to_the_language_expert(moved, monkeypatch):
    monkeypatch.setattr(routing, "vision_expert_mask", lambda types: types == routing.IMAGE)
    monkeypatch.setattr(routing, "plan_rows", _plan_without_checks)
    assert moved() > 0.5


@needs_oracle
def test_boi_goes_to_the_vision_expert(moved, monkeypatch):
    real = routing.vision_expert_mask

    def without_first(types):
        mask = real(types)
        mask[:, 1:] &= mask[:, :-1].clone()
        return mask

    monkeypatch.setattr(routing, "vision_expert_mask", without_first)
    monkeypatch.setattr(routing, "plan_rows", _plan_without_checks)
    assert moved() > 0.1


def _plan_without_checks(types, images, image_tokens, device):
    if not images:
        return None
    mask = routing.vision_expert_mask(types)
    return routing.Rows(*(part.flatten().nonzero().flatten() for part in (types == routing.IMAGE, mask, ~mask)))


@needs_oracle
def test_patches_share_a_position(moved, monkeypatch):
    def one_each(types, mask=None):
        return torch.arange(types.shape[1]).expand(types.shape)

    monkeypatch.setattr(routing, "position_ids", one_each)
    assert moved() > 0.5


@needs_oracle
def test_every_image_token_is_causal(moved):
    def not_causal(model):
        for layer in model.model.layers:
            layer.self_attn.is_causal = False

    assert moved(not_causal) > 0.5


@needs_oracle
@pytest.mark.parametrize("part", ["vision_expert_query_key_value", "vision_expert_dense"])
def test_experts_differ(moved, part):
    def swap(model):
        for layer in model.model.layers:
            setattr(layer.self_attn, part, getattr(layer.self_attn, part.replace("vision", "language")))

    assert moved(swap) > 0.1


@needs_oracle
def test_only_the_vision_experts_projection_has_a_bias(moved):
    def without(model):
        for layer in model.model.layers:
            layer.self_attn.vision_expert_query_key_value.bias.zero_()

    def on_both(model):
        for layer in model.model.layers:
            bias = layer.self_attn.vision_expert_query_key_value.bias
            layer.self_attn.language_expert_query_key_value.bias = nn.Parameter(bias.clone())

    assert moved(without) > 0.01
    assert moved(on_both) > 0.01


@needs_oracle
def test_tower_norms_stand_on_the_branches_outputs(moved, monkeypatch):
    def pre_norm(self, states):
        states = states + self.attention(self.input_layernorm(states))
        return states + self.mlp(self.post_attention_layernorm(states))

    monkeypatch.setattr(CogVLM2VisionLayer, "forward", pre_norm)
    assert moved() > 0.5


@needs_oracle
def test_tower_norms_eps_is_1e_6(moved):
    def coarser(model):
        for layer in model.model.vision.transformer.layers:
            layer.input_layernorm.eps = layer.post_attention_layernorm.eps = 1e-5

    assert moved(coarser) > 5e-5 > 2 * moved()


@needs_oracle
def test_rms_norms_eps_is_1e_5(moved):
    def finer(model):
        for module in model.modules():
            if isinstance(module, CogVLM2RMSNorm):
                module.eps = 1e-6

    assert moved(finer) > EXACT


def test_the_three_eps(model):
    tower = model.model.vision
    assert {layer.input_layernorm.eps for layer in tower.transformer.layers} == {1e-6}
    assert {layer.post_attention_layernorm.eps for layer in tower.transformer.layers} == {1e-6}
    assert tower.linear_proj.norm1.eps == 1e-5
    assert {module.eps for module in model.modules() if isinstance(module, CogVLM2RMSNorm)} == {1e-5}
    assert (CogVLM2Config().rms_norm_eps, CogVLM2Config().vision_config.layer_norm_eps) == (1e-5, 1e-6)


@needs_oracle
def test_gelu_is_exact_in_the_tower_and_in_the_adapter(moved, monkeypatch):
    def approximate(model):
        for layer in model.model.vision.transformer.layers:
            layer.mlp.activation = ACT2FN["gelu_pytorch_tanh"]

    assert moved(approximate) > EXACT
    exact = nn.functional.gelu
    monkeypatch.setattr(vision.nn.functional, "gelu", lambda states: exact(states, approximate="tanh"))
    assert moved() > EXACT


@needs_oracle
def test_tower_splits_heads_before_tokens(moved, monkeypatch):
    def forgets_to_transpose(self, states):
        images, tokens, width = states.shape
        qkv = self.query_key_value(states).view(images, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 1, 3, 4)
        output = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.dense(output.reshape(images, tokens, width))

    monkeypatch.setattr(CogVLM2VisionAttention, "forward", forgets_to_transpose)
    assert moved() > 0.5


def test_rms_norm_multiplies_before_it_rounds():
    generator = torch.Generator().manual_seed(1)
    norm = CogVLM2RMSNorm(64, 1e-5).bfloat16()
    norm.weight.data = torch.randn(64, generator=generator).bfloat16()
    states = torch.randn(200, 64, generator=generator).bfloat16()
    exact = states.float() * torch.rsqrt(states.float().pow(2).mean(-1, keepdim=True) + 1e-5)
    assert torch.equal(norm(states), (norm.weight.float() * exact).bfloat16())
    assert not torch.equal(norm(states), norm.weight * exact.bfloat16())


@needs_oracle
def test_rope_uses_the_checkpoints_frequencies(moved):
    def recomputed(model):
        for layer in model.model.layers:
            layer.self_attn.rotary_emb.inv_freq = layer.self_attn.rotary_emb.frequencies()

    assert moved(recomputed, name="bf16ckpt_fp32__image_chat") > EXACT
    assert moved(recomputed, name="bf16ckpt_fp32__text_only") > EXACT


@needs_oracle
@pytest.mark.parametrize("theta", [10000.0, 1e6])
def test_rope_theta_is_500000(moved, theta):
    def other(model):
        for layer in model.model.layers:
            layer.self_attn.rotary_emb.theta = theta
            layer.self_attn.rotary_emb.mode = "fp32"

    assert moved(other) > 0.1


@needs_oracle
def test_rope_halves_are_split_not_interleaved(moved, monkeypatch):
    def interleaved(states, cos, sin):
        first, second = states[..., 0::2], states[..., 1::2]
        return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)

    monkeypatch.setattr(language_module, "rotate", interleaved)
    assert moved() > 0.5


def test_rope_rounds_in_the_models_type():
    """Against the arithmetic of upstream's table, written out: a bfloat16 count, times bfloat16 frequencies."""
    rope = CogVLM2RotaryEmbedding(CogVLM2Config())
    rope.inv_freq = rope.inv_freq.bfloat16()
    # Beyond 4112 torch's bfloat16 arange rounds twice on a CPU; on a GPU, where upstream runs, it does not.
    count = torch.arange(4112, dtype=torch.bfloat16)
    angles = torch.outer(count, rope.inv_freq)
    cos, sin = rope(torch.arange(4112)[None], torch.bfloat16)
    assert torch.equal(cos[0, 0], angles.cos())
    assert torch.equal(sin[0, 0], angles.sin())
    assert count[256] == 256
    assert count[257] == 256
    assert count[1027] == 1028


@torch.no_grad()
def test_rope_mode_fp32_is_another_model_on_long_prompts(checkpoint_dir):
    upstream = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir)
    usual = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, rope_mode="fp32")
    assert (upstream.config.rope_mode, usual.config.rope_mode) == ("upstream", "fp32")
    ids = torch.randint(0, 256, (1, 700), generator=torch.Generator().manual_seed(3))
    ids[0, 0] = 256
    apart = (upstream(ids).logits - usual(ids).logits).abs().amax(dim=-1)[0]
    assert apart[:128].max() * 3 < apart[400:].max()


@torch.no_grad()
def test_rope_modes_agree_in_float32(model, checkpoint_dir):
    rope = CogVLM2RotaryEmbedding(model.config)
    usual = CogVLM2RotaryEmbedding(CogVLM2Config(**(model.config.to_dict() | {"rope_mode": "fp32"})))
    positions = torch.arange(1000)[None]
    for ours, theirs in zip(rope(positions, torch.float32), usual(positions, torch.float32), strict=True):
        assert torch.equal(ours, theirs)


@needs_oracle
def test_upstreams_type_counts_at_a_hundred_positions(moved, case):
    def exact(model):
        for layer in model.model.layers:
            layer.self_attn.rotary_emb.mode = "fp32"

    assert moved(exact, "bf16__image_chat", torch.bfloat16) > moved(name="bf16__image_chat", dtype=torch.bfloat16)
