"""The record is closed: there is no field that a caller's words, or anybody's, could go in."""

import json
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guardedvlm.audit.facts import Facts, Method
from guardedvlm.audit.record import GENESIS, OF_LEDGER, LedgerEvent, Record, make_entry, now, record_hash
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Internal, Reason

REQUEST = "1f" * 16
HEADER: dict[str, Any] = {
    "version": 1,
    "sequence": 0,
    "previous": GENESIS,
    "salt": "2e" * 16,
    "time": "2026-11-23T10:00:00.123Z",
    "origin": "3d" * 16,
}
CANARIES = [
    "123-45-6789",
    "Canary Q. Person",
    "canary",
    "maria",
    "4111 1111 1111 1111",
    "4111111111111111",
    "1980-02-29",
    "canary@example.org",
    "/home/canary/scan.png",
    "what is the name of the canary?",
    "MRN 00123456",
    "<script>",
    "canary\n",
    "канарейка",
]


def _whole(life: dict[State, Facts]) -> dict[str, Any]:
    """One record that states every fact of a request, as JSON values."""
    facts: dict[str, Any] = {}
    for part in life.values():
        facts |= part
    values = make_entry(State.REFUSED, REQUEST, facts | {"reason": Reason.INTERNAL}).model_dump(mode="json")
    return HEADER | values


def _strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """Every string of a JSON value with the way to it; keys too, as ways that end in `str`."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        keys = [((*path, key, str), key) for key in value]
        return keys + [found for key, item in value.items() for found in _strings(item, (*path, key))]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in _strings(item, (*path, number))]
    return []


def _put(values: dict[str, Any], path: tuple[Any, ...], text: str) -> str:
    """JSON of `values` with `text` at `path`."""
    changed = deepcopy(values)
    target: Any = changed
    *way, last = path[:-1] if path[-1] is str else path
    for step in way:
        target = target[step]
    if path[-1] is str:
        target[text] = target.pop(last)
    else:
        target[last] = text
    return json.dumps(changed)


def _texts(values: dict[str, Any]) -> list[tuple[tuple[Any, ...], str]]:
    found = _strings(values)
    assert len(found) > 100
    return found


def test_every_fact_of_the_schema_is_in_the_poison_test(life: dict[State, Facts]) -> None:
    assert set(_whole(life)["facts"]) == set(Facts.__annotations__) - frozenset().union(*OF_LEDGER.values())


@pytest.mark.parametrize("canary", CANARIES)
def test_no_string_of_a_record_takes_a_canary(life: dict[State, Facts], canary: str) -> None:
    values = _whole(life)
    Record.model_validate_json(json.dumps(values))
    for path, _ in _texts(values):
        if path == POLICY_NAME and re.fullmatch("[a-z]+", canary):
            continue  # the operator's own name of a policy file; no caller can choose it
        with pytest.raises(ValidationError):
            Record.model_validate_json(_put(values, path, canary))


POLICY_NAME = ("facts", "policy", "name")
ALLOWED = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{256}"  # pseudonyms, digests, grids
    r"|20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z"
    r"|[a-z][a-z0-9-]{0,63}"  # the policy's name
)


@given(data=st.data())
def test_arbitrary_strings_are_refused_everywhere(data: st.DataObject) -> None:
    values = VALUES
    path, old = data.draw(st.sampled_from(_texts(values)))
    text = data.draw(st.one_of(st.text(), st.from_regex(r"[0-9]{3}-?[0-9]{2}-?[0-9]{4}", fullmatch=True)))
    try:
        record = Record.model_validate_json(_put(values, path, text))
    except ValidationError:
        return
    assert text == old or ALLOWED.fullmatch(text) or _is_enum(text, record)


def _is_enum(text: str, record: Record) -> bool:
    """The text became a member of an enum: it is one of our own words."""
    return any(text == str(member) for member in _members(record.model_dump()))


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [found for pair in value.items() for item in pair for found in _members(item)]
    if isinstance(value, tuple | list):
        return [found for item in value for found in _members(item)]
    return [value] if hasattr(value, "_value_") else []


@pytest.mark.parametrize("key", ["question", "text", "file_name", "canary"])
def test_no_other_field_can_be_added(life: dict[State, Facts], key: str) -> None:
    values = _whole(life)
    for where in (values, values["facts"], values["facts"]["verification"], values["facts"]["policy"]):
        where[key] = "x"
        with pytest.raises(ValidationError):
            Record.model_validate_json(json.dumps(values))
        del where[key]


def test_policy_name_has_no_room_for_an_identifier(life: dict[State, Facts]) -> None:
    values = _whole(life)
    for name in ("a-123-45-6789", "a123456789", "a-555-123-4567", "1", "A", "a b", "a_b", "a\n", "a" * 65):
        values["facts"]["policy"]["name"] = name
        with pytest.raises(ValidationError):
            Record.model_validate_json(json.dumps(values))


@pytest.mark.parametrize(
    "facts",
    [
        {"method": "canary"},
        {"canary": 1},
        {"method": Method.ANALYZE_IMAGE, "regions": {"canary": 1}},
        {"method": Method.ANALYZE_IMAGE, "policy": {"name": "x", "digest": "canary"}},
    ],
)
def test_the_error_says_nothing_of_the_facts(facts: dict[str, Any]) -> None:
    with pytest.raises(Internal) as caught:
        make_entry(State.RECEIVED, REQUEST, facts)
    assert "canary" not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("event", "request_id", "facts"),
    [
        (State.RECEIVED, None, {"method": Method.ANALYZE_IMAGE}),
        (LedgerEvent.RESUMED, REQUEST, {}),
        (State.RECEIVED, REQUEST, {}),
        (State.ADMITTED, REQUEST, {"tenant": "0" * 32}),
        (State.REDACTED, REQUEST, {}),
        (State.CLEARED, REQUEST, {}),
        (State.REFUSED, REQUEST, {}),
        (State.DECODED, REQUEST, {"reason": Reason.INTERNAL}),
        (State.DECODED, REQUEST, {"torn_bytes": 1}),
        (LedgerEvent.OPENED, None, {}),
        (LedgerEvent.OPENED, None, {"torn_bytes": 0, "pages": 1}),
        (LedgerEvent.OPENED, None, {"torn_bytes": 0, "policies": ()}),
        (LedgerEvent.POLICIES, None, {}),
        (LedgerEvent.POLICIES, None, {"policies": (), "torn_bytes": 0}),
        (LedgerEvent.POLICIES, None, {"policies": ({"name": "Jane Doe", "digest": "00" * 32},)}),
        (LedgerEvent.POLICIES, None, {"policies": (), "policies_kept": ("mrn-123456789",)}),
        (State.DECODED, REQUEST, {"pages": True}),
        (State.DECODED, REQUEST, {"pages": 0}),
        (State.DECODED, REQUEST, {"pages": 1.0}),
        (State.DECODED, REQUEST, {"pages": "1"}),
        (State.DECODED, REQUEST, {"width": 10**9}),
        (State.DECODED, "123-45-6789", {}),
    ],
)
def test_an_entry_that_is_no_evidence_is_refused(event: Any, request_id: str | None, facts: dict[str, Any]) -> None:
    with pytest.raises(Internal):
        make_entry(event, request_id, facts)


def test_one_record_has_one_encoding(life: dict[State, Facts]) -> None:
    record = Record.model_validate_json(json.dumps(_whole(life)))
    line = record.encode()
    assert Record.decode(line) == record
    assert Record.decode(line).encode() == line
    others = [
        b" " + line,
        line + b"\n",
        json.dumps(json.loads(line)).encode(),
        line.replace(b'"pages":1', b'"pages":1,"pages":1'),
        line.replace(b'"pages":1', b'"pages":1.0'),
        line.replace(b"healthcare", b"health\\u0063are"),
        b"",
        b"\xff",
        b"[]",
    ]
    for other in others:
        assert other != line
        with pytest.raises(ValueError, match=r"^not "):
            Record.decode(other)


def test_the_hash_covers_every_byte(life: dict[State, Facts]) -> None:
    line = Record.model_validate_json(json.dumps(_whole(life))).encode()
    hashes = {record_hash(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]) for at in range(len(line))}
    assert len(hashes) == len(line)
    assert record_hash(line) not in hashes


@pytest.mark.parametrize("time", ["2026-02-30T10:00:00.000Z", "2026-11-23T25:00:00.000Z", "2026-11-23T10:00:00Z"])
def test_time_is_a_real_time(life: dict[State, Facts], time: str) -> None:
    with pytest.raises(ValidationError):
        Record.model_validate_json(json.dumps(_whole(life) | {"time": time}))


def test_now_is_a_time_of_a_record(life: dict[State, Facts]) -> None:
    record = Record.model_validate_json(json.dumps(_whole(life) | {"time": now()}))
    assert record.at.tzinfo is not None


VALUES: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _values(life: dict[State, Facts]) -> None:
    """Hypothesis takes no function-scoped fixtures; the values are the same every time."""
    VALUES.update(_whole(life))
