"""Loading: every tensor of the checkpoint and no other; what is wrong with one is an error with its own reason."""

import json
import struct

import pytest
import torch
from cogvlm2_cases import greedy
from cogvlm2_changes import change_json, change_tensors
from transformers import AutoConfig, AutoModelForCausalLM

from guardedvlm.cogvlm2 import CogVLM2Config, CogVLM2ForCausalLM, CogVLM2Processor, headers, layout, tiny
from guardedvlm.errors import ConfigurationError, Reason


def reason_of(call):
    with pytest.raises(ConfigurationError) as error:
        call()
    assert str(error.value).startswith(error.value.reason)
    return error.value.reason


def test_published_names_and_sizes():
    """The real index: 1,221 names, 39,006,214,656 bytes in bfloat16, of them 19,503,105,280 parameters."""
    shapes = layout.expected_shapes(CogVLM2Config())
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    frequencies = sum(size for name, size in sizes.items() if name.endswith("inv_freq"))
    assert len(shapes) == 1221
    assert 2 * sum(sizes.values()) == 39_006_214_656
    assert sum(sizes.values()) - frequencies == 19_503_105_280


def test_the_models_names_are_the_checkpoints():
    """At the real size, without its memory: the modules' own names and shapes are the table's."""
    with torch.device("meta"):
        model = CogVLM2ForCausalLM(CogVLM2Config())
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == layout.expected_shapes(model.config)


def test_every_tensor_is_the_checkpoints(model, checkpoint_dir):
    state = model.state_dict()
    entries = headers.read_tensors(checkpoint_dir)
    assert set(state) == set(entries)
    from safetensors import safe_open

    for name, entry in entries.items():
        with safe_open(entry.path, framework="pt") as file:
            assert torch.equal(state[name].float(), file.get_tensor(name).float()), name


def test_what_the_file_leaves_out(checkpoint_dir):
    content = json.loads((checkpoint_dir / "config.json").read_text())
    assert not {"model_type", "tie_word_embeddings", "rope_theta"} & set(content)
    config = CogVLM2Config.from_pretrained(checkpoint_dir)
    assert (config.rope_theta, config.tie_word_embeddings, config.model_type) == (500000.0, False, "cogvlm2")
    assert CogVLM2Config(hidden_size=4096).num_key_value_heads == 8
    assert "auto_map" not in config.to_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_round_trip(checkpoint_dir, processor, picture, tmp_path, dtype):
    model = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=dtype)
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    processor.save_pretrained(tmp_path)
    assert (tmp_path / headers.INDEX).exists()
    again, reader = CogVLM2ForCausalLM.from_pretrained(tmp_path), CogVLM2Processor.from_pretrained(tmp_path)
    assert again.dtype == dtype
    assert set(headers.read_tensors(tmp_path)) == set(layout.expected_shapes(model.config))
    inputs = dict(reader(images=picture, text="Same?"))
    assert torch.equal(inputs["input_ids"], processor(images=picture, text="Same?")["input_ids"])
    assert torch.equal(greedy(model, inputs, 4).sequences, greedy(again, inputs, 4).sequences)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, again(**inputs).logits)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", torch.bfloat16), (None, torch.bfloat16), ("float32", torch.float32)]
)
def test_the_type_is_the_checkpoints_unless_asked(checkpoint_dir, dtype, expected):
    assert CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=dtype).dtype == expected


def test_the_library_finds_it(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), CogVLM2Config)
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path), CogVLM2ForCausalLM)


def test_devices_are_chosen_by_layer(checkpoint_dir, tmp_path, prompt_inputs, model):
    """Layers on two places, one of them the disk, as accelerate does with several GPUs."""
    pytest.importorskip("accelerate")
    places = {"model.embed_tokens": "cpu", "model.vision": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {"model.layers.0": "cpu", "model.layers.1": "disk"}
    split = CogVLM2ForCausalLM.from_pretrained(
        checkpoint_dir, dtype=torch.float32, device_map=places, offload_folder=tmp_path
    )
    with torch.no_grad():
        assert torch.equal(split(**prompt_inputs).logits, model(**prompt_inputs).logits)


@pytest.fixture
def prompt_inputs(processor, picture):
    return dict(processor(images=picture, text="Where?"))


@torch.no_grad()
def test_layers_may_have_frequencies_of_their_own(broken, prompt_inputs):
    name = "model.layers.1.self_attn.rotary_emb.inv_freq"
    before = CogVLM2ForCausalLM.from_pretrained(broken, dtype=torch.float32)
    change_tensors(broken, lambda tensors: tensors | {name: tensors[name] * 0.5})
    after = CogVLM2ForCausalLM.from_pretrained(broken, dtype=torch.float32)
    assert before.model.layers_share_rope
    assert not after.model.layers_share_rope
    assert (before(**prompt_inputs).logits - after(**prompt_inputs).logits).abs().max() > 1e-3
    before.load_state_dict(after.state_dict())
    assert not before.model.layers_share_rope
    assert torch.equal(before(**prompt_inputs).logits, after(**prompt_inputs).logits)


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight",
        "model.layers.1.self_attn.rotary_emb.inv_freq",
        "model.layers.0.self_attn.vision_expert_query_key_value.bias",
        "model.vision.boi",
    ],
)
def test_a_missing_tensor(broken, name):
    change_tensors(broken, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.TENSOR_MISSING


@pytest.mark.parametrize(
    "name", ["model.extra.weight", "model.layers.2.self_attn.rotary_emb.inv_freq", "model.vision.x"]
)
def test_a_tensor_left_over(broken, name):
    change_tensors(broken, lambda tensors: tensors | {name: torch.zeros(2)})
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.TENSOR_UNEXPECTED


def test_a_tensor_of_another_shape(broken):
    change_tensors(broken, lambda tensors: tensors | {"model.norm.weight": torch.zeros(65)})
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.TENSOR_SHAPE


def test_a_tensor_of_whole_numbers(broken):
    change_tensors(broken, lambda tensors: tensors | {"model.norm.weight": torch.zeros(64, dtype=torch.int8)})
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.TENSOR_DTYPE


def test_sizes_of_another_model(broken):
    change_json(broken / "config.json", intermediate_size=128)
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.TENSOR_SHAPE


@pytest.mark.parametrize("length", [0, 5, 3000, -1])
def test_a_truncated_file(broken, length):
    path = broken / headers.SINGLE
    path.write_bytes(path.read_bytes()[:length])
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_TRUNCATED


@pytest.mark.parametrize(
    "header",
    [
        b"{not json",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 3]}}',
        b'{"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "BF16", "shape": [-2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [1, 3]}}',
        b"{}",
        b"[" * 100_000,
    ],
)
def test_a_corrupt_header(broken, header):
    (broken / headers.SINGLE).write_bytes(struct.pack("<Q", len(header)) + header + b"data")
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_CORRUPT


def test_a_header_that_claims_to_be_huge(broken):
    (broken / headers.SINGLE).write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_CORRUPT


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b"", b"[" * 100_000])
def test_a_corrupt_configuration(broken, text):
    (broken / "config.json").write_bytes(text)
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_CONFIG


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 3},
        {"num_multi_query_heads": 3},
        {"hidden_size": "64"},
        {"hidden_size": -64},
        {"num_hidden_layers": True},
        {"rms_norm_eps": "small"},
        {"template_version": "xml"},
        {"rope_mode": "fast"},
        {"eos_token_id": [257, 9999]},
        {"pad_token_id": "no"},
        {"tie_word_embeddings": True},
        {"vision_config": 7},
        {"vision_config": {"image_size": 57}},
        {"vision_config": {"num_positions": 4}},
        {"vision_config": {"patch_size": 0}},
    ],
)
def test_sizes_that_contradict_one_another(broken, changes):
    change_json(broken / "config.json", **changes)
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_CONFIG
    assert reason_of(lambda: CogVLM2Processor.from_pretrained(broken)) is Reason.CHECKPOINT_CONFIG


@pytest.mark.parametrize("name", ["config.json", headers.SINGLE])
def test_a_missing_file(broken, name):
    (broken / name).unlink()
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_MISSING


def test_only_directories_are_loaded():
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained("someone/model")) is Reason.CHECKPOINT_MISSING


def test_pickles_are_no_alternative(broken):
    torch.save({}, broken / "pytorch_model.bin")
    (broken / headers.SINGLE).unlink()
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(broken)) is Reason.CHECKPOINT_MISSING


def _moved(where):
    return where | {"lm_head.weight": "model-00003-of-00003.safetensors"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda where: None, Reason.CHECKPOINT_INDEX),
        (lambda where: where | {"lm_head.weight": "../model.safetensors"}, Reason.CHECKPOINT_INDEX),
        (lambda where: where | {"lm_head.weight": "model.bin"}, Reason.CHECKPOINT_INDEX),
        (_moved, Reason.CHECKPOINT_INDEX),
        (lambda where: where | {"other": "model-00001-of-00003.safetensors"}, Reason.TENSOR_MISSING),
        (lambda where: where | {"lm_head.weight": "model-00009-of-00009.safetensors"}, Reason.CHECKPOINT_MISSING),
    ],
)
def test_an_index_that_does_not_fit(tmp_path, change, reason):
    directory = tiny.write(tmp_path / "sharded")
    where = json.loads((directory / headers.INDEX).read_text())["weight_map"]
    change_json(directory / headers.INDEX, weight_map=change(where))
    assert reason_of(lambda: CogVLM2ForCausalLM.from_pretrained(directory)) is reason


def _damage_tokenizer(directory, change):
    content = json.loads((directory / "tokenizer.json").read_text())
    change(content)
    (directory / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(added_tokens=[]),
        lambda content: content["added_tokens"].pop(0),
        lambda content: content["added_tokens"][1].update(special=False),
        lambda content: content.update(model={"type": "none"}),
        lambda content: content["added_tokens"].append(content["added_tokens"][-1] | {"id": 272, "content": "<more>"}),
    ],
)
def test_a_tokenizer_that_does_not_fit(broken, change):
    _damage_tokenizer(broken, change)
    assert reason_of(lambda: CogVLM2Processor.from_pretrained(broken)) is Reason.TOKENIZER_INVALID


def test_no_tokenizer(broken):
    (broken / "tokenizer.json").unlink()
    assert reason_of(lambda: CogVLM2Processor.from_pretrained(broken)) is Reason.CHECKPOINT_MISSING


def test_code_of_the_checkpoint_is_never_run(broken):
    """Upstream's directory comes with code, and names it in its configuration: it loads, and nothing of it runs."""
    trap = "raise SystemExit('ran')"
    for name in ("modeling_cogvlm.py", "configuration_cogvlm.py"):
        (broken / name).write_text(trap)
    CogVLM2ForCausalLM.from_pretrained(broken)
    CogVLM2Processor.from_pretrained(broken)
