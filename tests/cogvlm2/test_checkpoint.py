"""check() and pin(): what a checkpoint directory must be before anybody trusts it."""

import json
import os

import pytest
import torch
from cogvlm2_changes import change_json, change_tensors

from guardedvlm.cogvlm2 import checkpoint, headers, tiny
from guardedvlm.errors import ConfigurationError, Reason


def refused(directory, **options):
    with pytest.raises(ConfigurationError) as error:
        checkpoint.check(directory, **options)
    return error.value.reason


@pytest.fixture
def pinned(broken):
    checkpoint.pin(broken)
    return broken


def test_a_sound_one(pinned):
    found = checkpoint.check(pinned)
    assert (found.dtype, found.quantised, found.tensors) == ("bfloat16", False, 69)
    assert found.bytes == 2 * found.parameters
    assert len(found.digest) == 64
    assert checkpoint.check(pinned, digests=False).digest == ""


def test_the_int4_one(checkpoint_dir, tmp_path):
    directory = tiny.write_fp4(checkpoint_dir, tmp_path / "int4")
    found = checkpoint.check(directory, digests=False)
    assert (found.dtype, found.quantised) == ("float16", True)


def test_headers_are_enough(tmp_path):
    """A file of holes as large as the weights of a real layer: found sound without reading it."""
    sizes = tiny.Sizes()
    directory = tiny.write(tmp_path / "holes", sizes, shards=1)
    path = directory / headers.SINGLE
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    path.write_bytes(data[: 8 + length])
    os.truncate(path, len(data))
    assert checkpoint.check(directory, digests=False).tensors == 69


def test_a_manifest_elsewhere(broken, tmp_path):
    path = checkpoint.pin(broken, tmp_path / "manifest.json")
    assert checkpoint.check(broken, manifest=path).digest
    assert refused(broken) is Reason.CHECKPOINT_UNPINNED


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": 2, "files": {"a": 1}}', '{"version": 1, "files": {}}'])
def test_a_manifest_that_says_nothing(pinned, text):
    (pinned / checkpoint.MANIFEST).write_text(text)
    assert refused(pinned) is Reason.CHECKPOINT_UNPINNED


def test_a_changed_weight(pinned):
    path = pinned / headers.SINGLE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert refused(pinned) is Reason.CHECKPOINT_CHANGED
    assert checkpoint.check(pinned, digests=False)


@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json"])
def test_a_changed_or_lost_file(pinned, name):
    content = (pinned / name).read_text()
    (pinned / name).write_text(content + " ")
    assert refused(pinned) is Reason.CHECKPOINT_CHANGED
    (pinned / name).unlink()
    assert refused(pinned) is Reason.CHECKPOINT_CHANGED


def test_a_new_file(pinned):
    (pinned / "chat_template.jinja").write_text("{{ x }}")
    assert refused(pinned) is Reason.CHECKPOINT_CHANGED


@pytest.mark.parametrize("name", ["modeling_cogvlm.py", "sub/x.PY", "pytorch_model.bin", "x.pt", "x.pkl", "x.so"])
def test_what_can_carry_code(pinned, name):
    (pinned / name).parent.mkdir(exist_ok=True)
    (pinned / name).write_text("")
    assert refused(pinned, digests=False) is Reason.CHECKPOINT_CODE


def test_no_licence(pinned):
    (pinned / "LICENSE").write_text("")
    assert refused(pinned, digests=False) is Reason.CHECKPOINT_LICENSE
    (pinned / "LICENSE").unlink()
    assert refused(pinned, digests=False) is Reason.CHECKPOINT_LICENSE


def test_pin_pins_nothing_unsound(broken):
    change_tensors(broken, lambda tensors: tensors | {"more": torch.zeros(1)})
    with pytest.raises(ConfigurationError) as error:
        checkpoint.pin(broken)
    assert error.value.reason is Reason.TENSOR_UNEXPECTED
    assert error.value.details == {"count": 1}
    assert not (broken / checkpoint.MANIFEST).exists()


def test_types_that_do_not_fit(broken):
    change_json(broken / "config.json", torch_dtype="float32")
    assert refused(broken, digests=False) is Reason.TENSOR_DTYPE
    change_json(broken / "config.json", torch_dtype="bfloat16")
    change_tensors(broken, lambda tensors: tensors | {"lm_head.weight": tensors["lm_head.weight"].float()})
    assert refused(broken, digests=False) is Reason.TENSOR_DTYPE


def test_what_is_no_directory(tmp_path):
    assert refused(tmp_path / "nothing") is Reason.CHECKPOINT_MISSING


def test_tiny_ones_are_reproducible(tmp_path):
    first, second = tiny.write(tmp_path / "a"), tiny.write(tmp_path / "b")
    for one in (first, second):
        checkpoint.pin(one)
    assert (first / checkpoint.MANIFEST).read_bytes() == (second / checkpoint.MANIFEST).read_bytes()
    tiny.write(tmp_path / "c", seed=1)
    checkpoint.pin(tmp_path / "c")
    assert (tmp_path / "c" / checkpoint.MANIFEST).read_bytes() != (first / checkpoint.MANIFEST).read_bytes()


def test_tiny_ones_have_the_published_keys(oracle, tmp_path):
    theirs = json.loads((oracle / "tiny-fp32" / "config.json").read_text())
    ours = json.loads((tiny.write(tmp_path / "a") / "config.json").read_text())
    assert set(ours) == set(theirs)
    assert set(ours["vision_config"]) == set(theirs["vision_config"])
    eight = tiny.Sizes(hidden_size=128, num_attention_heads=8, num_multi_query_heads=8)
    assert "num_multi_query_heads" not in eight.config("bfloat16")
