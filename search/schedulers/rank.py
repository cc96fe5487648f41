"""Total order of points under several objectives: non-dominated fronts, farthest-first inside a front."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import moocore
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, objectives), every column to be minimised
Order = NDArray[np.int64]
STEPS = (
    2.0**16
)  # from 0 to 1 of a scaled objective; sums and squared distances are rounded to 1 / STEPS^2, a grain


def farthest_first(front: Points, *, ratios: Sequence[int] = (), until: int | None = None) -> Order:
    """Return the order in which to visit the distinct points of one front, well spread ones first.

    Starts at the smallest sum of the objectives scaled to [0, 1] within the front, then takes again and again
    the point farthest from all taken (the epsilon-net order of Schmucker et al. 2021, arXiv 2106.12639,
    section 4). Costs are spread by their ratios: between 1 and 2 million parameters lies as much as between 50
    and 100 million, where the plain difference would see all small students as a crowd.

    Sums and squared distances are rounded to 2^-32, so that the rounding error of another unit decides no tie; ties
    fall to the lexicographically smaller point, so that the order of the rows decides none either.

    Args:
        front: distinct points.
        ratios: columns that are scaled by their logarithm, where all of the front is above 0.
        until: row after which the order may end; None gives all of it.
    """
    canonical = np.lexsort(front.T[::-1])
    steps = Scale.of(front, ratios).steps(front[canonical])
    last = -1 if until is None else int(np.flatnonzero(canonical == until)[0])
    return np.asarray(canonical[visited(steps, last=last)[0]], dtype=np.int64)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How the objectives of one front are scaled to [0, 1].

    Attributes:
        logarithms: columns that are spread by their ratios.
        low: of each objective, (objectives,), of those columns its logarithm.
        span: from the lowest to the highest, 1 where all are equal.
    """

    logarithms: tuple[int, ...]
    low: Points
    span: Points

    @classmethod
    def of(cls, front: Points, ratios: Sequence[int]) -> "Scale":
        """Return the scale of a front."""
        logarithms = tuple(column for column in ratios if (front[:, column] > 0).all())
        spread = _spread(front, logarithms)
        low, high = spread.min(axis=0), spread.max(axis=0)
        return cls(logarithms=logarithms, low=low, span=np.where(high > low, high - low, 1.0))

    def steps(self, points: Points) -> Points:
        """Return points in steps, (objectives, N): a squared distance of 1 is then one grain."""
        scaled = (_spread(points, self.logarithms) - self.low) / self.span
        return np.asarray((scaled * STEPS).T.copy())


def visited(steps: Points, *, last: int = -1) -> tuple[list[int], list[float]]:
    """Return the farthest-first order of points in their lexicographic order, and how far each was from those before.

    Args:
        steps: (objectives, N).
        last: point after which the order may end.

    Returns:
        The order, and squared distances in grains, never rising, infinite of the first.
    """
    first = steps[0].tolist()  # rising: only a slice of it lies within reach of a point
    nearest = np.full(len(first), np.inf)  # squared distance to the points taken, in grains
    taken, radii = [int(sums(steps).argmin())], [math.inf]
    while len(taken) < len(first) and taken[-1] != last:
        new = taken[-1]
        # farther off in one objective than any point is from the taken ones: nothing changes there
        reach = math.sqrt(radii[-1] + 1.0)
        near = slice(bisect_left(first, first[new] - reach), bisect_right(first, first[new] + reach))
        np.minimum(nearest[near], distances(steps[:, near], steps[:, new, None]), out=nearest[near])
        nearest[new] = -1.0
        taken.append(int(nearest.argmax()))
        radii.append(float(nearest[taken[-1]]))
    return taken, radii


def sums(steps: Points) -> Points:
    """Return the sum of the scaled objectives of points, in grains, (N,)."""
    return np.rint(_total(steps) * STEPS)


def distances(some: Points, others: Points) -> Points:
    """Return squared distances in grains between points, both (objectives, ...), as far as they broadcast."""
    apart = some - others
    apart *= apart
    return np.rint(_total(apart))


def rank_of(points: Sequence[Sequence[float]], index: int, *, ratios: Sequence[int] = ()) -> int:
    """Return how many points stand before point `index`; 0 is the best, all objectives minimised.

    Whole fronts follow one another (Deb et al. 2002, non-dominated sorting), so a point never stands behind
    one that it dominates; inside a front the order is `farthest_first`. Equal points share the place of the
    first of them. A point with a value that is not finite stands behind all finite ones. The rank does not
    depend on the order of the points.

    This is the definition; `GrowingRank` gives the same rank faster.
    """
    table = np.asarray(points, dtype=np.float64)
    finite = np.asarray(np.isfinite(table).all(axis=1))
    if not finite[index]:
        return int(finite.sum())
    distinct, counts = np.unique(table[finite], axis=0, return_counts=True)
    own = int(np.flatnonzero((distinct == table[index]).all(axis=1))[0])
    fronts = moocore.pareto_rank(distinct)
    front = np.flatnonzero(fronts == fronts[own])
    order = front[farthest_first(distinct[front], ratios=ratios)]
    ahead = order[: int(np.flatnonzero(order == own)[0])]
    return int(counts[fronts < fronts[own]].sum() + counts[ahead].sum())


def _spread(points: Points, logarithms: Sequence[int]) -> Points:
    """Return points, (N, objectives), with the logarithms of some columns."""
    spread = points.copy()
    for column in logarithms:
        spread[:, column] = np.log(spread[:, column])
    return spread


def _total(terms: Points) -> Points:
    """Return the sums over objectives of (objectives, N), added in a fixed order and so always the same."""
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total
