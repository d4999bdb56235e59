"""One checkpoint, the native model's answers to prompts on it, and vLLM: in this process, or in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cogvlm2_cases import greedy
from cogvlm2_changes import change_tensors
from PIL import Image
from vllm_cases import ENVIRONMENT, OPTIONS, SIZES, TOKENS

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM, CogVLM2Processor, tiny

HERE = Path(__file__).parent
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""The scheduler is where LLM is; so is the worker, unless there are several."""
ON_ONE_NODE = {"VLLM_CPU_OMP_THREADS_BIND": "0|0"}
"""vLLM binds a worker to a NUMA node of its own unless it is told which cores to take."""


class Native:
    """The native model in float32."""

    def __init__(self, directory, **options):
        self.model = CogVLM2ForCausalLM.from_pretrained(directory, dtype=torch.float32, **options)
        self.processor = CogVLM2Processor.from_pretrained(directory)
        self.known = {}

    def inputs(self, asked):
        history = list(asked.history)
        return self.processor(images=asked.image, text=asked.text, history=history, template=asked.template)

    def words(self, asked):
        """Tokens of a prompt without its image's."""
        inputs = self.inputs(asked)
        return inputs["input_ids"][0][inputs["token_type_ids"][0] == 0].tolist()

    def answer(self, asked, tokens=TOKENS):
        key = (self.inputs(asked)["input_ids"].numpy().tobytes(), id(asked.image), tokens)
        if key not in self.known:
            inputs = dict(self.inputs(asked))
            self.known[key] = greedy(self.model, inputs, tokens).sequences[0, inputs["input_ids"].shape[1] :].tolist()
        return self.known[key]


class Engine:
    """vLLM in this process, so that its scheduler can be told how to cut."""

    def __init__(self, directory, native=None, **options):
        from vllm import LLM

        self.engine = LLM(str(directory), **OPTIONS | options)
        self.native = native

    def generate(self, prompts, tokens):
        """vLLM's outputs for prompts, words and a picture each."""
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
        listed = []
        for words, image in prompts:
            listed.append({"prompt_token_ids": words})
            if image is not None:
                listed[-1]["multi_modal_data"] = {"image": Image.fromarray(image)}
        return self.engine.generate(listed, sampling, use_tqdm=False)

    def outputs(self, *asked, tokens=TOKENS):
        return self.generate([(self.native.words(one), one.image) for one in asked], tokens)

    def answers(self, *asked, tokens=TOKENS):
        return tokens_of(self.outputs(*asked, tokens=tokens))

    def forget(self):
        """Throw cached prefixes away."""
        assert self.engine.reset_prefix_cache()

    @property
    def scheduling(self):
        return self.engine.llm_engine.engine_core.engine_core.scheduler.scheduler_config


def tokens_of(outputs):
    return [list(output.outputs[0].token_ids) for output in outputs]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """One layer turns by frequencies of its own: whoever makes them anew, or takes another layer's, is found out."""
    directory = tiny.write(tmp_path_factory.mktemp("vllm") / "tiny", SIZES, shards=1)
    name = "model.layers.1.self_attn.rotary_emb.inv_freq"
    change_tensors(directory, lambda tensors: tensors | {name: tensors[name] * 1.5})
    return directory


@pytest.fixture(scope="session")
def native(checkpoint):
    return Native(checkpoint)


@pytest.fixture(scope="session")
def in_process():
    """vLLM's scheduler and its only worker are in this process: no other has to import vLLM first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | IN_PROCESS).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def engine(checkpoint, native, in_process):
    return Engine(checkpoint, native)


@pytest.fixture
def answers_here(in_process):
    """Greedy tokens of prompts, words and a picture each, by an engine of other settings in this process."""

    def ask(directory, prompts, tokens=TOKENS, **options):
        return tokens_of(Engine(directory, **options).generate(prompts, tokens))

    return ask


@pytest.fixture
def answers_of(tmp_path):
    """The same by vLLM in another process, and each rank of the model in one of its own."""

    def ask(directory, prompts, tokens=TOKENS, **options):
        asked, answered = tmp_path / "asked.json", tmp_path / "answered.json"
        listed = []
        for index, (words, image) in enumerate(prompts):
            path = None if image is None else str(tmp_path / f"{index}.png")
            if path:
                Image.fromarray(image).save(path)
            listed.append({"words": words, "image": path})
        told = {"directory": str(directory), "options": OPTIONS | options, "prompts": listed, "tokens": tokens}
        asked.write_text(json.dumps(told))
        done = subprocess.run(
            [sys.executable, HERE / "answer_prompts.py", asked, answered],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=500,
            env={**os.environ, **ENVIRONMENT, **IN_PROCESS, **ON_ONE_NODE},
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return json.loads(answered.read_text())

    return ask
