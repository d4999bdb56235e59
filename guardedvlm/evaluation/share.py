"""Shares of a measurement, with the interval of drawing whole pictures anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardedvlm.core.share import Share, wilson

__all__ = ["Share", "bootstrapped", "wilson"]

RESAMPLES = 4000
"""Bootstrap samples: their 2.5 % quantile rests on a hundred of them."""


def bootstrapped(groups: Sequence[tuple[int, int]], seed: int = 0) -> Share:
    """Share of the summed (hits, n) of groups with the 95 % percentile interval of drawing whole groups anew.

    What lies in one picture fails together, so the picture is what is drawn (B. Efron, Ann. Statist. 7, 1979). Where
    nothing or everything is a hit the percentile interval has no width; Wilson's stands in for it, which takes what
    lies in one picture for independent.
    """
    counts = np.array([group for group in groups if group[1]], np.int64).reshape(-1, 2)
    hits, n = (int(value) for value in counts.sum(axis=0))
    if hits in {0, n}:
        return wilson(hits, n)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (RESAMPLES, len(counts)))
    sums = counts[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    return Share(hits, n, float(low), float(high))
