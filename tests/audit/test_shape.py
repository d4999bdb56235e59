"""The expression takes nothing that `Record.decode` does not take, and the usual records it does take."""

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from guardedvlm.audit.facts import Facts
from guardedvlm.audit.record import GENESIS, MAX_LINE, LedgerEvent, Record, make_entry, now
from guardedvlm.audit.shape import MAX_NAMES, Shapes
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason

OF_LEDGER: dict[LedgerEvent, dict[str, Any]] = {
    LedgerEvent.OPENED: {"torn_bytes": 0},
    LedgerEvent.RESUMED: {},
    LedgerEvent.POLICIES: {
        "policies": ({"name": "healthcare", "digest": "0a" * 32}, {"name": "finance", "digest": "0b" * 32}),
        "policies_kept": ("finance",),
        "policy_problems": 1,
    },
    LedgerEvent.SHADOWED: {
        "shadow": {
            "of": "1f" * 16,
            "policy": {"name": "healthcare", "digest": "0a" * 32},
            "candidate": {"name": "healthcare", "digest": "0b" * 32},
            "said": {"verdict": "deny", "complete": True, "reason": "POLICY_FORBIDS", "hidden": {}},
            "would_say": {
                "verdict": "allow",
                "complete": False,
                "hidden": {"FACE": 2},
                "question": {"verdict": "allow", "action": "allow", "found": {}, "topics": ()},
            },
            "milliseconds": 12,
        }
    },
    LedgerEvent.SAMPLED: {
        "sampled": {"tenant": "4f" * 16, "basis": "random", "sample": "5a" * 16, "expires": 1_800_000_000}
    },
    LedgerEvent.VIEWED: {"viewed": {"sample": "5a" * 16, "reviewer": "6b" * 16}},
    LedgerEvent.MARKED: {
        "marked": {
            "sample": "5a" * 16,
            "reviewer": "6b" * 16,
            "verdict": "leaked",
            "kinds": ("FACE", "PERSON"),
            "cells": "0f" * 128,
            "of": "1f" * 16,
            "tenant": "4f" * 16,
            "policy": "0a" * 32,
            "basis": "low_margin",
        }
    },
    LedgerEvent.INCIDENT: {
        "incident": {
            "sample": "5a" * 16,
            "of": "1f" * 16,
            "tenant": "4f" * 16,
            "policy": "0a" * 32,
            "kinds": ("FACE", "PERSON"),
        }
    },
    LedgerEvent.DESTROYED: {"destroyed": {"sample": "5a" * 16, "cause": "leaked"}},
    LedgerEvent.PRUNED: {
        "pruned": {
            "log": "years-6",
            "origin": "2e" * 16,
            "records": 900,
            "root": "0c" * 32,
            "until": "2028-02-29T12:00:00.000Z",
        }
    },
}


def _record(event: State | LedgerEvent, facts: Any, sequence: int = 7) -> Record:
    entry = make_entry(event, "1f" * 16 if isinstance(event, State) else None, _enums(facts))
    return Record.model_construct(
        event=entry.event, request=entry.request, facts=entry.facts, version=1, sequence=sequence, previous=GENESIS,
        salt="2e" * 16, time=now(), origin="3d" * 16,
    )  # fmt: skip


def _enums(facts: Any) -> Any:
    """Plain words as the enums that facts hold."""
    made = Record.model_fields["facts"].annotation

    return TypeAdapter(made).validate_json(json.dumps(facts, default=str)) if facts else facts


@pytest.fixture
def lines(life: dict[State, Facts]) -> list[bytes]:
    found = [_record(event, facts) for event, facts in life.items()]
    found.append(_record(State.REFUSED, {"reason": Reason.IMAGE_CORRUPT.value, "timings": {"total": 3}}))
    found += [_record(event, facts) for event, facts in OF_LEDGER.items()]
    return [record.encode() for record in found]


@pytest.fixture
def shapes(lines: list[bytes]) -> Shapes:
    made = Shapes()
    for line in lines:
        made.learn(Record.decode(line))
    return made


def test_every_kind_of_record_is_taken(lines: list[bytes], shapes: Shapes) -> None:
    assert len({json.loads(line)["event"] for line in lines}) == len(State) + len(LedgerEvent)
    for line in lines:
        match, record = shapes.match(line), Record.decode(line)
        assert match is not None, line
        said = (match["request"], match["previous"], match["sequence"], match["time"])
        expected = (record.request, record.previous, str(record.sequence), record.time)
        assert tuple(value and value.decode() for value in said) == expected


def test_names_are_taken_once_the_oracle_took_them(lines: list[bytes]) -> None:
    shapes = Shapes()
    named = [line for line in lines if b'"name":' in line]
    assert not any(map(shapes.match, named))
    for line in named:
        shapes.learn(Record.decode(line))
    assert all(map(shapes.match, named))


def test_a_components_name_is_no_policys_name(life: dict[State, Facts]) -> None:
    other = "other-123456789012"  # a component may be called so; a policy has no number as long as somebody's
    shapes = Shapes()
    generating = _record(State.GENERATING, life[State.GENERATING] | {"engine": other}).encode()
    admitted = _record(State.ADMITTED, life[State.ADMITTED]).encode()
    for line in (generating, admitted):
        shapes.learn(Record.decode(line))
    assert shapes.match(generating)
    assert shapes.match(admitted)
    assert not shapes.match(admitted.replace(b'"healthcare"', b'"%s"' % other.encode()))


def test_it_knows_so_many_names_and_no_more() -> None:
    shapes = Shapes()
    policies = tuple({"name": f"p{chr(97 + n // 26)}{chr(97 + n % 26)}", "digest": "0a" * 32} for n in range(600))
    record = _record(LedgerEvent.POLICIES, {"policies": policies})
    shapes.learn(record)
    assert len(policies) > MAX_NAMES
    assert not shapes.match(record.encode())


def test_what_is_too_long_is_not_taken(shapes: Shapes, lines: list[bytes]) -> None:
    long = lines[0] + b" " * MAX_LINE
    assert not shapes.match(long)
    for line in (b"", b"{}", b'{"event":"', b'{"event":"NOTHING"}'):
        assert not shapes.match(line)


def _agree(shapes: Shapes, line: bytes) -> bool:
    """Whether the expression took a line; the oracle must take it then."""
    if shapes.match(line) is None:
        return False
    assert Record.decode(line).encode() == line
    return True


def test_no_changed_line_is_taken_that_the_oracle_refuses(lines: list[bytes], shapes: Shapes) -> None:
    choose = random.Random(11)
    taken = 0
    for line in lines:
        for _ in range(400):
            at, gone = choose.randrange(len(line)), choose.choice((0, 0, 1, 1, 1, 2, 9))
            new = bytes(choose.choices(b'0123456789abcdef{}[],:"-.TZA', k=choose.choice((0, 1, 1, 1, 3))))
            taken += _agree(shapes, line[:at] + new + line[at + gone :])
    assert taken > 100  # digests and numbers may be others, and are records


def _edges(value: Any) -> list[tuple[Any, ...]]:
    """The way to every number, string and key."""
    if isinstance(value, dict):
        return [(key, *rest) for key, item in value.items() for rest in [(), *_edges(item)]]
    if isinstance(value, list):
        return [(number, *rest) for number, item in enumerate(value) for rest in [(), *_edges(item)]]
    return []


ODD = [0, 1, -1, 9, 10, 11, 999, 1000, 1001, 4000, 4001, 59_999, 60_001, 10**6, 10**6 + 1, 2**30, 2**30 + 1, 2**53,
       2**53 - 1, 86_400_000, 86_400_001, 1.0, 1e3, True, None, "", "x", [], {}, "years-6", "2028-02-29T10:00:00.000Z",
       "2027-02-29T10:00:00.000Z", "2026-13-01T10:00:00.000Z", "FACE", "healthcare"]  # fmt: skip


def test_no_odd_value_is_taken_that_the_oracle_refuses(lines: list[bytes], shapes: Shapes) -> None:
    taken = 0
    for line in lines:
        values = json.loads(line)
        for way in _edges(values):
            for odd in ODD:
                changed = json.loads(line)
                target = changed
                for step in way[:-1]:
                    target = target[step]
                target[way[-1]] = odd
                taken += _agree(shapes, json.dumps(changed, sort_keys=True, separators=(",", ":")).encode())
            del target[way[-1]]
            taken += _agree(shapes, json.dumps(changed, sort_keys=True, separators=(",", ":")).encode())
    assert taken > 500


LETTERS = "".join(f"{value:02x}" for value in b"AZaz09 .,'@-")
"""Digits of what reads as text at its edges: half a letter further they are none."""
DIGITS = st.one_of(
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text("0123456789a", min_size=32, max_size=32),
    st.lists(st.sampled_from(["0", "00", "9" * 15, "9" * 16, "a", "3f", "5b", LETTERS[:14], LETTERS[10:]]), min_size=8)
    .map("".join)
    .filter(lambda digits: len(digits) >= 32)
    .map(lambda digits: digits[:32]),
)


@given(DIGITS, DIGITS, st.booleans())
@settings(max_examples=400)
@example("0" * 32, "1" * 32, False)
@example("0" * 31 + "a", "0" * 15 + "b", False)
@example("a" * 16 + "1" * 16, "f" * 16, False)
@example("a" * 17 + "1" * 15, "f" * 16, False)
@example("ff" * 9 + "41" * 7, "f" * 16, False)
@example("f" + "41" * 7 + "f" * 17, "f" * 16, False)
@example("ff" * 16, "ff" + "4a" * 7, False)
def test_of_a_callers_trace_it_takes_what_the_oracle_takes(trace: str, span: str, swapped: bool) -> None:
    line = TRACED.replace(b"a1" * 16, trace.encode()).replace(b"b2" * 8, span[:16].encode())
    if swapped:
        line = line.replace(b'"parent"', b'"Parent"')
    try:
        Record.decode(line)
    except ValueError:
        assert SHAPES.match(line) is None
    else:
        assert SHAPES.match(line) is not None  # all of them: none goes the slow way


@given(st.data())
@settings(max_examples=60)
def test_facts_of_one_event_under_another(data: st.DataObject) -> None:
    shapes = SHAPES
    events = [*State, *LedgerEvent]
    event, other = data.draw(st.sampled_from(events)), data.draw(st.sampled_from(list(OF_LEDGER)))
    line = _record(other, OF_LEDGER[other]).encode()
    request = b'"request":"%s",' % (b"1f" * 16) if data.draw(st.booleans()) else b""
    changed = line.replace(f'"event":"{other}"'.encode(), f'"event":"{event}"'.encode())
    _agree(shapes, changed.replace(b'"salt"', request + b'"salt"'))


SHAPES = Shapes()
TRACED = _record(State.RECEIVED, {"method": "RedactImage", "trace": {"id": "a1" * 16, "parent": "b2" * 8}}).encode()
