"""Decoding under a schema, on a tiny random CogVLM2: whatever its weights are, what it writes is valid."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.cogvlm2 import checkpoint, tiny
from guardedvlm.core.clearance import ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.ports import FinishReason, Sampling
from guardedvlm.inference.cogvlm2.engine import CogVLM2Engine
from guardedvlm.inference.cogvlm2.model import Loading, Model
from guardedvlm.inference.cogvlm2.readings import values

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "company": {"type": "string", "maxLength": 12},
            "kind": {"enum": ["receipt", "invoice"]},
            "paid": {"type": "boolean"},
            "lines": {
                "type": "array",
                "maxItems": 2,
                "items": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}},
            },
        },
    }
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    torch.set_num_threads(1)
    directory = tiny.write(tmp_path_factory.mktemp("tiny") / "model", dtype="float32", seed=5)
    checkpoint.pin(directory)
    made = CogVLM2Engine(Model(Loading(Path(directory))))
    yield made
    made.close()


async def asked(engine, schema, sampling):
    raster = np.zeros((56, 56, 3), np.uint8)
    raster.setflags(write=False)
    prompt = ClearedPrompt("What stands there?", (), schema)
    drafts = engine.generate(
        ClearedImage(raster, raster_digest(raster)), prompt, sampling, "a" * 64, Deadline.after(60)
    )
    return [draft async for draft in drafts]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_weights_are_the_output_is_valid(engine, seed):
    fields = parse_fields(SCHEMA)
    sampling = Sampling(max_tokens=600, temperature=1.5 if seed else 0.0, seed=seed)
    drafts = asyncio.run(asked(engine, fields.encoded(), sampling))
    assert drafts[-1].finish is FinishReason.STOP
    value = json.loads("".join(draft.text for draft in drafts))
    jsonschema.validate(value, fields.document(open_ended=True))
    assert all(reading.confidence is None or 0 <= reading.confidence <= 1 for reading in drafts[-1].readings)
    if drafts[-1].readings:
        assert {"/company", "/kind", "/paid"} <= {reading.pointer for reading in drafts[-1].readings}


def test_a_shape_in_words_constrains_nothing(engine):
    drafts = asyncio.run(asked(engine, "a list, one item a line", Sampling(max_tokens=4)))
    assert drafts[-1].readings == ()


JSON_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=6)
SCALARS = JSON_TEXT | st.none() | st.booleans() | st.integers(-999, 999)


@given(st.dictionaries(JSON_TEXT, SCALARS | st.lists(SCALARS | st.dictionaries(JSON_TEXT, SCALARS, max_size=3))))
def test_values_stand_where_they_are_said_to_stand(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for pointer, start, end in values(text):
        found = value
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        assert json.loads(text[start:end]) == found
