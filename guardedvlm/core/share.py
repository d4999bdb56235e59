"""A share with its interval: how every measurement states its result."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


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
