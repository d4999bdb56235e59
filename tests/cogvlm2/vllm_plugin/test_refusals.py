"""What is refused before and while weights are read, and what vLLM is told of the model."""

from types import SimpleNamespace

import pytest
import torch
from cogvlm2_changes import change_tensors

from guardedvlm.cogvlm2 import tiny
from guardedvlm.cogvlm2.vllm_plugin.configuration import CogVLM2VllmConfig
from guardedvlm.errors import ConfigurationError, Reason

pytestmark = pytest.mark.vllm


@pytest.fixture
def settings():
    from guardedvlm.cogvlm2.vllm_plugin.settings import CogVLM2Settings

    return CogVLM2Settings


def told(directory, load_format="auto", graphs=None):
    """As much of vLLM's own settings as is asked for."""
    config = CogVLM2VllmConfig.from_pretrained(directory)
    return SimpleNamespace(
        model_config=SimpleNamespace(hf_config=config, model=str(directory), tokenizer_mode="auto"),
        load_config=SimpleNamespace(load_format=load_format),
        compilation_config=SimpleNamespace(cudagraph_mode=graphs),
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: {n: t for n, t in tensors.items() if n != "model.vision.boi"}, Reason.TENSOR_MISSING),
        (lambda tensors: tensors | {"extra": torch.zeros(1)}, Reason.TENSOR_UNEXPECTED),
        (lambda tensors: tensors | {"model.norm.weight": torch.zeros(3)}, Reason.TENSOR_SHAPE),
    ],
)
def test_files_are_held_against_the_configuration(change, reason, settings, broken):
    settings.verify_and_update_config(told(broken))
    change_tensors(broken, change)
    with pytest.raises(ConfigurationError) as refused:
        settings.verify_and_update_config(told(broken))
    assert refused.value.reason is reason


def test_a_checkpoint_is_a_directory_here(settings, broken):
    named = told(broken)
    named.model_config.model = "somebody/cogvlm2"
    with pytest.raises(ConfigurationError) as refused:
        settings.verify_and_update_config(named)
    assert refused.value.reason is Reason.CHECKPOINT_MISSING


def test_pickles_are_never_read(settings, broken):
    given = told(broken)
    settings.verify_and_update_config(given)
    assert given.load_config.load_format == "safetensors"


def test_a_quantised_checkpoint_is_refused(settings, broken):
    model = told(broken).model_config
    settings.verify_and_update_model_config(model)
    assert model.tokenizer_mode == "cogvlm2"
    model.hf_config.quantization_config = {"load_in_4bit": True}
    with pytest.raises(ConfigurationError) as refused:
        settings.verify_and_update_model_config(model)
    assert refused.value.reason is Reason.CHECKPOINT_CONFIG


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "PIECEWISE"),
        ("FULL", "PIECEWISE"),
        ("FULL_AND_PIECEWISE", "PIECEWISE"),
        ("FULL_DECODE_ONLY", "PIECEWISE"),
        ("NONE", "NONE"),
    ],
)
def test_graphs_are_of_pieces(before, after, settings, broken):
    from vllm.config.compilation import CUDAGraphMode

    given = told(broken, graphs=before and CUDAGraphMode[before])
    settings.verify_and_update_config(given)
    assert given.compilation_config.cudagraph_mode is CUDAGraphMode[after]


@pytest.mark.parametrize(
    ("brought", "reason"),
    [
        ({}, Reason.TENSOR_MISSING),
        ({"model.extra.weight": torch.zeros(1)}, Reason.TENSOR_UNEXPECTED),
        ({"lm_head.weight": torch.zeros(3, 3)}, Reason.TENSOR_SHAPE),
    ],
)
def test_weights_that_are_not_the_table_s(brought, reason, broken):
    from guardedvlm.cogvlm2.vllm_plugin.loading import load

    with pytest.raises(ConfigurationError) as refused:
        load(torch.nn.Module(), CogVLM2VllmConfig.from_pretrained(broken), brought.items())
    assert refused.value.reason is reason


def test_registering_again_changes_nothing(tmp_path):
    from vllm.transformers_utils.config import get_config

    from guardedvlm.cogvlm2.vllm_plugin import register

    register()
    register()
    directory = tiny.write(tmp_path / "again")
    assert isinstance(get_config(str(directory), trust_remote_code=False), CogVLM2VllmConfig)
    assert not torch.cuda.is_initialized()
