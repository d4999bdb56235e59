"""Nobody gets more than the burst and the rate, whatever they ask and whenever."""

from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.admission.bucket import Bucket

RATES = st.floats(0.01, 1_000)
STEPS = st.lists(st.tuples(st.floats(0, 30), st.floats(0.01, 50)), max_size=30)


@settings(max_examples=60)
@given(RATES, st.floats(1, 100), STEPS)
def test_no_more_than_burst_and_rate(rate, burst, steps):
    bucket, now, times, taken = Bucket(rate, burst, 0.0), 0.0, [], []
    for pause, cost in steps:
        now += pause
        if not bucket.wait(cost, now):
            bucket.take(cost, now)
            times.append(now)
            taken.append(cost)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            # The last one may be larger than the burst, and is then owed.
            allowed = burst + rate * (times[last] - times[first]) + max(0.0, taken[last] - burst)
            owed = max(0.0, *(cost - burst for cost in taken[first : last + 1]))
            assert sum(taken[first : last + 1]) <= allowed + owed + 1e-6 * (1 + allowed)


@settings(max_examples=60)
@given(RATES, st.floats(1, 100), STEPS)
def test_who_waits_as_long_as_was_said_gets_in(rate, burst, steps):
    bucket, now = Bucket(rate, burst, 0.0), 0.0
    for pause, cost in steps:
        now += pause
        now += bucket.wait(cost, now) * (1 + 1e-9) + 1e-9
        assert bucket.wait(cost, now) <= 1e-6
        bucket.take(cost, now)


@settings(max_examples=60)
@given(RATES, st.floats(1, 100), st.floats(0.01, 50), st.floats(0, 30))
def test_what_is_given_back_was_never_taken(rate, burst, cost, pause):
    used, unused = Bucket(rate, burst, 0.0), Bucket(rate, burst, 0.0)
    used.take(cost, 1.0)
    used.give_back(cost, 1.0)
    later = 1.0 + pause
    assert abs(used.wait(burst, later) - unused.wait(burst, later)) < 1e-6 * (1 + burst / rate)


def test_another_rate_forgives_nothing():
    bucket = Bucket(1.0, 1.0, 0.0)
    bucket.take(11.0, 0.0)
    bucket.resize(100.0, 100.0, 0.0)
    assert bucket.wait(1.0, 0.0) == (1.0 + 10.0) / 100.0


def test_a_clock_that_goes_back_gives_nothing():
    bucket = Bucket(1.0, 1.0, 100.0)
    bucket.take(1.0, 100.0)
    assert bucket.wait(1.0, 50.0) == 1.0
    assert bucket.wait(1.0, 100.5) == 0.5
