"""The engine with its real child process: real OCR of a drawn page, its limits and its failures."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.ports import Draft, FinishReason, Sampling
from guardedvlm.core.region import Fit, Raster
from guardedvlm.errors import GuardedVLMError, InvalidInput, Reason
from guardedvlm.inference.reader import ReaderEngine, reader_worker_spec
from guardedvlm.inference.reader.answer import NO_TEXT
from guardedvlm.worker import Worker


def drawn(*lines: str, size: tuple[int, int] = (480, 260)) -> Raster:
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(26)
    for row, line in enumerate(lines):
        left, _, right = line.partition("|")
        draw.text((20, 20 + 44 * row), left, "black", font)
        draw.text((300, 20 + 44 * row), right, "black", font)
    raster = np.array(page)
    raster.flags.writeable = False
    return raster


RECEIPT = drawn("MINI MART", "Date: 12/02/2018", "TOTAL|10.10", "CASH|20.00", "CHANGE|9.90")
BLANK = drawn()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    child = Worker(reader_worker_spec())
    yield child
    child.stop()


@pytest.fixture
async def engine(worker: Worker) -> ReaderEngine:
    return ReaderEngine(worker)


def image(raster: Raster) -> ClearedImage:
    return ClearedImage(raster, raster_digest(raster))


async def drafts(engine: ReaderEngine, raster: Raster, question: str, **more) -> list[Draft]:
    prompt = ClearedPrompt(question, (), more.pop("schema", ""))
    sampling = Sampling(max_tokens=more.pop("max_tokens", 256))
    deadline = more.pop("deadline", None) or Deadline.after(120)
    return [draft async for draft in engine.generate(image(raster), prompt, sampling, "scope", deadline)]


def whole(found: list[Draft]) -> str:
    return "".join(draft.text for draft in found)


async def test_the_answer_comes_word_by_word_with_evidence_at_the_end(engine) -> None:
    found = await drafts(engine, RECEIPT, "How much was paid in all?")
    assert [draft.text for draft in found] == ["The ", "total ", "is ", "10.10."]
    assert [draft.finish for draft in found] == [None, None, None, FinishReason.STOP]
    assert all(not draft.evidence and not draft.output_tokens for draft in found[:-1])
    last = found[-1]
    assert last.output_tokens == 7  # the total is 10 . 10 .
    assert last.input_tokens > 10
    (evidence,) = last.evidence
    assert evidence.box.x0 >= 290
    assert 100 < evidence.box.y0 < evidence.box.y1 < 150


async def test_a_picture_without_text_is_said_to_be_one(engine) -> None:
    found = await drafts(engine, BLANK, "What is in this picture?")
    assert whole(found) == NO_TEXT
    assert found[-1].finish is FinishReason.CANNOT_TELL


async def test_a_long_answer_ends_at_the_token_limit(engine) -> None:
    found = await drafts(engine, RECEIPT, "What is the total?", max_tokens=2)
    assert whole(found) == "The total"
    assert (found[-1].finish, found[-1].output_tokens) == (FinishReason.LENGTH, 2)


async def test_a_schema_is_answered_in_json(engine) -> None:
    schema = '{"properties": {"total": {"type": "number"}, "iban": {"type": "string"}}}'
    assert whole(await drafts(engine, RECEIPT, "Fill it.", schema=schema)) == '{"total": 10.1, "iban": null}'
    with pytest.raises(InvalidInput):
        await drafts(engine, RECEIPT, "Fill it.", schema="none")


async def test_a_deadline_that_has_passed_starts_nothing_and_harms_nobody(engine, worker) -> None:
    pid = worker.pid
    with pytest.raises(GuardedVLMError) as caught:
        await drafts(engine, RECEIPT, "What is the total?", deadline=Deadline.after(-1))
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert worker.pid == pid


async def test_a_caller_who_leaves_does_not_block_the_next_one(engine, worker) -> None:
    restarts = worker.restarts
    leaving = [asyncio.create_task(drafts(engine, RECEIPT, "What is the total?")) for _ in range(3)]
    await asyncio.sleep(0.05)
    for task in leaving:
        task.cancel()
    assert all(
        isinstance(out, asyncio.CancelledError) for out in await asyncio.gather(*leaving, return_exceptions=True)
    )
    assert whole(await drafts(engine, RECEIPT, "When was it issued?")) == "The date is 12/02/2018."
    assert worker.restarts == restarts


async def test_a_child_that_dies_is_an_engine_that_does_not_answer_and_comes_back(engine, worker) -> None:
    task = asyncio.create_task(drafts(engine, RECEIPT, "What is the total?"))
    await asyncio.sleep(0.05)
    assert worker._process is not None
    worker._process.kill()
    with pytest.raises(GuardedVLMError) as caught:
        await task
    assert caught.value.reason is Reason.INFERENCE_UNAVAILABLE
    assert whole(await drafts(engine, RECEIPT, "What is the total?")) == "The total is 10.10."


async def test_a_question_that_waits_too_long_is_timed_out_in_the_queue(engine) -> None:
    first = asyncio.create_task(drafts(engine, RECEIPT, "What is the total?"))
    await asyncio.sleep(0.02)
    with pytest.raises(GuardedVLMError) as caught:
        await drafts(engine, RECEIPT, "What is the total?", deadline=Deadline.after(0.05))
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert whole(await first) == "The total is 10.10."


async def test_what_it_declares(engine, worker) -> None:
    capacity = engine.capacity()
    assert (capacity.engine, capacity.geometry.fit) == ("reader", Fit.WITHIN)
    assert len(capacity.model_digest) == 64
    again = ReaderEngine(worker).capacity()
    assert again.model_digest == capacity.model_digest
    assert again.audience != capacity.audience  # a clearance does not outlive the process that it was made for


def test_the_parent_loads_no_model_library() -> None:
    code = "import sys, guardedvlm.inference.reader; print(*{'onnxruntime', 'cv2', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
