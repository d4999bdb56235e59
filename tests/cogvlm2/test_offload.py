"""Visual experts in host memory change nothing but where they are."""

from __future__ import annotations

import pytest
import torch

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, tiny
from guardedvlm.cogvlm2.layout import expected_shapes
from guardedvlm.cogvlm2.offload import Offload, pieces_of
from guardedvlm.cogvlm2.plan import is_prefill_only


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("offload") / "model", dtype="float32")


@pytest.fixture
def model(directory):
    return CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def prompt(directory):
    processor = CogVLM2Processor.from_pretrained(directory)
    picture = torch.randint(0, 256, (56, 56, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8).numpy()
    return processor(images=picture, text="What is it?")


def generated(model, prompt):
    options = {"do_sample": False, "temperature": None, "top_p": None, "max_new_tokens": 8, "max_length": None}
    with torch.inference_mode():
        found = model.generate(**prompt, **options, output_logits=True, return_dict_in_generate=True)
    return found.sequences, torch.stack(found.logits)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_answers_are_equal_bit_for_bit(directory, model, prompt, device):
    plain = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32).eval().to(device)
    offload = Offload(model, torch.device(device))
    prompt = prompt.to(device)
    for _ in range(2):
        wanted, found = generated(plain, prompt), generated(model, prompt)
        assert torch.equal(wanted[0], found[0])
        assert torch.equal(wanted[1], found[1])
        offload.check_integrity()


def test_pieces_are_what_serves_the_prefill_alone(model):
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    waiting = [by_id[id(parameter)] for piece in pieces_of(model) for parameter in piece.parameters()]
    assert len(waiting) == len(set(waiting))
    assert set(waiting) == {name for name in expected_shapes(model.config) if is_prefill_only(name)}


def test_decoding_copies_nothing(model, prompt, monkeypatch):
    offload = Offload(model, torch.device("cpu"))
    copies = []
    monkeypatch.setattr(offload, "_copy", lambda index, copy=offload._copy: (copies.append(index), copy(index)))
    with torch.inference_mode():
        cache = model(**prompt).past_key_values
        assert copies == list(range(len(offload.pieces)))
        model(torch.tensor([[65]]), past_key_values=cache)
    assert len(copies) == len(offload.pieces)


def test_a_damaged_buffer_shows(model, prompt):
    """The copies are what computes: with noise in the buffers the answer is another one."""
    wanted = generated(model, prompt)
    offload = Offload(model, torch.device("cpu"))
    fill = offload._fill

    def noisy(index):
        fill(index)
        for view in offload._views(index):
            view.add_(0.1)

    offload._fill = noisy
    assert not torch.equal(generated(model, prompt)[1], wanted[1])


def test_bytes_are_counted(model):
    offload = Offload(model, torch.device("cpu"))
    shapes = {name: parameter for name, parameter in model.named_parameters() if is_prefill_only(name)}
    assert offload.host_bytes == sum(one.numel() * one.element_size() for one in shapes.values())
    assert offload.buffer_bytes == 2 * max(piece.bytes for piece in offload.pieces)
