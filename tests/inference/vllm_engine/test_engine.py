"""CogVLM2 on vLLM behind the port, on a tiny checkpoint: the native model's words, turns, limits, and who shares what.

`make test-vllm` runs it in the environment that has vLLM; elsewhere it skips.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import pytest_asyncio
from safetensors.torch import load_file, save_file

from guardedvlm.cogvlm2 import checkpoint, headers, tiny
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, Turn, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import FinishReason, Sampling
from guardedvlm.errors import InvalidInput, Reason, TimedOut, Unavailable
from guardedvlm.inference.cogvlm2.engine import CogVLM2Engine
from guardedvlm.inference.cogvlm2.model import Loading as NativeLoading
from guardedvlm.inference.cogvlm2.model import Model
from guardedvlm.inference.vllm_engine.engine import VLLMEngine
from guardedvlm.inference.vllm_engine.loading import Loading, load

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # vLLM's imports
    pytest.mark.timeout(600),
]

SCOPE, OTHER = "a" * 64, "b" * 64
SEQUENCES = 4
KV_BYTES = 64 * 2**20
LONG = 6000
"""Tokens: far more than are made before a test acts."""


def make_endless(directory):
    """The likeliest token is never an end: an answer is as long as it may be, unless a schema ends it."""
    path = directory / headers.SINGLE
    tensors = load_file(path)
    tensors["lm_head.weight"][tiny.BYTES + 1 : tiny.BYTES + 3] = 0
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    directory = tiny.write(tmp_path_factory.mktemp("tiny") / "model", dtype="float32", shards=1)
    make_endless(directory)
    checkpoint.pin(directory)
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(directory):
    loading = Loading(directory, kv_cache_bytes=KV_BYTES, max_sequences=SEQUENCES, eager=True)
    made = VLLMEngine(await load(loading))
    yield made
    made.close()


@pytest.fixture(scope="module")
def native(directory):
    made = CogVLM2Engine(Model(NativeLoading(directory)))
    yield made
    made.close()


def picture(seed=0):
    raster = np.random.default_rng(seed).integers(0, 256, (56, 56, 3)).astype(np.uint8)
    raster.setflags(write=False)
    return ClearedImage(raster, raster_digest(raster))


def asked(engine, question="What is it?", scope=SCOPE, seconds=120.0, seed=0, history=(), schema="", **sampling):
    prompt = ClearedPrompt(question, history, schema)
    options = Sampling(**{"max_tokens": 24, **sampling})
    return engine.generate(picture(seed), prompt, options, scope, Deadline.after(seconds))


async def answer(engine, *args, **options):
    return [draft async for draft in asked(engine, *args, **options)]


def text(drafts):
    return "".join(draft.text for draft in drafts)


async def settled(engine):
    """What vLLM holds when the others are gone: a step of a last small request tells."""
    for _ in range(100):
        await answer(engine, "So?", scope="c" * 64, max_tokens=1)
        if not engine.meters.held_blocks and not engine.meters.running:
            break
        await asyncio.sleep(0.05)
    return engine.meters.held_blocks


@pytest.mark.parametrize("seed", range(3))
async def test_its_pieces_make_the_native_models_answer(engine, native, seed):
    history = (Turn("Before?", "Yes."),) if seed else ()
    ours = await answer(engine, f"What is it, {seed}?", seed=seed, history=history)
    theirs = await answer(native, f"What is it, {seed}?", seed=seed, history=history)
    # Bytes that are no whole character yet: the native engine says so at the end, vLLM says nothing.
    assert text(ours).rstrip("\ufffd") == text(theirs).rstrip("\ufffd")
    last, other = ours[-1], theirs[-1]
    assert (last.finish, last.input_tokens, last.output_tokens) == (
        other.finish,
        other.input_tokens,
        other.output_tokens,
    )
    assert [draft.finish for draft in ours[:-1]] == [None] * (len(ours) - 1)


async def test_many_at_a_time_are_answered_as_one_by_one(engine):
    alone = [text(await answer(engine, f"Which, {one}?", seed=one)) for one in range(8)]
    together = await asyncio.gather(*(answer(engine, f"Which, {one}?", seed=one) for one in range(8)))
    assert [text(drafts) for drafts in together] == alone


async def test_it_declares_its_square_its_checkpoint_and_its_breadth(engine, native, directory):
    ours, theirs = engine.capacity(), native.capacity()
    assert (ours.geometry, ours.model, ours.model_digest) == (theirs.geometry, theirs.model, theirs.model_digest)
    assert (ours.engine, ours.max_concurrent) == ("vllm", SEQUENCES)
    assert ours.audience.startswith("vllm/")


async def test_a_seed_repeats_a_sample_and_another_does_not(engine):
    async def sample(seed):
        prompt, options = ClearedPrompt("What?"), Sampling(16, 1.0, 0.95, seed)
        return text([d async for d in engine.generate(picture(), prompt, options, SCOPE, Deadline.after(60))])

    assert await sample(1) == await sample(1)
    assert len({await sample(seed) for seed in range(2, 6)}) > 1


async def test_twenty_that_leave_midway_leave_no_block_behind(engine):
    assert await settled(engine) == 0
    streams = [asked(engine, f"Long, {one}?", scope=f"{one:064}", seed=one, max_tokens=LONG) for one in range(20)]

    async def begun(stream):
        await anext(stream)

    tasks = [asyncio.create_task(begun(stream)) for stream in streams]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    most = 0
    for _ in range(50):
        await asyncio.sleep(0.02)
        most = max(most, engine.meters.held_blocks)
    for task in tasks:  # some are answered, others still wait for their turn
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for stream in streams:
        await stream.aclose()
    assert most > 0
    assert await settled(engine) == 0
    assert engine._llm.get_num_unfinished_requests() == 0


async def test_time_that_runs_out_ends_the_request_and_frees_what_it_held(engine):
    with pytest.raises(TimedOut) as ended:
        await answer(engine, seconds=0.5, max_tokens=LONG)
    assert ended.value.reason is Reason.DEADLINE_EXCEEDED
    assert await settled(engine) == 0


async def test_the_earlier_deadline_is_served_first(engine):
    async with contextlib.AsyncExitStack() as busy:
        for one in range(SEQUENCES):  # every place is taken
            stream = await busy.enter_async_context(
                contextlib.aclosing(asked(engine, seed=one, seconds=300, max_tokens=LONG))
            )
            await anext(stream)
        order = []

        async def wait_for(name, seconds):
            await answer(engine, "Next?", seconds=seconds, max_tokens=2)
            order.append(name)

        late = [asyncio.create_task(wait_for("late", 280)) for _ in range(SEQUENCES)]
        await asyncio.sleep(0.3)
        early = asyncio.create_task(wait_for("early", 60))
        await asyncio.sleep(0.3)
        assert order == []
        await stream.aclose()  # one place becomes free
        await asyncio.gather(early, *late)
    assert order[0] == "early"


async def test_two_scopes_share_no_block_and_no_picture_and_one_scope_does(engine):
    question, seed = "Does the page say who paid? " * 6, 77
    meters = engine.meters

    async def found(scope):
        before = meters.prefix_hits, meters.image_hits
        said = text(await answer(engine, question, scope=scope, seed=seed))
        return said, meters.prefix_hits - before[0], meters.image_hits - before[1]

    cold, hits, pictures = await found("d" * 64)
    assert (hits, pictures) == (0, 0)
    other, hits, pictures = await found("e" * 64)
    assert (hits, pictures) == (0, 0)
    again, hits, pictures = await found("d" * 64)
    assert hits > 0
    assert pictures == 1
    assert cold == other == again


async def test_an_answer_is_kept_to_a_schema(engine):
    fields = parse_fields(
        json.dumps(
            {
                "type": "object",
                "properties": {
                    "company": {"type": "string", "maxLength": 12},
                    "kind": {"enum": ["receipt", "invoice"]},
                    "paid": {"type": "boolean"},
                },
            }
        )
    )
    for temperature in (0.0, 1.5):
        drafts = await answer(engine, schema=fields.encoded(), max_tokens=600, temperature=temperature)
        assert drafts[-1].finish is FinishReason.STOP
        jsonschema.validate(json.loads(text(drafts)), fields.document(open_ended=True))
        assert all(0 <= reading.confidence <= 1 for reading in drafts[-1].readings)
        if drafts[-1].readings:
            assert {"/company", "/kind", "/paid"} <= {reading.pointer for reading in drafts[-1].readings}


async def test_a_prompt_over_the_context_is_refused_and_the_next_one_served(engine):
    with pytest.raises(InvalidInput) as refused:
        await answer(engine, "x" * 8200)
    assert refused.value.reason is Reason.PROMPT_TOO_LONG
    assert (await answer(engine))[-1].finish


async def test_processes_that_die_end_what_runs_as_unavailable(engine):
    """The last of this file: the engine does not live through it."""
    stream = asked(engine, max_tokens=LONG)
    await anext(stream)
    for process in engine._llm.engine_core.resources.engine_manager.processes:
        process.kill()
    with pytest.raises(Unavailable) as ended:
        async for _ in stream:
            pass
    assert ended.value.reason is Reason.INFERENCE_UNAVAILABLE
    assert not engine.alive
    with pytest.raises(Unavailable):
        await answer(engine)
