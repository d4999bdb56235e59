"""The clearance: what is signed, by whom it can be checked, and how long it holds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.clearance import Clearance, ClearedImage, ClearedPrompt, raster_digest
from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import Internal, TimedOut
from guardedvlm.guard.verify import ClearanceSigner

KEY = Ed25519PrivateKey.generate()
SIGNER = ClearanceSigner(KEY, "key-1", b"e" * 32)
PROMPT = ClearedPrompt("What is the total?")


def image() -> ClearedImage:
    raster = np.zeros((4, 6, 3), np.uint8)
    raster.setflags(write=False)
    return ClearedImage(raster, raster_digest(raster))


def test_the_signature_covers_pixels_prompt_audience_scope_and_expiry() -> None:
    before = time.time()
    signed = SIGNER.sign(image(), PROMPT, audience="reader", scope="s", deadline=Deadline.after(5))
    KEY.public_key().verify(signed.signature, signed.encoded)
    clearance = Clearance.decode(signed.encoded)
    assert clearance.raster_digest == image().digest
    assert clearance.prompt_digest == PROMPT.digest()
    assert (clearance.audience, clearance.scope, clearance.key_id) == ("reader", "s", "key-1")
    assert (before + 4) * 1000 < clearance.expires_at <= (time.time() + 5) * 1000


def test_a_changed_byte_breaks_the_signature() -> None:
    signed = SIGNER.sign(image(), PROMPT, audience="reader", scope="s", deadline=Deadline.after(5))
    for at in range(0, len(signed.encoded), 7):
        changed = bytearray(signed.encoded)
        changed[at] ^= 1
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(signed.signature, bytes(changed))


def test_no_nonce_comes_twice() -> None:
    deadline = Deadline.after(60)
    signed = [SIGNER.sign(image(), PROMPT, audience="a", scope="s", deadline=deadline) for _ in range(50)]
    nonces = {Clearance.decode(item.encoded).nonce for item in signed}
    assert len(nonces) == 50
    assert all(len(nonce) == 32 for nonce in nonces)


def test_nothing_is_signed_after_the_deadline() -> None:
    with pytest.raises(TimedOut):
        SIGNER.sign(image(), PROMPT, audience="a", scope="s", deadline=Deadline.after(-1))


def test_a_digest_of_other_pixels_is_not_signed() -> None:
    other = ClearedImage(image().raster, "0" * 64)
    with pytest.raises(Internal):
        SIGNER.sign(other, PROMPT, audience="a", scope="s", deadline=Deadline.after(5))


def test_a_short_epoch_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch key"):
        ClearanceSigner(KEY, "key-1", b"short")


TEXTS = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))


@given(TEXTS, TEXTS)
def test_scopes_are_equal_for_equal_callers_only(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (SIGNER.scope(*one) == SIGNER.scope(*other)) is (one == other)


def test_a_scope_names_nobody_and_changes_with_the_key() -> None:
    scope = SIGNER.scope("clinic", "ward", "d" * 64)
    assert len(scope) == 64
    assert "clinic" not in scope
    assert SIGNER.scope("ab", "c", "") != SIGNER.scope("a", "bc", "")
    assert ClearanceSigner(KEY, "key-1", b"f" * 32).scope("clinic", "ward", "d" * 64) != scope
