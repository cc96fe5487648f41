"""Ranks in a rung that grows: the fronts are kept up to date instead of being sorted anew for each newcomer."""

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from search.schedulers.rank import ahead

Places = NDArray[np.int64]  # of distinct points, in the order in which they came
Flags = NDArray[np.bool_]


@final
class GrowingRank:
    """Points that come one by one, all objectives minimised, and the rank of each: that of `rank_of`, faster.

    A newcomer's front is the one behind its last dominator. Of the points that it dominates, those of its own
    front move one front back, then those of the next front that these dominate, and so on (the efficient
    non-domination level update, Li et al. 2017, IEEE Trans. Cybernetics 47(9), section III).
    """

    def __init__(self, num_objectives: int, *, ratios: Sequence[int] = ()) -> None:
        """Begin with no points; `ratios` as in `farthest_first`."""
        self._ratios = ratios
        self._columns = np.empty((num_objectives, 64))
        self._counts = np.zeros(64, dtype=np.int64)
        self._fronts = np.zeros(64, dtype=np.int64)
        self._places: dict[tuple[float, ...], int] = {}
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
        front = np.flatnonzero(fronts == fronts[own])
        # its row there: places rise
        row = int(np.searchsorted(front, own))
        before = front[ahead(self._columns[:, front].T, row, ratios=self._ratios)]
        return int(counts[fronts < fronts[own]].sum() + counts[before].sum())

    def is_dominated(self, point: Sequence[float]) -> bool:
        """Return whether a point dominates one that was entered and is finite."""
        return bool(self._fronts[self._places[tuple(point)]] > 0)

    def _enter(self, key: tuple[float, ...]) -> None:
        """Add a point unlike all others and bring the fronts up to date."""
        size = len(self._places)
        if size == len(self._counts):
            self._columns = np.hstack([self._columns, np.empty_like(self._columns)])
            self._counts, self._fronts = (np.append(old, old * 0) for old in (self._counts, self._fronts))
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
