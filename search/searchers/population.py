"""A small population under constrained non-dominated sorting, one newcomer at a time."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import moocore
import numpy as np
from numpy.typing import NDArray

from search.searchers.base import Values
from search.searchers.fidelity import Reached

Standing = tuple[int, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A candidate that may have offspring.

    Attributes:
        index: number of its proposal.
        key: equal for equal candidates.
        values: path -> value.
        reached: its objectives; None for a refused one.
        violation: how far beyond the limits a refused one lies; 0 for all others.
    """

    index: int
    key: tuple[object, ...]
    values: Values
    reached: Reached | None = None
    violation: float = 0.0


def crowding_distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far apart the neighbours of each point of one front lie, objective by objective, (N,).

    Deb et al. 2002, section III-B: the sum over the objectives of the gap between the two neighbours, in parts of the
    front's range; infinite at the ends. An objective in which all are equal has no ends.
    """
    if len(points) < 3 or not np.ptp(points, axis=0).any():
        return np.full(len(points), np.inf)
    total = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        span = ordered[-1] - ordered[0]
        if span > 0:
            total[order[[0, -1]]] = np.inf
            total[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
    return total


@final
class Population:
    """The best feasible candidates so far, and the refused ones nearest to the limits.

    Its size is bounded, so that neither time nor memory grow with the search.
    """

    def __init__(self, size: int, point: Callable[[Reached], tuple[float, ...]]) -> None:
        """Take the size and how a member's objectives are read."""
        self._size, self._point = size, point
        self._feasible: list[Member] = []
        self._refused: list[Member] = []

    @property
    def full(self) -> bool:
        """Whether no more refused candidates are needed as parents."""
        return len(self._feasible) >= self._size

    def add(self, member: Member) -> None:
        """Take in a candidate, in the place of an equal one.

        Beyond the size, the most crowded of the last front leaves, or the refused one farthest beyond the limits.
        """
        if member.reached is not None:
            self._feasible = [one for one in self._feasible if one.key != member.key] + [member]
            if len(self._feasible) > self._size:
                self._feasible.pop(self._worst())
        else:
            self._refused = [one for one in self._refused if one.key != member.key] + [member]
            self._refused.sort(key=lambda one: (one.violation, one.index))
            del self._refused[self._size :]

    def parents(self) -> list[tuple[Member, Standing]]:
        """Return the candidates that may have offspring, each with its standing: the smaller, the better.

        The feasible ones stand by (0, rank, -crowding). While they are few, refused ones fill up the place, behind all of
        them, by (1, violation, 0): constraint domination, Deb et al. 2002, section VI-A.
        """
        ranks, crowding = self._standing()
        pool = [
            (member, (0, float(rank), -float(crowd)))
            for member, rank, crowd in zip(self._feasible, ranks, crowding, strict=True)
        ]
        missing = self._size - len(self._feasible)
        return pool + [(member, (1, member.violation, 0.0)) for member in self._refused[:missing]]

    def _standing(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rank of each feasible member, 0 for the first front, and its crowding inside its front."""
        if not self._feasible:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        points = np.asarray([self._point(one.reached) for one in self._feasible if one.reached])
        ranks = np.asarray(moocore.pareto_rank(points), dtype=np.int64)
        crowding = np.zeros(len(points))
        for rank in range(int(ranks.max()) + 1):
            front = np.flatnonzero(ranks == rank)
            crowding[front] = crowding_distance(points[front])
        return ranks, crowding

    def _worst(self) -> int:
        """Return the place of the most crowded member of the last front, the oldest among equals."""
        ranks, crowding = self._standing()
        return min(range(len(ranks)), key=lambda place: (-ranks[place], crowding[place], place))


def tournament(pool: list[tuple[Member, Standing]], rng: random.Random) -> Member:
    """Return the better of two random candidates (crowded comparison, Deb et al. 2002, section III-B)."""
    first, second = rng.choice(pool), rng.choice(pool)
    return first[0] if first[1] <= second[1] else second[0]
