"""A share with its interval: how every measurement states its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
RESAMPLES = 4000
"""Bootstrap samples: their 2.5 % quantile rests on a hundred of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n` with Wilson's score interval (E. B. Wilson, JASA 22, 1927): low, high."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """hits / n; 0 when nothing was counted."""
        return self.hits / self.n if self.n else 0.0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


def wilson(hits: int, n: int, z: float = Z_95) -> Share:
    """Share of `hits` in `n` with its interval. Raises ValueError unless 0 <= hits <= n; n = 0 gives [0, 1]."""
    if not 0 <= hits <= n:
        raise ValueError("hits must lie in 0..n")
    if n == 0:
        return Share(0, 0, 0.0, 1.0)
    share, square = hits / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    # Rounding may push a bound beyond the share itself.
    return Share(hits, n, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


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
