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

    def __init__(self, directory, native):
        from vllm import LLM

        self.engine = LLM(str(directory), **OPTIONS)
        self.native = native

    def prompt(self, asked):
        prompt = {"prompt_token_ids": self.native.words(asked)}
        if asked.image is not None:
            prompt["multi_modal_data"] = {"image": Image.fromarray(asked.image)}
        return prompt

    def outputs(self, *asked, tokens=TOKENS):
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
        return self.engine.generate([self.prompt(one) for one in asked], sampling, use_tqdm=False)

    def answers(self, *asked, tokens=TOKENS):
        return [list(output.outputs[0].token_ids) for output in self.outputs(*asked, tokens=tokens)]

    def forget(self):
        """Throw cached prefixes away."""
        assert self.engine.reset_prefix_cache()

    @property
    def scheduling(self):
        return self.engine.llm_engine.engine_core.engine_core.scheduler.scheduler_config


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
def engine(checkpoint, native):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}).items():
            patch.setenv(name, value)
        yield Engine(checkpoint, native)


@pytest.fixture
def answers_of(tmp_path):
    """Greedy tokens of prompts, words and a picture each, by vLLM in a process of its own."""

    def ask(directory, prompts, tokens=TOKENS, environment=(), **options):
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
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            env={**os.environ, **ENVIRONMENT, **dict(environment)},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(answered.read_text())

    return ask
