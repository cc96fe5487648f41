"""Weighted sums of means with their 95 % intervals: is a difference more than chance?

Each mean has a variance of its own (Welch 1947, Biometrika 34); the degrees of freedom are those of Satterthwaite (1946,
Biometrics Bulletin 2). Seeds of different settings share nothing but their number, so nothing is paired.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
_STEPS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its two-sided 95 % interval, (-inf, inf) where a mean has fewer than two values.

    Attributes:
        estimate: NaN where a mean has no value.
    """

    estimate: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval says anything."""
        return math.isfinite(self.estimate) and math.isfinite(self.low) and math.isfinite(self.high)


def contrast(weighted: Sequence[tuple[float, Sequence[float]]]) -> Interval:
    """Return a sum of weighted means.

    Args:
        weighted: weight and values of each mean, e.g. `[(1, a), (-1, b)]` for how much better a is than b.
    """
    if not all(values for _, values in weighted):
        return Interval(estimate=math.nan, low=-math.inf, high=math.inf)
    estimate = sum(weight * statistics.fmean(values) for weight, values in weighted)
    if any(len(values) < 2 for _, values in weighted):
        return Interval(estimate=estimate, low=-math.inf, high=math.inf)
    parts = [
        (weight**2 * statistics.variance(values) / len(values), len(values) - 1)
        for weight, values in weighted
    ]
    total = sum(variance for variance, _ in parts)
    if total == 0.0:
        return Interval(estimate=estimate, low=estimate, high=estimate)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    half = quantile(freedom) * math.sqrt(total)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half)


def quantile(freedom: float) -> float:
    """Return the t of which Student's distribution has 95 % between -t and t; `freedom` >= 1 need not be whole.

    With t = sqrt(freedom) tan(angle), that share is the integral of cos(angle)^(freedom - 1) over that to a right angle.
    """
    share = _share(math.pi / 2, freedom)
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(middle, freedom) < LEVEL * share else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _share(angle: float, freedom: float) -> float:
    """Return the integral of cos^(freedom - 1) from 0 to an angle, by Simpson's rule."""
    grid = np.linspace(0.0, angle, 2 * _STEPS + 1)
    heights = np.maximum(np.cos(grid), 0.0) ** (freedom - 1.0)
    weights = np.ones(len(grid))
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return float((heights * weights).sum() * (grid[1] - grid[0]) / 3.0)
