"""The envelope: the specification's encoding, and one spelling of each envelope."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.dsse import MAX_BYTES, Envelope, message
from guardedvlm.audit.keys import Signature

SIGNATURE = Signature("0123456789abcdef", bytes(range(64)))
ENVELOPE = Envelope("application/vnd.example+json", b'{"a":1}', SIGNATURE)


def test_what_is_signed_is_the_specifications():
    """Its test vector (protocol.md)."""
    assert message("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_count_bytes():
    assert message("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


@given(st.binary(min_size=1, max_size=100), st.binary(min_size=1, max_size=80))
def test_what_is_decoded_was_encoded(payload, value):
    envelope = Envelope("a/b", payload, Signature("00ff" * 4, value))
    assert Envelope.decode(envelope.encode()) == envelope
    assert envelope.message == message("a/b", payload)


@given(st.binary(max_size=300))
def test_noise_is_no_envelope(content):
    with pytest.raises(ValueError, match=r"^not "):
        Envelope.decode(content)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_another_envelope_or_none(at, change):
    content = bytearray(ENVELOPE.encode())
    content[at % len(content)] ^= change
    try:
        assert Envelope.decode(bytes(content)) != ENVELOPE
    except ValueError:
        return


def changed(**values):
    return json.dumps(json.loads(ENVELOPE.encode()) | values, sort_keys=True, separators=(",", ":")).encode() + b"\n"


SIGNED = json.loads(ENVELOPE.encode())["signatures"]


@pytest.mark.parametrize(
    "content",
    [
        ENVELOPE.encode()[:-1],
        ENVELOPE.encode() + b"\n",
        b" " + ENVELOPE.encode(),
        json.dumps(json.loads(ENVELOPE.encode())).encode() + b"\n",
        changed(signatures=[]),
        changed(signatures=SIGNED * 2),
        changed(signatures=[{"keyid": SIGNED[0]["keyid"]}]),
        changed(signatures=[{"sig": SIGNED[0]["sig"]}]),
        changed(signatures=[SIGNED[0] | {"keyid": "0123456789ABCDEF"}]),
        changed(signatures=[SIGNED[0] | {"sig": SIGNED[0]["sig"].replace("=", "")}]),
        changed(signatures=[SIGNED[0] | {"sig": ""}]),
        changed(signatures=[SIGNED[0] | {"cert": ""}]),
        changed(payload=base64.urlsafe_b64encode(b"\xff\xef").decode()),
        changed(payload="YR=="),  # "a" with a bit that stands for nothing
        changed(payloadType=""),
        changed(more=1),
        b"[" * 100_000,
        changed(payload="A" * MAX_BYTES),
    ],
)
def test_every_other_spelling_is_refused(content):
    with pytest.raises(ValueError, match=r"^not ") as refused:
        Envelope.decode(content)
    assert len(str(refused.value)) < 30
