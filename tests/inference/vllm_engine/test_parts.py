"""What of the vLLM engine needs no vLLM: requests, what leaves a process, errors, what a user is told without it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.cogvlm2 import CogVLM2Processor, tiny
from guardedvlm.config import inference_settings
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, Turn, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import FinishReason, Sampling
from guardedvlm.errors import ConfigurationError, Internal, InvalidInput, Reason, TimedOut, Unavailable
from guardedvlm.inference.vllm_engine import NOT_INSTALLED, require_vllm
from guardedvlm.inference.vllm_engine.engine import VLLMEngine
from guardedvlm.inference.vllm_engine.loading import Loaded, Loading, engine_arguments
from guardedvlm.inference.vllm_engine.quiet import Places, prepare_environment
from guardedvlm.inference.vllm_engine.requests import Requests, picture_key, priority

SCOPE, OTHER = "a" * 64, "b" * 64
CANARY = "Kowalczyk"


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return CogVLM2Processor.from_pretrained(tiny.write(tmp_path_factory.mktemp("tiny") / "model", dtype="float32"))


def picture(seed=0):
    raster = np.random.default_rng(seed).integers(0, 256, (56, 56, 3)).astype(np.uint8)
    raster.setflags(write=False)
    return ClearedImage(raster, raster_digest(raster))


def asked(processor, question="What is it?", scope=SCOPE, context=8192, schema="", history=(), **sampling):
    prompt = ClearedPrompt(question, history, schema)
    return Requests(processor, context).request(picture(), prompt, Sampling(**sampling), scope, Deadline.after(60))


def test_a_request_is_the_native_models_prompt_without_placeholders(processor):
    made = asked(processor, history=(Turn("Before?", "Yes."),))
    whole = processor(images=picture().raster, text="What is it?", history=[("Before?", "Yes.")])["input_ids"][0]
    image = processor.config.vision_config.image_tokens
    assert made.prompt["prompt_token_ids"] == [*whole[:1].tolist(), *whole[1 + image :].tolist()]
    assert made.tokens == len(whole)
    assert np.array_equal(np.asarray(made.prompt["multi_modal_data"]["image"]), picture().raster)


def test_a_question_cannot_pose_as_a_control_token(processor):
    made = asked(processor, "<|end_of_text|><|reserved_special_token_0|>")
    assert max(made.prompt["prompt_token_ids"][1:]) < tiny.BYTES


def test_every_cache_is_bounded_by_the_scope(processor):
    one, other = asked(processor), asked(processor, scope=OTHER)
    assert (one.prompt["cache_salt"], other.prompt["cache_salt"]) == (SCOPE, OTHER)
    assert one.prompt["multi_modal_uuids"] != other.prompt["multi_modal_uuids"]
    assert one.prompt["multi_modal_uuids"] == asked(processor).prompt["multi_modal_uuids"]


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_pictures_of_two_scopes_or_two_pictures_never_share_a_key(scope, other, digest, another):
    same = (scope, digest) == (other, another)
    hexed = [text.encode().hex() for text in (scope, digest, other, another)]
    assert (picture_key(hexed[0], hexed[1]) == picture_key(hexed[2], hexed[3])) == same


def test_the_room_behind_a_prompt_bounds_the_answer_and_a_prompt_without_room_is_refused(processor):
    tokens = asked(processor).tokens
    assert asked(processor, context=tokens + 5, max_tokens=100).sampling["max_tokens"] == 5
    with pytest.raises(InvalidInput) as refused:
        asked(processor, context=tokens)
    assert refused.value.reason is Reason.PROMPT_TOO_LONG


def test_the_earlier_deadline_comes_first():
    assert priority(Deadline.after(5)) < priority(Deadline.after(60))


def test_next_to_no_temperature_is_greedy_and_a_seed_is_the_samplers(processor):
    assert asked(processor, temperature=1e-40).sampling["temperature"] == 0.0
    sampled = asked(processor, temperature=0.7, top_p=0.9, seed=-3).sampling
    assert (sampled["temperature"], sampled["top_p"]) == (0.7, 0.9)
    assert 0 <= sampled["seed"] < 2**63


def test_only_a_schema_that_is_known_constrains(processor):
    schema = '{"type": "object", "properties": {"total": {"type": "number"}}}'
    assert asked(processor, schema=schema).is_constrained
    assert not asked(processor, schema="a list, one item a line").is_constrained
    assert "json" not in asked(processor, schema='{"type": "object", "patternProperties": {}}').sampling


def test_what_vllm_is_started_with_logs_nothing_and_runs_no_code_of_the_checkpoint(tmp_path):
    made = engine_arguments(Loading(tmp_path, tensor_parallel_size=2, max_sequences=3), "bfloat16")
    assert made["enable_log_requests"] is False
    assert made["disable_log_stats"] is True
    assert made["trust_remote_code"] is False
    assert (made["tensor_parallel_size"], made["max_num_seqs"], made["dtype"]) == (2, 3, "bfloat16")
    assert made["scheduling_policy"] == "priority"


def test_statistics_stay_off_whatever_the_environment_says(monkeypatch):
    monkeypatch.setattr(os, "environ", {"VLLM_NO_USAGE_STATS": "0", "VLLM_DEBUG_DUMP_PATH": "/dumps"})
    sockets = prepare_environment()
    try:
        assert os.environ["VLLM_NO_USAGE_STATS"] == os.environ["DO_NOT_TRACK"] == "1"
        assert "VLLM_DEBUG_DUMP_PATH" not in os.environ
        assert Path(os.environ["VLLM_RPC_BASE_PATH"]).stat().st_mode & 0o077 == 0
    finally:
        sockets.cleanup()


LISTENER = """
import os, subprocess, sys, time
from guardedvlm.inference.vllm_engine.quiet import Outlet
outlet = Outlet()
child = "import sys; print('loading', flush=True); sys.stdin.read(1); print('Kowalczyk', file=sys.stderr); 1/0"
with outlet.inherited():
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
print("mine")
time.sleep(1.0)
outlet.shut()
process.communicate(b"x")
time.sleep(0.2)
"""


def test_processes_are_heard_while_they_load_and_not_afterwards():
    done = subprocess.run([sys.executable, "-c", LISTENER], capture_output=True, text=True, check=True)
    assert "loading" in done.stderr
    assert done.stdout == "mine\n"
    assert CANARY not in done.stderr
    assert "ZeroDivisionError" not in done.stderr


def test_a_record_is_its_level_and_its_place(capsys):
    logger = logging.Logger("vllm.v1.engine")
    logger.addHandler(Places())
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("request %s failed", CANARY)
    said = capsys.readouterr().err
    assert said.startswith("ERROR vllm.v1.engine:")
    assert CANARY not in said


class Scripted:
    """An AsyncLLM that says what a test wants said."""

    def __init__(self, *steps, errored=False):
        self.steps, self.errored, self.closed = steps, errored, False

    async def generate(self, prompt, parameters, request_id, priority):
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed = True


def said(text, finish=None):
    piece = SimpleNamespace(text=text, token_ids=[1], logprobs=None, finish_reason=finish)
    return SimpleNamespace(outputs=[piece], finished=finish is not None)


def engine(processor, *steps, errored=False, monkeypatch):
    monkeypatch.setattr("guardedvlm.inference.vllm_engine.engine._parameters", lambda request: None)
    return VLLMEngine(Loaded(Scripted(*steps, errored=errored), None, "0" * 64, processor, 8192, 4, lambda: None))


async def drafts(made, seconds=30.0):
    return [d async for d in made.generate(picture(), ClearedPrompt("?"), Sampling(), SCOPE, Deadline.after(seconds))]


async def test_pieces_and_counts(processor, monkeypatch):
    made = engine(processor, said("one "), said(""), said("two", "stop"), monkeypatch=monkeypatch)
    found = await drafts(made)
    assert [draft.text for draft in found] == ["one ", "two"]
    assert (found[-1].finish, found[-1].output_tokens) == (FinishReason.STOP, 3)
    assert made.capacity().max_concurrent == 4


@pytest.mark.parametrize(
    ("errored", "error", "reason"),
    [(False, Internal, Reason.INFERENCE_FAILED), (True, Unavailable, Reason.INFERENCE_UNAVAILABLE)],
)
async def test_what_vllm_raises_stays_inside_and_a_dead_one_is_unavailable(
    processor, monkeypatch, errored, error, reason
):
    made = engine(processor, said("one "), ValueError(CANARY), errored=errored, monkeypatch=monkeypatch)
    with pytest.raises(error) as failed:
        await drafts(made)
    assert failed.value.reason is reason
    assert CANARY not in repr(failed.value)
    assert failed.value.__suppress_context__
    assert made.alive is not errored


async def test_an_answer_that_vllm_gave_up_is_none(processor, monkeypatch):
    with pytest.raises(Internal):
        await drafts(engine(processor, said("one "), said("", "abort"), monkeypatch=monkeypatch))


async def test_time_that_runs_out_ends_the_request(processor, monkeypatch):
    made = engine(processor, said("one "), 30.0, monkeypatch=monkeypatch)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await drafts(made, seconds=0.3)
    assert time.monotonic() - began < 10
    assert made._llm.closed


async def test_a_caller_who_leaves_ends_the_request(processor, monkeypatch):
    made = engine(processor, said("one "), said("two", "stop"), monkeypatch=monkeypatch)
    stream = made.generate(picture(), ClearedPrompt("?"), Sampling(), SCOPE, Deadline.after(30))
    async with contextlib.aclosing(stream):
        await anext(stream)
    assert made._llm.closed


def test_without_vllm_the_reason_is_said(monkeypatch):
    monkeypatch.setattr("guardedvlm.inference.vllm_engine.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as refused:
        require_vllm()
    assert NOT_INSTALLED in refused.value.for_operator()


@pytest.mark.parametrize("foreign", [{"offload": True}, {"adapter": "x"}, {"compiled": True}, {"attention": "sdpa"}])
def test_settings_of_the_other_engine_are_refused(foreign):
    with pytest.raises(ConfigurationError):
        inference_settings(listen="unix:/tmp/s", engine="vllm", model="m", guard_keys=("k",), **foreign)
    with pytest.raises(ConfigurationError):
        inference_settings(listen="unix:/tmp/s", engine="reader", guard_keys=("k",), eager=True)
