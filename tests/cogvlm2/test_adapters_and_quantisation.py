"""What works on any model of the library works on this one: LoRA adapters, 8 and 4 bits."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch
from cogvlm2_changes import change_json
from safetensors.torch import load_file, save_file

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, tiny
from guardedvlm.errors import ConfigurationError, Reason

# peft asks by the name that newer versions of the library call old.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    sizes = tiny.Sizes(hidden_size=128, intermediate_size=256)
    return tiny.write(tmp_path_factory.mktemp("whole") / "model", sizes, dtype="float32")


@pytest.fixture(scope="module")
def prompt(directory):
    picture = torch.randint(0, 256, (56, 56, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8).numpy()
    return CogVLM2Processor.from_pretrained(directory)(images=picture, text="What is it?")


def logits(model, prompt):
    with torch.inference_mode():
        return model(**prompt).logits[0]


@pytest.fixture(scope="module")
def adapter(directory, tmp_path_factory):
    """A LoRA adapter that changes something, and the model under it as PEFT itself runs it."""
    peft = pytest.importorskip("peft", reason="peft is not installed")
    base = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    names = ["language_expert_query_key_value", "vision_expert_dense", "fc1"]
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=names))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    saved = tmp_path_factory.mktemp("adapter")
    adapted.eval().save_pretrained(saved)
    return saved, adapted


def test_an_adapter_is_put_on_top(directory, adapter, prompt):
    saved, adapted = adapter
    model = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32, adapter=saved)
    plain = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    wanted = logits(adapted, prompt)
    assert (logits(model, prompt) - wanted).abs().max() <= 1e-5
    assert (logits(plain, prompt) - wanted).abs().max() > 0.1


def test_an_adapter_must_be_whole_and_no_pickle(directory, adapter, tmp_path):
    saved, _ = adapter
    for name, content, reason in (
        (None, b"", Reason.CHECKPOINT_MISSING),
        ("adapter_config.json", (saved / "adapter_config.json").read_bytes(), Reason.CHECKPOINT_MISSING),
        ("adapter_model.bin", b"pickle", Reason.CHECKPOINT_MISSING),
        ("adapter_model.safetensors", b"\0" * 5, Reason.CHECKPOINT_TRUNCATED),
        ("adapter_config.json", b"{", Reason.CHECKPOINT_CONFIG),
    ):
        if name:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError) as refused:
            CogVLM2ForCausalLM.from_pretrained(directory, adapter=tmp_path)
        assert refused.value.reason is reason


def _without_one(tensors):
    return dict(sorted(tensors.items())[1:])


def _with_another(tensors):
    name, tensor = min(tensors.items())
    return tensors | {name.replace("layers.0", "layers.99"): tensor.clone()}


def _narrower(tensors):
    return {name: tensor[:, :-1].contiguous() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_one, Reason.TENSOR_MISSING),
        (_with_another, Reason.TENSOR_UNEXPECTED),
        (_narrower, Reason.TENSOR_SHAPE),
    ],
)
def test_no_tensor_of_an_adapter_is_left_random_or_left_out(directory, adapter, tmp_path, change, reason):
    saved = shutil.copytree(adapter[0], tmp_path / "adapter")
    path = saved / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(ConfigurationError) as refused:
        CogVLM2ForCausalLM.from_pretrained(directory, adapter=saved)
    assert refused.value.reason is reason


@pytest.mark.parametrize("change", [{"peft_type": "NO_SUCH_KIND"}, {"target_modules": ["no_such_module"]}])
def test_an_adapter_of_another_kind_or_for_another_model(directory, adapter, tmp_path, change):
    saved = shutil.copytree(adapter[0], tmp_path / "adapter")
    change_json(saved / "adapter_config.json", **change)
    with pytest.raises(ConfigurationError) as refused:
        CogVLM2ForCausalLM.from_pretrained(directory, adapter=saved)
    assert refused.value.reason is Reason.CHECKPOINT_CONFIG


def _torchao():
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def _bitsandbytes(**options):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**options)


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (_torchao, 0.999),
        (lambda: _bitsandbytes(load_in_8bit=True), 0.999),
        (lambda: _bitsandbytes(load_in_4bit=True, bnb_4bit_quant_type="fp4"), 0.9),
    ],
    ids=["torchao int8", "bitsandbytes int8", "bitsandbytes fp4"],
)
def test_fewer_bits_say_nearly_the_same(directory, prompt, make, least):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that look for a GPU
        config = make()
        model = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.bfloat16, quantization_config=config).eval()
        found = logits(model, prompt)[-1].float()
    plain = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
    assert torch.nn.functional.cosine_similarity(found, logits(plain, prompt)[-1].float(), dim=0) >= least
