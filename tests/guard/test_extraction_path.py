"""Fields through the whole pipeline, with detectors and an engine that know what stands where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_pages_path import PNG, POLICY, Scene

from guardedvlm.admission import Gate, Place
from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.facts import Method
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.verify import read_ledger
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.field_schema import parse_fields
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import FinishReason, Sampling
from guardedvlm.core.quota import TenantLimits
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.outcome import Extraction
from guardedvlm.guard.pipeline import Pipeline
from guardedvlm.guard.run import GuardRequest, Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import GroundRule

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shop": {"type": "string"},
        "buyer": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
        "goods": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["total", "buyer"],
}
NOTHING = {"shop": None, "buyer": None, "total": None, "goods": []}


async def extracted(
    folder: Path, texts: list[str], drafts: list[Any], schema: dict[str, Any] = SCHEMA, policy: Any = POLICY
) -> Extraction:
    written = [draft if isinstance(draft, str) else json.dumps(draft) for draft in drafts]
    scene = Scene(texts, drafts=dict(enumerate(written, 100)))
    ledger = Logs(folder, "a0" * 16)
    signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
    pipeline = Pipeline(scene, scene, signer, Witness(ledger, AuditKey(b"k" * 32), {}))  # type: ignore[arg-type]
    gate = Gate(1)
    place = gate.place("clinic", TenantLimits())
    place.arrive(len(PNG))
    request = GuardRequest(
        *(Caller("clinic", "ann", frozenset()), policy, RawImage(PNG), Deadline.after(30)),
        Method.EXTRACT_FIELDS,
        place=place,
    )
    try:
        return await pipeline.extract(request, parse_fields(json.dumps(schema)), Sampling())
    finally:
        ledger.close()
        # Released or refused: turn, model and bytes are free again.
        assert (gate.turns.running, gate.model.running, gate.held_bytes) == (0, 0, 0)
        gate.turns.check_integrity()


def states(folder: Path) -> list[object]:
    return [record.event for record in read_ledger(folder)]


async def test_values_come_with_their_places_and_the_whole_is_valid(tmp_path: Path) -> None:
    draft = {**NOTHING, "shop": "Tea House", "total": 12.5, "goods": ["Green leaf", "Scones"]}
    found = await extracted(tmp_path, ["Tea House Green leaf 12.50"], [draft])
    value = json.loads(found.answer.text)
    jsonschema.validate(value, SCHEMA)
    assert value == draft
    fields = {field.pointer: field for field in found.fields}
    assert fields.keys() == {"/shop", "/total", "/goods/0", "/goods/1"}
    assert {at for at, field in fields.items() if field.grounded} == {"/shop", "/total", "/goods/0"}
    assert fields["/total"].places
    assert not fields["/goods/1"].places
    assert all(field.confidence is None for field in found.fields)
    facts = {record.event: record.facts for record in read_ledger(tmp_path)}
    assert states(tmp_path)[-3:] == [State.GENERATING, State.RELEASE_OPEN, State.RELEASED]
    assert facts[State.RELEASED]["answer_chars"] == len(found.answer.text)
    assert facts[State.RECEIVED]["method"] is Method.EXTRACT_FIELDS


async def test_what_is_hidden_comes_back_as_its_label_or_as_null(tmp_path: Path) -> None:
    draft = {**NOTHING, "buyer": "Jane Roe", "total": 7730419952, "goods": ["J a n e", "7730", "419952"]}
    found = await extracted(tmp_path, ["Jane Roe", "7730419952"], [draft, {**NOTHING, "shop": "for jane roe"}])
    for secret in ("Jane", "jane", "Roe", "7730", "419952"):
        assert secret not in found.answer.text
    value = json.loads(found.answer.text)
    jsonschema.validate(value, SCHEMA)
    assert value["total"] is None
    fields = {field.pointer: field for field in found.fields}
    assert fields["/buyer"].hidden
    assert fields["/total"].hidden
    assert not any(field.grounded for field in found.fields if field.hidden)


async def test_what_the_model_wrote_about_each_page_is_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[int] = []
    monkeypatch.setattr(Place, "wrote_page", lambda _, tokens: charged.append(tokens))
    await extracted(tmp_path, ["Tea", "Leaf 3.00"], [NOTHING, NOTHING])
    assert charged == [2, 2]


async def test_pages_make_one_object(tmp_path: Path) -> None:
    first, second = {**NOTHING, "goods": ["Tea"]}, {**NOTHING, "total": 3, "goods": ["Leaf"]}
    found = await extracted(tmp_path, ["Tea", "Leaf 3.00"], [first, second])
    assert json.loads(found.answer.text) == {"buyer": None, "total": 3, "goods": ["Tea", "Leaf"]}
    pages = {field.pointer: {place.page for place in field.places} for field in found.fields}
    assert pages == {"/goods/0": {0}, "/total": {1}, "/goods/1": {1}}


@pytest.mark.parametrize(
    "draft",
    [
        "It is 5.", "[]", "{}", "null", '{"shop": 1', '{"shop": NaN}', "[" * 5_000,
        {**NOTHING, "more": 1}, {**NOTHING, "total": "5"}, {**NOTHING, "goods": [{"a": 1}]},
        {**NOTHING, "shop": "x" * 300}, json.dumps(NOTHING)[:-1] + ', "total": 4}',
        json.dumps(NOTHING) + " and more", '{"shop": null, "buyer": null, "total": 1e999, "goods": []}',
    ],
)  # fmt: skip
async def test_a_draft_that_does_not_fit_is_refused_before_anything_leaves(tmp_path: Path, draft: Any) -> None:
    with pytest.raises(Refused) as caught:
        await extracted(tmp_path, ["Tea"], [draft])
    assert caught.value.reason is Reason.EXTRACTION_INVALID
    assert states(tmp_path)[-1] is State.REFUSED
    assert State.RELEASE_OPEN not in states(tmp_path)


async def test_a_required_value_that_nobody_reads_is_refused_and_never_invented(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    with pytest.raises(Refused) as caught:
        await extracted(tmp_path, ["Tea"], [{"total": None}], schema)
    assert caught.value.details == {"field": "schema.properties.0"}


async def test_an_invented_number_is_masked_and_so_becomes_null(tmp_path: Path) -> None:
    policy = POLICY.model_copy(update={"say": POLICY.say.model_copy(update={"grounding": GroundRule.MASK})})
    found = await extracted(tmp_path, ["Tea 12.50"], [{**NOTHING, "shop": "Tea 99.75", "total": 86.4}], policy=policy)
    assert json.loads(found.answer.text) == {"shop": "Tea [UNGROUNDED]", "buyer": None, "total": None, "goods": []}


async def test_names_and_choices_with_somebody_in_them_are_refused(tmp_path: Path) -> None:
    for body in ({"Jane Roe": {"type": "string"}}, {"who": {"enum": ["Jane Roe", "nobody"]}}):
        with pytest.raises(Refused) as caught:
            await extracted(tmp_path, ["Jane Roe"], [NOTHING], {"type": "object", "properties": body})
        assert caught.value.reason is Reason.QUESTION_PERSONAL
        assert State.GENERATING not in states(tmp_path)


async def test_nothing_told_is_nulls(tmp_path: Path) -> None:
    found = await extracted(tmp_path, ["Tea", "Leaf"], [NOTHING, NOTHING])
    assert json.loads(found.answer.text) == {"buyer": None, "total": None, "goods": []}
    assert found.answer.finish is FinishReason.STOP
    assert found.fields == ()


@pytest.mark.parametrize("order", [("a", "b", "c", "d", "e"), ("e", "d", "c", "b", "a"), ("c", "a", "e", "b", "d")])
async def test_a_hidden_number_does_not_leave_in_pieces_whatever_their_order_in_the_draft(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    """7730419952, the hidden account, two digits a property: the object is written again in the schema's order."""
    pieces = dict(zip("abcde", ("77", "30", "41", "99", "52"), strict=True))
    item = {"type": "object", "properties": {name: {"type": "string"} for name in pieces}}
    schema = {"type": "object", "properties": {"rows": {"type": "array", "items": item}}}
    draft = {"rows": [{name: pieces[name] for name in order}]}
    with pytest.raises(Refused) as caught:
        await extracted(tmp_path, ["7730419952"], [draft], schema)
    assert caught.value.reason is Reason.ANSWER_REFUSED
    assert State.RELEASE_OPEN not in states(tmp_path)


async def test_six_digits_of_a_hidden_number_do_not_leave_as_a_list(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await extracted(tmp_path, ["7730419952"], [{**NOTHING, "goods": ["77", "30", "41", "99"]}])
    assert caught.value.reason is Reason.ANSWER_REFUSED
