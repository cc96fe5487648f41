"""Total order of points under several objectives: non-dominated fronts, well spread points first inside a front."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import moocore
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, objectives), every column to be minimised
Order = NDArray[np.int64]
LONG = 512  # points of a front from which on it is ordered by cells: farthest-first, it would take the square of that
STEP_BITS = 16
STEPS = (
    2.0**STEP_BITS
)  # from 0 to 1 of a scaled objective; sums and squared distances are rounded to 1 / STEPS^2


def ahead(front: Points, own: int, *, ratios: Sequence[int] = ()) -> Order:
    """Return which of the distinct points of one front stand before row `own`, well spread ones before a crowd.

    A front of up to 511 points is ordered farthest first, a longer one by cells. Neither hangs on the order of the rows.

    Args:
        front: distinct points, none of which dominates another.
        own: row.
        ratios: columns that are scaled by their logarithm, see `farthest_first`.
    """
    if len(front) < LONG:
        return farthest_first(front, ratios=ratios, until=own)[:-1]
    return ahead_by_cells(front, own, ratios=ratios)


def ahead_by_cells(front: Points, own: int, *, ratios: Sequence[int] = ()) -> Order:
    """Return which points stand before row `own` where the best of every cell comes first, of ever finer cells.

    The box of the scaled front is halved along all objectives again and again; a cell that holds points has one that stands for
    it (the boxes of Laumanns et al. 2002, doi 10.1162/106365602760234108), the one with the smallest sum, which also stands for a
    cell within at every finer level. So first come those that stand for the coarsest cells, and nobody is farther from one of
    them than the diagonal of a cell. Cells of one level come in an order of chance that hangs on their places alone. The work is
    that of sorting.

    Args:
        front: distinct points.
        own: row.
        ratios: see `farthest_first`.
    """
    steps = Scale.of(front, ratios).steps(front)
    order = _smallest_sum_first(front, sums(steps))
    place, levels = int(np.flatnonzero(order == own)[0]), min(STEP_BITS, 62 // len(steps))
    if place == 0:
        return order[:0]
    cells = np.minimum(np.rint(steps[:, order]).astype(np.int64), 2**STEP_BITS - 1) >> (STEP_BITS - levels)
    apart = np.bitwise_or.reduce(cells[:, :place] ^ cells[:, place, None], axis=0)
    level = (
        levels - int(apart.min()).bit_length() + 1
    )  # the coarsest at which it shares a cell with nobody before it
    before = _standing(_names(cells, levels, level - 1))
    if level > levels:  # it stands for nothing
        before[:place] = True
    else:
        names = _names(cells, levels, level)
        turns = _by_chance(names)
        before |= _standing(names) & (turns < turns[place])
    return order[before]


def _smallest_sum_first(front: Points, totals: Points) -> Order:
    """Return the order of rows by their sums, of equal ones the lexicographically smaller first."""
    order = np.argsort(totals)
    if (np.diff(totals[order]) == 0).any():
        return np.lexsort((*front.T[::-1], totals))
    return order


def _names(cells: Order, levels: int, level: int) -> Order:
    """Return the names of cells, (N,), at a coarser level: the upper bits of their numbers, (objectives, N), side by side."""
    shifts = level * np.arange(len(cells))[:, None]
    return np.asarray(((cells >> (levels - level)) << shifts).sum(axis=0), dtype=np.int64)


def _standing(names: Order) -> NDArray[np.bool_]:
    """Return which places are the first of their name."""
    first = np.zeros(len(names), dtype=np.bool_)
    first[np.unique(names, return_index=True)[1]] = True
    return first


def _by_chance(names: Order) -> NDArray[np.uint64]:
    """Return numbers without pattern, a different one for each name (the finaliser of MurmurHash3, which can be undone)."""
    mixed = names.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(33)))


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
    return np.asarray(canonical[visited(steps, last=last)], dtype=np.int64)


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


def visited(steps: Points, *, last: int = -1) -> list[int]:
    """Return the farthest-first order of points in their lexicographic order.

    Args:
        steps: (objectives, N).
        last: point after which the order may end.
    """
    points = list(steps.T[:, :, None])
    nearest = np.full(len(points), np.inf)  # squared distance to the points taken, in grains
    apart, distances = np.empty_like(steps), np.empty_like(nearest)
    taken = [int(sums(steps).argmin())]
    while len(taken) < len(points) and taken[-1] != last:
        np.subtract(steps, points[taken[-1]], out=apart)
        np.multiply(apart, apart, out=apart)
        np.rint(np.add.reduce(apart, out=distances), out=distances)
        np.minimum(nearest, distances, out=nearest)
        nearest[taken[-1]] = -1.0
        taken.append(int(nearest.argmax()))
    return taken


def sums(steps: Points) -> Points:
    """Return the sum of the scaled objectives of points, in grains, (N,)."""
    return np.asarray(np.rint(np.add.reduce(steps) * STEPS))


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
    before = front[ahead(distinct[front], int(np.flatnonzero(front == own)[0]), ratios=ratios)]
    return int(counts[fronts < fronts[own]].sum() + counts[before].sum())


def _spread(points: Points, logarithms: Sequence[int]) -> Points:
    """Return points, (N, objectives), with the logarithms of some columns."""
    spread = points.copy()
    for column in logarithms:
        spread[:, column] = np.log(spread[:, column])
    return spread
