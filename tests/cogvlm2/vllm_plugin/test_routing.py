"""What vLLM is told of a prompt, without vLLM: positions with each token's expert, names, configuration."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.cogvlm2 import layout, routing, tiny
from guardedvlm.cogvlm2.configuration import CogVLM2Config
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig
from guardedvlm.cogvlm2.vllm_plugin.names import parameter_of
from guardedvlm.cogvlm2.vllm_plugin.routing import plan_rows, prompt_channels, vision_mask
from guardedvlm.errors import ConfigurationError, Reason

BOS, IMAGE, END = 256, 259, 260


def prompt(image, words):
    """Tokens, the image's place, and types; image 0 for none."""
    tokens = [BOS, *[IMAGE] * (image - 1), *[END] * (image > 0), *words]
    places = [SimpleNamespace(offset=1, length=image)] if image else []
    types = torch.tensor([[0, *[1] * image, *[0] * len(words)]])
    return tokens, places, types


WORDS = st.lists(st.integers(0, 271), max_size=30)
"""Placeholders among them: a caller's text may hold any token."""


@given(st.integers(3, 40) | st.just(0), WORDS)
def test_a_whole_prompt_is_the_native_model_s(image, words):
    tokens, places, types = prompt(image, words)
    channels, following = prompt_channels(tokens, places, END)
    assert torch.equal(channels[0], routing.position_ids(types)[0])
    assert torch.equal(vision_mask(channels), routing.vision_expert_mask(types)[0])
    assert torch.equal(channels[2], channels[0])
    # What is generated comes after the last position, whatever its slot is.
    assert len(tokens) + following == channels[0, -1] + 1


@given(st.integers(3, 40), WORDS, st.integers(1, 45))
def test_any_part_is_a_part_of_the_whole(image, words, size):
    tokens, places, types = prompt(image, words)
    channels, _ = prompt_channels(tokens, places, END)
    wanted = routing.vision_expert_mask(types)[0]
    for start in range(0, len(tokens), size):
        part = channels[:, start : start + size]
        rows = plan_rows(part)
        here = wanted[start : start + size]
        if rows is None:
            assert not here.any()
            continue
        assert rows.vision.tolist() == here.nonzero().flatten().tolist()
        assert rows.language.tolist() == (~here).nonzero().flatten().tolist()


def test_generated_tokens_are_language():
    """vLLM continues the three channels alike."""
    assert plan_rows(torch.tensor([[7, 8], [7, 8], [7, 8]])) is None


def test_every_tensor_of_the_published_checkpoint_has_a_place_of_its_own():
    shapes = layout.expected_shapes(CogVLM2Config())
    places = [parameter_of(name) for name in shapes]
    assert len(places) == len(set(places)) == 1221
    merged = {place for place, half in places if half is not None}
    # Two experts in each of 32 layers, and the adapter.
    assert len(merged) == 65
    assert {half for place, half in places if place in merged} == {0, 1}


def test_the_configuration_names_a_placeholder_for_the_end():
    config = CogVLM2VllmConfig(**tiny.Sizes().config("float32"))
    assert (config.image_token_id, config.image_end_token_id) == (IMAGE, END)
    assert config.rope_parameters["mrope_section"] == [8, 0, 0]
    assert CogVLM2VllmConfig().image_end_token_id == 128003


@pytest.mark.parametrize("changed", [{"vocab_size": 260}, {"eos_token_id": [257, 260]}])
def test_without_a_free_placeholder_there_is_no_model(changed):
    with pytest.raises(ConfigurationError) as refused:
        CogVLM2VllmConfig(**(tiny.Sizes().config("float32") | changed))
    assert refused.value.reason is Reason.CHECKPOINT_CONFIG
