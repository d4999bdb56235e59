"""What bench_service counts with."""

import pytest
from bench_service import report_overhead, resident, slope


def test_the_slope_is_that_of_a_line_whatever_one_sample_does():
    times = list(range(20))
    values = [3.0 * at + 1 for at in times]
    values[7] = 1e6
    assert slope(times, values) == pytest.approx(3.0)
    assert slope(times, [5.0] * 20) == 0


def test_the_overhead_is_the_median_of_the_pairs_ratios():
    found = report_overhead("half", [(1.0, 1.02), (2.0, 2.04), (4.0, 4.08), (1.0, 9.0), (1.0, 1.02)])
    assert found["ratio"] == pytest.approx(1.02)
    assert found["ratio_95"][0] <= 1.02 <= found["ratio_95"][1]


def test_a_process_that_is_gone_holds_nothing():
    assert resident(2**22 + 1) == 0
