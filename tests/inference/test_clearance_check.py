"""A clearance lets in exactly what was signed, once, in time, for us; everything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.clearance import CONTEXT, Clearance, ClearedPrompt, SignedClearance, Turn, raster_digest
from guardedvlm.errors import GuardedVLMError, Reason, Refused, Unavailable
from guardedvlm.inference.clearance import CLOCK_SKEW_MS, MAX_LIFETIME_MS, ClearanceChecker, NonceSet

NOW = 1_700_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
RASTER = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
HISTORY = (Turn("When?", "In May."),)
PROMPT = ("What is the total?", HISTORY, "")


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checker(clock: Clock) -> ClearanceChecker:
    return ClearanceChecker({"k1": KEY.public_key()}, "reader/1", clock_ms=clock)


def clearance(**changes) -> Clearance:
    plain = Clearance(
        raster_digest=raster_digest(RASTER),
        prompt_digest=ClearedPrompt(*PROMPT).digest(),
        audience="reader/1",
        nonce="n-1",
        scope="scope",
        key_id="k1",
        expires_at=NOW + 30_000,
    )
    return replace(plain, **changes)


def signed(key: Ed25519PrivateKey = KEY, **changes) -> SignedClearance:
    encoded = clearance(**changes).encode()
    return SignedClearance(encoded, key.sign(encoded))


def refusal(checker: ClearanceChecker, token: SignedClearance, raster=RASTER, prompt=PROMPT) -> Refused:
    with pytest.raises(Refused) as caught:
        checker.admit(raster, *prompt, token)
    return caught.value


def test_a_valid_clearance_admits_what_was_signed(checker) -> None:
    admitted = checker.admit(RASTER, *PROMPT, signed())
    assert np.array_equal(admitted.image.raster, RASTER)
    assert admitted.image.digest == raster_digest(RASTER)
    assert admitted.prompt == ClearedPrompt(*PROMPT)
    assert admitted.scope == "scope"


def test_admitted_pixels_are_out_of_the_callers_reach(checker) -> None:
    mine = RASTER.copy()
    admitted = checker.admit(mine, *PROMPT, signed())
    mine[:] = 0
    assert np.array_equal(admitted.image.raster, RASTER)
    with pytest.raises(ValueError, match="read-only"):
        admitted.image.raster[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("check", "token"),
    [
        ("key_id", lambda: signed(key_id="k2")),
        ("signature", lambda: signed(OTHER_KEY)),
        ("signature", lambda: replace(signed(), signature=b"")),
        ("signature", lambda: replace(signed(nonce="n-2"), signature=signed().signature)),
        ("audience", lambda: signed(audience="reader/2")),
        ("lifetime", lambda: signed(expires_at=NOW + MAX_LIFETIME_MS + CLOCK_SKEW_MS + 1)),
        ("encoding", lambda: replace(signed(), encoded=b"")),
        ("encoding", lambda: replace(signed(), encoded=signed().encoded + b" ")),
        ("encoding", lambda: replace(signed(), encoded=CONTEXT + b"[" * 4000)),
        ("version", lambda: signed(version=2)),
        ("types", lambda: signed(nonce="")),
        ("types", lambda: signed(nonce=7)),
        ("types", lambda: signed(scope=["a"])),
        ("types", lambda: signed(expires_at=True)),
        ("types", lambda: signed(expires_at=float("inf"))),
    ],
)
def test_what_is_not_a_clearance_for_us_is_invalid(checker, check, token) -> None:
    error = refusal(checker, token())
    assert error.reason is Reason.CLEARANCE_INVALID
    assert error.details == {"check": check}


def test_other_pixels_are_refused(checker) -> None:
    other = RASTER.copy()
    other[0, 0, 0] ^= 1
    for raster in (other, RASTER.transpose(1, 0, 2), RASTER[:3]):
        assert refusal(checker, signed(), raster).details == {"check": "raster_digest"}


@pytest.mark.parametrize(
    "raster",
    [RASTER[:, :, 0], RASTER.astype(np.int16), RASTER[:0], np.zeros((2, 2, 4), np.uint8)],
    ids=["two axes", "int16", "empty", "four channels"],
)
def test_what_is_no_raster_is_refused(checker, raster) -> None:
    assert refusal(checker, signed(), raster).details == {"check": "raster"}


@pytest.mark.parametrize(
    "prompt",
    [
        ("What is the total? ", HISTORY, ""),
        ("What is the total?", (), ""),
        ("What is the total?", (*HISTORY, *HISTORY), ""),
        ("What is the total?", HISTORY, "{}"),
        ("\ud800", HISTORY, ""),
    ],
)
def test_another_prompt_is_refused(checker, prompt) -> None:
    assert refusal(checker, signed(), prompt=prompt).details == {"check": "prompt_digest"}


def test_expiry_allows_the_clocks_skew_and_no_more(checker, clock) -> None:
    clock.now = NOW + 30_000 + CLOCK_SKEW_MS
    checker.admit(RASTER, *PROMPT, signed(nonce="in time"))
    clock.now += 1
    assert refusal(checker, signed(nonce="late")).reason is Reason.CLEARANCE_EXPIRED


def test_a_clearance_works_once(checker, clock) -> None:
    checker.admit(RASTER, *PROMPT, signed())
    assert refusal(checker, signed()).reason is Reason.CLEARANCE_REPLAYED
    # The same nonce in another clearance is a replay too, and so it stays until the first one has expired.
    clock.now = NOW + 30_000 + CLOCK_SKEW_MS
    assert refusal(checker, signed(expires_at=clock.now + 1)).reason is Reason.CLEARANCE_REPLAYED


def test_a_refused_clearance_uses_no_nonce_up(checker) -> None:
    refusal(checker, signed(OTHER_KEY))
    refusal(checker, signed(), RASTER[:3])
    checker.admit(RASTER, *PROMPT, signed())


def test_a_full_nonce_set_refuses_instead_of_forgetting(clock) -> None:
    checker = ClearanceChecker({"k1": KEY.public_key()}, "reader/1", clock_ms=clock, max_nonces=1)
    checker.admit(RASTER, *PROMPT, signed())
    with pytest.raises(Unavailable):
        checker.admit(RASTER, *PROMPT, signed(nonce="n-2"))
    clock.now = NOW + 30_000 + CLOCK_SKEW_MS + 1
    checker.admit(RASTER, *PROMPT, signed(nonce="n-2", expires_at=clock.now + 1_000))


def test_errors_and_reprs_carry_no_content(checker) -> None:
    error = refusal(checker, signed(), prompt=("Is Jane Roe ill?", (), ""))
    admitted = checker.admit(RASTER, *PROMPT, signed())
    for shown in (str(error), repr(error), repr(admitted)):
        assert "Jane" not in shown
        assert "total" not in shown


@pytest.mark.parametrize(("keys", "audience"), [({}, "reader"), ({"k": KEY.public_key()}, "")])
def test_a_checker_that_could_pass_everything_is_not_made(keys, audience) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        ClearanceChecker(keys, audience)


@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    checker = ClearanceChecker({"k1": KEY.public_key()}, "reader/1", clock_ms=Clock())
    for encoded in (noise, CONTEXT + noise, CONTEXT + json.dumps(noise.hex()).encode()):
        error = refusal(checker, SignedClearance(encoded, KEY.sign(encoded)))
        assert error.reason is Reason.CLEARANCE_INVALID


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.integers(0, 3)), max_size=40))
def test_the_nonce_set_agrees_with_a_plain_dictionary(steps) -> None:
    """The slow oracle: a dictionary that is searched in full at each step."""
    nonces, oracle, now = NonceSet(4), {}, 0
    for nonce, lifetime, passed in steps:
        now += passed
        oracle = {key: until for key, until in oracle.items() if until >= now}
        wanted = (
            Reason.CLEARANCE_REPLAYED if nonce in oracle else Reason.INFERENCE_UNAVAILABLE if len(oracle) >= 4 else None
        )
        try:
            nonces.use(nonce, now + lifetime, now)
            got = None
            oracle[nonce] = now + lifetime
        except GuardedVLMError as error:
            got = error.reason
        assert got is wanted
        nonces.check_integrity()
