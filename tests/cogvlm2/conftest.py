"""Models of the reference outputs, and tiny ones of our own."""

import numpy as np
import pytest
import torch
from cogvlm2_cases import CASES, ORACLE

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, tiny

torch.set_num_threads(1)


class Case:
    """One reference case: its arrays as tensors, and the model's inputs among them."""

    def __init__(self, name):
        self.name = name
        self.variant = name.split("__")[0]
        with np.load(ORACLE / f"{name}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    def __getitem__(self, key):
        return self.arrays[key]

    @property
    def inputs(self):
        keys = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
        return {key: self.arrays[key] for key in keys if key in self.arrays}

    @property
    def real(self):
        return self["attention_mask"].bool()

    def answered(self):
        """Inputs with the reference's own answer behind them."""
        answer = self["greedy_tokens"]
        longer = dict(self.inputs)
        longer["input_ids"] = torch.cat((longer["input_ids"], answer), dim=1)
        longer["attention_mask"] = torch.cat((longer["attention_mask"], torch.ones_like(answer)), dim=1)
        longer["token_type_ids"] = torch.cat((longer["token_type_ids"], torch.zeros_like(answer)), dim=1)
        return longer


@pytest.fixture(scope="session")
def oracle():
    if not CASES:
        pytest.skip("the reference outputs are not beside this checkout")
    return ORACLE


@pytest.fixture(scope="session")
def load(oracle):
    """Models by variant and attention, loaded once."""
    held = {}

    def get(variant, attention="sdpa"):
        if (variant, attention) not in held:
            directory = oracle / ("tiny-fp32" if variant == "fp32" else "tiny-bf16")
            dtype = torch.bfloat16 if variant == "bf16" else torch.float32
            held[variant, attention] = CogVLM2ForCausalLM.from_pretrained(
                directory, dtype=dtype, attn_implementation=attention
            )
        return held[variant, attention]

    return get


@pytest.fixture(scope="session")
def case(oracle):
    """Cases by name, read once."""
    held = {}
    return lambda name: held.setdefault(name, Case(name))


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory):
    """A checkpoint of our own making. Read only: `broken` is for changing one."""
    return tiny.write(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def broken(tmp_path):
    """A checkpoint in one file, to break."""
    return tiny.write(tmp_path / "broken", shards=1)


@pytest.fixture(scope="session")
def model(checkpoint_dir):
    return CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32)


@pytest.fixture(scope="session")
def processor(checkpoint_dir):
    return CogVLM2Processor.from_pretrained(checkpoint_dir)


@pytest.fixture(scope="session")
def picture():
    return np.random.default_rng(7).integers(0, 256, (60, 100, 3), np.uint8)
