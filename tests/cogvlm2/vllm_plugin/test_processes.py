"""The same tokens where the model is spread over processes: tensor and pipeline parallel, two of each."""

import pytest
from vllm_cases import PROMPTS

pytestmark = pytest.mark.vllm

SOME = ("text", "image", "turns", "long with image")
TRACED = {"enforce_eager": False, "compilation_config": {"mode": 2, "backend": "eager"}}
"""torch.compile traces steps without an image, and nothing is built of the trace, which takes minutes."""


@pytest.fixture
def asked(native):
    return [(native.words(PROMPTS[name]), PROMPTS[name].image) for name in SOME]


@pytest.fixture
def wanted(native):
    return [native.answer(PROMPTS[name]) for name in SOME]


def test_two_tensor_ranks(checkpoint, asked, wanted, answers_of):
    """Two of four query heads, one of two key-value heads, half of every MLP and of the vocabulary each."""
    assert answers_of(checkpoint, asked, tensor_parallel_size=2) == wanted


def test_two_stages_traced(checkpoint, asked, wanted, answers_of):
    """The second stage is given positions and states only. In chunks, so that images cross it in pieces.

    Traced in both stages: vLLM's worker for the CPU makes a stage's buffers while it warms a trace up, and never else.
    """
    options = {"pipeline_parallel_size": 2, "max_num_batched_tokens": 16}
    assert answers_of(checkpoint, asked, **options, **TRACED) == wanted
