"""vLLM's greedy tokens are the native model's, however its scheduler cuts, caches and mixes."""

import pytest
import torch
from vllm_cases import BLOCK, PROMPTS, SIZES

pytestmark = pytest.mark.vllm

IMAGE_TOKENS = (SIZES.image_size // SIZES.patch_size // 2) ** 2 + 2
CHUNKS = (1, 2, 7, 38, 39, 40)
"""Tokens of a prompt in a step: the image is 38 tokens from slot 1 on, and these end before, in and behind it."""


@pytest.fixture(autouse=True)
def cold(request):
    """No prefix of the test before."""
    if "engine" in request.fixturenames:
        request.getfixturevalue("engine").forget()


@pytest.fixture
def chunk_of(engine):
    """How much of a prompt goes in at once."""
    before = engine.scheduling.long_prefill_token_threshold

    def cut(tokens):
        engine.scheduling.long_prefill_token_threshold = tokens

    yield cut
    engine.scheduling.long_prefill_token_threshold = before


@pytest.mark.parametrize("name", PROMPTS)
def test_tokens(name, engine, native):
    asked = PROMPTS[name]
    assert engine.answers(asked) == [native.answer(asked)]


def test_long_prompts_are_long(native):
    reached = {name: native.inputs(asked)["input_ids"].shape[1] for name, asked in PROMPTS.items()}
    assert reached["long text"] > 300
    assert reached["long with image"] > 300 + IMAGE_TOKENS - 3


def test_the_image_matters(native):
    """Else the tests here would pass without one."""
    asked = PROMPTS["image"]
    assert native.answer(asked) != native.answer(asked._replace(image=PROMPTS["turns"].image))
    assert native.answer(asked) != native.answer(asked._replace(image=None))


def test_the_frequencies_matter(native, checkpoint):
    asked = PROMPTS["long with image"]
    usual = native.__class__(checkpoint, rope_mode="fp32")
    assert usual.answer(asked) != native.answer(asked)


@pytest.mark.parametrize("tokens", CHUNKS)
@pytest.mark.parametrize("name", ["image", "turns"])
def test_chunks_cut_the_image(name, tokens, engine, native, chunk_of):
    chunk_of(tokens)
    asked = PROMPTS[name]
    assert engine.answers(asked) == [native.answer(asked)]


def test_mixed_rows(engine, native):
    """Text, images, turns and long prompts in one batch."""
    every = list(PROMPTS.values())
    assert engine.answers(*every) == [native.answer(one) for one in every]


@pytest.mark.parametrize("tokens", [3, 17])
def test_mixed_rows_in_chunks(tokens, engine, native, chunk_of):
    """Some rows decode while others' images go in piece by piece."""
    chunk_of(tokens)
    every = [PROMPTS["text"], PROMPTS["image"], PROMPTS["turns of text"], PROMPTS["turns"]]
    assert engine.answers(*every) == [native.answer(one) for one in every]


def test_a_whole_prefix_hits(engine, native):
    asked = PROMPTS["long with image"]
    first, again = engine.outputs(asked)[0], engine.outputs(asked)[0]
    assert first.num_cached_tokens == 0
    assert again.num_cached_tokens >= 300
    assert [list(one.outputs[0].token_ids) for one in (first, again)] == [native.answer(asked)] * 2


def test_a_prefix_ends_within_the_image(engine, native):
    """The second question shares the image's first block only: the rest of the image is computed from within."""
    asked = PROMPTS["image"]
    other = asked._replace(text="Why?", template="base")
    assert engine.outputs(asked)[0].num_cached_tokens == 0
    hit = engine.outputs(other)[0]
    assert hit.num_cached_tokens == BLOCK
    assert list(hit.outputs[0].token_ids) == native.answer(other)


def test_another_image_hits_nothing(engine, native):
    asked = PROMPTS["long with image"]
    other = asked._replace(image=PROMPTS["image"].image)
    engine.outputs(asked)
    missed = engine.outputs(other)[0]
    assert missed.num_cached_tokens == 0
    assert list(missed.outputs[0].token_ids) == native.answer(other)


def test_placeholders_in_text_are_text(engine, native):
    """A prompt whose words hold the image's tokens is routed as the native model routes it: by its types."""
    config = native.model.config
    words = native.words(PROMPTS["image"])
    words[5:5] = [config.image_token_id, config.image_token_id + 1, config.image_token_id]
    plain = native.model.generate(
        input_ids=torch.tensor([words]),
        attention_mask=torch.ones(1, len(words), dtype=torch.long),
        token_type_ids=torch.zeros(1, len(words), dtype=torch.long),
        do_sample=False,
        temperature=None,
        top_p=None,
        eos_token_id=None,
        max_new_tokens=12,
    )
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    output = engine.engine.generate({"prompt_token_ids": words}, sampling, use_tqdm=False)[0]
    assert list(output.outputs[0].token_ids) == plain[0, len(words) :].tolist()
