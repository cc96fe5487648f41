"""Ranks in a rung that grows: the fronts are kept up to date instead of being sorted anew for each newcomer."""

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from search.schedulers.rank import farthest_first
from search.schedulers.spread_order import SpreadOrder

Places = NDArray[np.int64]  # of distinct points, in the order in which they came
Flags = NDArray[np.bool_]
NOWHERE = -1
KEPT = 512  # points of a front from which on its order is kept; a smaller one is ordered anew in 3 ms


@final
class GrowingRank:
    """Points that come one by one, all objectives minimised, and the rank of each: that of `rank_of`, faster.

    A newcomer's front is the one behind its last dominator. Of the points that it dominates, those of its own
    front move one front back, then those of the next front that these dominate, and so on (the efficient
    non-domination level update, Li et al. 2017, IEEE Trans. Cybernetics 47(9), section III). A front's order
    is kept from one question to the next, and brought up to date by the points that came and went.
    """

    def __init__(self, num_objectives: int, *, ratios: Sequence[int] = ()) -> None:
        """Begin with no points; `ratios` as in `farthest_first`."""
        self._ratios = ratios
        self._columns = np.empty((num_objectives, 64))
        self._counts = np.zeros(64, dtype=np.int64)
        self._fronts = np.zeros(64, dtype=np.int64)
        self._places: dict[tuple[float, ...], int] = {}
        self._orders: dict[int, SpreadOrder] = {}
        self._in_order = np.full(64, NOWHERE)  # in which of them a point was last
        self._num_unusable = 0
        self._num = 0

    def __len__(self) -> int:
        """Return how many points came, those that are not finite included."""
        return self._num + self._num_unusable

    def add(self, point: Sequence[float]) -> None:
        """Enter a point."""
        if not all(map(math.isfinite, point)):
            self._num_unusable += 1
            return
        self._num += 1
        key = tuple(point)
        if key not in self._places:
            self._enter(key)
        self._counts[self._places[key]] += 1

    def rank(self, point: Sequence[float]) -> int:
        """Return how many points stand before a point that was entered; 0 is the best.

        Raises:
            KeyError: it is finite and was never entered.
        """
        if not all(map(math.isfinite, point)):
            return self._num
        own, size = self._places[tuple(point)], len(self._places)
        fronts, counts = self._fronts[:size], self._counts[:size]
        ahead = self._ahead(own, np.flatnonzero(fronts == fronts[own]))
        return int(counts[fronts < fronts[own]].sum() + counts[ahead].sum())

    def is_dominated(self, point: Sequence[float]) -> bool:
        """Return whether a point dominates one that was entered and is finite."""
        return bool(self._fronts[self._places[tuple(point)]] > 0)

    def _ahead(self, own: int, front: Places) -> Places:
        """Return who stands before a point in its front."""
        if len(front) < KEPT:
            until = int(np.searchsorted(front, own))
            order = farthest_first(self._columns[:, front].T, ratios=self._ratios, until=until)
            return np.asarray(front[order[:-1]])
        known, sizes = np.unique(self._in_order[front], return_counts=True)
        sizes[known == NOWHERE] = 0
        name = int(
            known[sizes.argmax()]
        )  # a front has the order that most of it was in, whatever its number was then
        if name == NOWHERE:
            name = min(set(range(len(self._orders) + 1)) - set(self._orders))
            self._orders[name] = SpreadOrder(self._ratios)
        self._in_order[self._in_order == name] = NOWHERE
        self._in_order[front] = name
        for left in set(known.tolist()) & set(self._orders):
            if not (self._in_order == left).any():
                del self._orders[left]
        return self._orders[name].ahead(own, front, self._columns)

    def _enter(self, key: tuple[float, ...]) -> None:
        """Add a point unlike all others and bring the fronts up to date."""
        size = len(self._places)
        if size == len(self._counts):
            self._columns = np.hstack([self._columns, np.empty_like(self._columns)])
            self._counts, self._fronts = (np.append(old, old * 0) for old in (self._counts, self._fronts))
            self._in_order = np.append(self._in_order, np.full(size, NOWHERE))
        point = np.asarray(key)
        others, fronts = self._columns[:, :size], self._fronts[:size]
        # it equals none of them, so being nowhere worse is dominance
        dominators = (others <= point[:, None]).all(axis=0)
        own = int(fronts[dominators].max(initial=-1)) + 1
        self._push_back(np.asarray((others >= point[:, None]).all(axis=0)), own)
        self._columns[:, size], self._fronts[size] = point, own
        self._places[key] = size

    def _push_back(self, dominated: Flags, level: int) -> None:
        """Move back whom a newcomer of front `level` drives out, directly or through others that it dominates."""
        fronts = self._fronts[: len(dominated)]
        moving, arrived = np.flatnonzero(dominated & (fronts == level)), np.empty(0, dtype=np.int64)
        while len(moving):
            if len(moving) == np.count_nonzero(fronts == level) - len(arrived):
                fronts[fronts >= level] += 1  # the whole front moves, and so does all that stands behind it
                fronts[arrived] = level
                return
            next_front = np.flatnonzero(dominated & (fronts == level + 1))
            driven = next_front[self._any_dominates(moving, next_front)]
            fronts[moving] = level + 1
            moving, arrived, level = driven, moving, level + 1

    def _any_dominates(self, some: Places, others: Places) -> Flags:
        """Return which of the others at least one of some dominates; no two points are equal."""
        found = np.ones((len(some), len(others)), dtype=np.bool_)
        for column in self._columns:
            found &= column[some, None] <= column[None, others]
        return np.asarray(found.any(axis=0))
