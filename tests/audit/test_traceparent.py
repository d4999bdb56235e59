"""Only the exact form of the standard is read."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.facts import Method
from guardedvlm.audit.random_id import may_hold_content
from guardedvlm.audit.record import make_entry
from guardedvlm.audit.traceparent import TraceParent, Traces, parse_traceparent, trace_fact
from guardedvlm.config import Settings
from guardedvlm.core.lifecycle import State
from guardedvlm.guard.run import Witness

KEY = AuditKey(b"k" * 32)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_the_standard_form(flags: str) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == TraceParent(int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "canary",
        f"01-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-canary",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{'٠' * 32}-{SPAN}-01",
    ],
)
def test_anything_else_is_no_parent(header: str | None) -> None:
    assert parse_traceparent(header) is None


@given(st.text())
def test_it_never_raises(header: str) -> None:
    parse_traceparent(header)


def _fact(trace: str, span: str, traces: Traces = Traces.JOIN, key: AuditKey = KEY) -> dict[str, str]:
    parent = parse_traceparent(f"00-{trace}-{span}-01")
    assert parent is not None
    facts = trace_fact(parent, key, traces)
    make_entry(State.RECEIVED, "1" * 32, {"method": Method.ANALYZE_IMAGE, **facts})  # fits the record
    return dict(facts["trace"])


def test_random_ids_are_taken_as_they_are() -> None:
    assert _fact(TRACE, SPAN) == {"id": TRACE, "parent": SPAN}
    assert trace_fact(None, KEY, Traces.JOIN) == {}


@pytest.mark.parametrize(
    ("trace", "span"),
    [
        (b"Orla Quillfeathe".hex(), SPAN),  # a name
        (b"\x01\xf3Quillfe\x8a\x03\x9b\xee\xff\x00\x02".hex(), SPAN),  # a name with something around it
        ("0" * 23 + "123456789", SPAN),  # an SSN, filled up
        ("f4111111111111111a7c9e0b3d5f6a8b", SPAN),  # a card's number
        ("378282246310005" + "f" * 17, SPAN),  # a card's number of 15 digits
        (TRACE, "4222222222222abc"),  # one of 13
        (b"078051120".hex() + "fade" * 3 + "fa", SPAN),  # an SSN as text
        (TRACE, b"O'Brien ".hex()),
        (TRACE, "0000000047160923"),
    ],
)
def test_an_id_that_reads_as_content_is_replaced_and_its_trace_too(trace: str, span: str) -> None:
    made = _fact(trace, span)
    assert trace not in made.values()
    assert span not in made.values()
    assert made == _fact(trace, span)  # one trace stays one trace
    assert made["id"] == _fact(trace, "0000000047160924")["id"]
    assert made["id"] != _fact(trace, span, key=AuditKey(b"x" * 32))["id"]


@pytest.mark.parametrize("trace", [TRACE, "078051120" + "fade" * 5 + "fab", b"Garcia\x01Miller\x01\x02\x03".hex()])
def test_nothing_of_an_id_stands_in_the_record_unless_the_site_says_so(trace: str) -> None:
    assert Settings.model_fields["traces"].default is Witness.__dataclass_fields__["traces"].default is Traces.DERIVE
    made = _fact(trace, SPAN, Traces.DERIVE)
    assert made == _fact(trace, SPAN, Traces.DERIVE)
    assert made["id"] == _fact(trace, SPAN[::-1], Traces.DERIVE)["id"]  # one trace stays one trace
    assert made["id"] != trace
    assert made["parent"] != SPAN


def test_few_random_ids_read_as_content() -> None:
    chance = random.Random(7)
    taken = sum(may_hold_content(f"{chance.getrandbits(128):032x}") for _ in range(20_000))
    assert taken < 20_000 * 0.04


def test_a_record_of_before_is_still_read() -> None:
    """What was joined with thirteen digits in a row by chance stands in ledgers that must verify."""
    trace = "1234567890123" + "abcdef" * 3 + "a"
    assert may_hold_content(trace)
    make_entry(State.RECEIVED, "1" * 32, {"method": Method.ANALYZE_IMAGE, "trace": {"id": trace, "parent": SPAN}})


def test_no_id_that_a_record_takes_may_hold_content() -> None:
    """Derived ones neither, of which one in 200 would by chance."""
    for number in range(1, 2_000):
        fact = trace_fact(TraceParent(number, number), KEY, Traces.JOIN)["trace"]
        assert not may_hold_content(fact["id"])
        assert not may_hold_content(fact["parent"])
