"""Calls are counted while they run, and by reason when they fail."""

import asyncio

import pytest

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.rpc.calls import Calls


def test_a_call_that_ends_well_leaves_nothing():
    calls = Calls()
    with calls.counted(), calls.counted():
        assert calls.running == 2
    assert calls.running == 0
    assert not calls.refused
    assert calls.waiting() == {"admission": 0, "model": 0}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (InvalidInput(Reason.IMAGE_CORRUPT), "IMAGE_CORRUPT"),
        (ValueError("canary"), "INTERNAL"),
        (asyncio.CancelledError(), "CANCELLED"),
        (asyncio.CancelledError(Reason.SHUTTING_DOWN), "SHUTTING_DOWN"),
    ],
)
def test_a_call_that_fails_is_counted_by_its_reason(failure, reason):
    calls = Calls()
    with pytest.raises(type(failure)), calls.counted():
        raise failure
    assert calls.running == 0
    assert calls.refused == {reason: 1}
