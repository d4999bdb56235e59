"""Figures with intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.evaluation.share import bootstrapped, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_is_that_of_the_books(hits, n, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3 without continuity correction."""
    share = wilson(hits, n)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_says_nothing():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert bootstrapped([]) == wilson(0, 0)


@pytest.mark.parametrize(("hits", "n"), [(-1, 3), (4, 3)])
def test_more_hits_than_cases_is_an_error(hits, n):
    with pytest.raises(ValueError, match="hits"):
        wilson(hits, n)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(5, 9)), min_size=1, max_size=30))
def test_the_bootstrap_encloses_the_share(groups):
    share = bootstrapped(groups)
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert (share.hits, share.n) == tuple(np.sum(groups, axis=0))


def test_leaks_that_lie_together_make_a_wider_interval():
    together = bootstrapped([(10, 10), *[(0, 10)] * 19])
    spread = bootstrapped([(1, 10)] * 10 + [(0, 10)] * 10)
    assert together.value == spread.value == 0.05
    assert together.high - together.low > 2 * (spread.high - spread.low)
