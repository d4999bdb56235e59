"""Deadlines."""

import pytest

from guardedvlm.core.deadline import Deadline
from guardedvlm.errors import Reason, TimedOut


def test_a_deadline_counts_down_and_then_raises():
    assert 9 < Deadline.after(10).remaining() <= 10
    assert Deadline.after(10).capped(3) == 3
    assert Deadline.after(10).sooner(3).remaining() <= 3
    assert Deadline.after(1).sooner(30).remaining() <= 1
    with pytest.raises(TimedOut) as failure:
        Deadline.after(-1).remaining()
    assert failure.value.reason is Reason.DEADLINE_EXCEEDED
