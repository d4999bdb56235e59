"""How a trial crosses HTTP: whatever comes, it is a trial or a refusal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.playground.framing import HEAD_LIMIT, framed, parse_asked


def body(head, content=b"picture"):
    return json.dumps(head).encode() + b"\n" + content


@given(st.text(max_size=50), st.binary(max_size=200))
def test_what_was_written_is_read(question, content):
    asked = parse_asked(body({"policy": "finance", "question": question}, content))
    assert (asked.offer, asked.question, asked.content) == ("finance", question.strip(), content)


@given(st.binary(max_size=300))
def test_anything_is_a_trial_or_refused(content):
    try:
        parse_asked(content)
    except InvalidInput as error:
        found = error.reason
    else:
        found = Reason.FIELD_INVALID
    assert found is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"no line at all",
        b"[]\npicture",
        body({"question": "x"}),
        body({"policy": ""}),
        body({"policy": "finance", "tenant": "clinic"}),
        body({"policy": 3}),
        body({"policy": "x" * 129}),
        b"{" + b" " * HEAD_LIMIT + b"}\npicture",
    ],
)
def test_what_has_no_meaning_is_refused(wrong):
    with pytest.raises(InvalidInput, match="FIELD_INVALID"):
        parse_asked(wrong)


def test_nothing_of_a_trial_is_in_its_repr():
    shown = repr(parse_asked(body({"policy": "finance", "question": "canary-question"}, b"canary-picture")))
    assert "canary" not in shown


def test_bytes_follow_their_line():
    assert framed({"text": "a\nb"}) == b'{"text":"a\\nb"}\n'
    assert framed({"sheet": 1}, b"\n\x00") == b'{"sheet":1,"bytes":2}\n\n\x00'
