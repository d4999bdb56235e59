"""The clearance's bytes are canonical, and every byte of a picture or prompt counts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.core.clearance import Clearance, ClearedImage, ClearedPrompt, Turn, raster_digest

words = st.text(alphabet="0123456789abcdef", max_size=64)
clearances = st.builds(Clearance, words, words, words, words, words, words, st.integers(0, 2**53), version=st.just(1))


@given(clearances)
def test_decode_is_the_inverse_of_encode(clearance):
    assert Clearance.decode(clearance.encode()) == clearance


@given(clearances, st.data())
def test_any_other_byte_is_refused_or_another_clearance(clearance, data):
    encoded = bytearray(clearance.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = Clearance.decode(bytes(encoded))
    except ValueError:
        return
    assert found != clearance


@pytest.mark.parametrize("encoded", [b"", b"{}", Clearance("", "", "", "", "", "", 1).encode() + b" ", b"x" * 5000])
def test_what_is_no_clearance(encoded):
    with pytest.raises(ValueError, match="not"):
        Clearance.decode(encoded)


def test_the_raster_digest_covers_shape_and_bytes():
    raster = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert raster_digest(raster) != raster_digest(raster.reshape(4, 2, 3))
    assert raster_digest(raster) == raster_digest(np.asfortranarray(raster))
    changed = raster.copy()
    changed[1, 3, 2] ^= 1
    assert raster_digest(raster) != raster_digest(changed)


def test_the_prompt_digest_covers_every_part():
    base = ClearedPrompt("q", (Turn("a", "b"),), "s")
    others = [
        dataclasses.replace(base, question="r"),
        dataclasses.replace(base, schema=""),
        dataclasses.replace(base, history=()),
        dataclasses.replace(base, history=(Turn("b", "a"),)),
    ]
    assert len({prompt.digest() for prompt in [base, *others]}) == 5


def test_cleared_pixels_are_read_only_and_not_shown():
    raster = np.full((2, 2, 3), 77, np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        ClearedImage(raster, "d")
    raster.setflags(write=False)
    assert "77" not in repr(ClearedImage(raster, "d"))
    assert "secret" not in repr(ClearedPrompt("secret", (Turn("secret", "secret"),), "secret"))
