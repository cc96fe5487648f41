"""The farthest-first order of a front that changes: a point that comes or goes moves few others, and only those are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from search.schedulers.rank import Points, Scale, distances, farthest_first, sums, visited

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
FEW = (
    256  # one point of so many may have changed since the last question, at least one: then the order is kept
)
MOVED = (
    64  # points that one change may move, and be compared with at once; beyond, ordering anew is no slower
)
BESIDE = 512


@final
class SpreadOrder:
    """The order of `farthest_first`, kept up to date from one question to the next where few points came or went.

    A point's radius is its squared distance to the nearest of those before it, in grains. Radii never rise along the order,
    and of equal ones the lexicographically smaller point comes first, so radius and point tell the place, and an order
    changes where radii do. The points are scaled by the front's range: where that moves, all is ordered anew.
    """

    def __init__(self, ratios: Sequence[int]) -> None:
        """Begin with no points; `ratios` as in `farthest_first`."""
        self._ratios = ratios
        self._places = np.empty(0, dtype=np.int64)  # in their order, once there is one
        self._ordered = False

    def ahead(self, own: int, front: Places, columns: Points) -> Places:
        """Return who stands before a point.

        Args:
            own: its place.
            front: places of all points that the front has by now, rising.
            columns: the points of all places, (objectives, N).
        """
        gone = self._places[~np.isin(self._places, front, assume_unique=True)]
        come = front[~np.isin(front, self._places, assume_unique=True)]
        if len(gone) + len(come) > max(1, len(front) // FEW):
            self._places, self._ordered = front, False
            until = int(np.searchsorted(front, own))
            order = farthest_first(columns[:, front].T, ratios=self._ratios, until=until)
            return np.asarray(front[order[:-1]])
        if not self._ordered or not self._follow(gone, come, columns[:, front], columns):
            self._begin(front, columns[:, front].T)
        return self._places[: int(np.flatnonzero(self._places == own)[0])]

    def _begin(self, places: Places, points: Points) -> None:
        """Order points, (N, objectives)."""
        canonical = np.lexsort(points.T[::-1])
        self._scale = Scale.of(points, self._ratios)
        self._range = (points.min(axis=0), points.max(axis=0))
        steps = self._scale.steps(points[canonical])
        taken, radii = visited(steps)
        self._places, self._ordered = places[canonical[taken]], True
        self._steps, self._radii = steps[:, taken], np.asarray(radii)
        self._ranks = np.asarray(taken, dtype=np.int64)  # lexicographic ones

    def _follow(self, gone: Places, come: Places, front: Points, columns: Points) -> bool:
        """Bring the order up to date; return whether that was possible, else it is of no more use.

        Args:
            gone: places that left the front.
            come: places that are new there.
            front: the points that it has by now, (objectives, N).
            columns: the points of all places.
        """
        low, high = self._range
        if (front.min(axis=1) != low).any() or (front.max(axis=1) != high).any():
            return False
        return all(self._remove(place) for place in gone) and all(self._enter(one, columns) for one in come)

    def _remove(self, place: np.int64) -> bool:
        """Take a point out; return whether that was possible."""
        column = int(np.flatnonzero(self._places == place)[0])
        if column == 0:
            return False
        change = Change(self._steps, self._radii, self._ranks)
        return change.leave(column) and self._take(change, drop=column)

    def _enter(self, place: np.int64, columns: Points) -> bool:
        """Put a point in; return whether that was possible."""
        steps = self._scale.steps(columns[:, place][None])
        less = _less(columns[:, self._places], columns[:, place])
        rank = int(self._ranks[less].max(initial=-1)) + 1
        total, first = sums(steps)[0], sums(self._steps[:, :1])[0]
        if total < first or (total == first and not less[0]):
            return False
        self._ranks[~less] += 1  # all that are not less are greater: the points are distinct
        change = Change(self._steps, self._radii, self._ranks)
        if not change.come(steps, rank):
            return False
        self._places = np.append(self._places, place)
        self._steps = np.hstack([self._steps, steps])
        self._radii, self._ranks = np.append(self._radii, 0.0), np.append(self._ranks, rank)
        return self._take(change)

    def _take(self, change: "Change", *, drop: int = -1) -> bool:
        """Put the points that a change moved into their new places."""
        order = change.order(drop)
        for one in change.settled:
            self._radii[one.column] = one.radius
        self._places, self._steps = self._places[order], self._steps[:, order]
        self._radii, self._ranks = self._radii[order], self._ranks[order]
        return True


def _less(columns: Points, point: Points) -> Flags:
    """Return which points, (objectives, N), are lexicographically less than a point, (objectives,)."""
    less, equal = np.zeros(columns.shape[1], dtype=np.bool_), np.ones(columns.shape[1], dtype=np.bool_)
    for column, value in zip(columns, point, strict=True):
        less |= equal & (column < value)
        equal &= column == value
    return less


@dataclass(slots=True, kw_only=True, eq=False)
class Open:
    """A point whose place is not settled.

    Attributes:
        column: its place in the old order, behind all for a newcomer.
        rank: lexicographic.
        row: its distances from all points of the old order.
        was: its old radius; below 0 once it has missed its old turn, and of a newcomer.
        cap: distance to the nearest of those settled.
        radius: that it would have, were nothing else settled before.
        before: column before which it would then stand.
    """

    column: int
    rank: int
    row: Points
    was: float
    cap: float = np.inf
    radius: float = 0.0
    before: int = 0

    @property
    def turn(self) -> tuple[float, int]:
        """When something happens to it: it is taken, or it misses its old turn."""
        return (-max(self.radius, self.was), self.rank)


@final
class Change:
    """What one point that came or went does to an order: both orders are walked through at the same pace, from the change on.

    Points have their old turns, unless they are open. A point is opened when one is taken, unlike before, that is nearer to it
    than its radius; or when one misses its old turn that kept it back. So between the turns of open points nothing is to be
    looked at.

    Attributes:
        settled: the points that were open, in their order.
    """

    def __init__(self, steps: Points, radii: Points, ranks: Places) -> None:
        """Take the old order: steps (objectives, N), radii and lexicographic ranks (N,)."""
        self._steps, self._radii, self._ranks = steps, radii, ranks
        self._absent = np.zeros(len(radii), dtype=np.bool_)  # has no turn in the old order, or not this one
        self._now = 1  # columns before it had their turns
        self._open: list[Open] = []
        self.settled: list[Open] = []

    def come(self, steps: Points, rank: int) -> bool:
        """Let a point come, (objectives, 1); return whether few were moved."""
        row = distances(self._steps, steps)
        newcomer = Open(column=len(row), rank=rank, row=row, was=-1.0)
        self._foresee(newcomer)
        self._open.append(newcomer)
        return self._walk()

    def leave(self, column: int) -> bool:
        """Let a point go; return whether few were moved."""
        self._absent[column], self._now = True, column + 1
        row = distances(self._steps, self._steps[:, column, None])
        return self._miss(row, float(self._radii[column])) and self._walk()

    def order(self, drop: int) -> Places:
        """Return the new order as columns of the old one, a newcomer's behind all; `drop` is left out."""
        kept = np.ones(len(self._radii), dtype=np.bool_)
        kept[[one.column for one in self.settled if one.column < len(kept)]] = False
        if drop >= 0:
            kept[drop] = False
        columns = np.flatnonzero(kept)
        where = np.searchsorted(columns, [one.before for one in self.settled])
        return np.asarray(np.insert(columns, where, [one.column for one in self.settled]), dtype=np.int64)

    def _walk(self) -> bool:
        """Settle all open points in turn; return False if they become many."""
        while self._open:
            if len(self._open) + len(self.settled) > MOVED:
                return False
            one = min(self._open, key=lambda each: each.turn)
            if one.radius >= one.was:
                few = self._settle(one)
            else:
                self._now, was, one.was = one.column + 1, one.was, -1.0
                few = self._miss(one.row, was)
            if not few:
                return False
        return True

    def _settle(self, one: Open) -> bool:
        """Take an open point, and open those that it keeps back; return False where these are many."""
        self._open.remove(one)
        self.settled.append(one)
        self._now = one.before
        for other in self._open:
            other.cap = min(other.cap, self._distance(one, other))
            if other.cap < other.radius:
                self._foresee(other)
        nearer = one.row[self._now :] < self._radii[self._now :]
        return self._open_all(self._now + np.flatnonzero(nearer & ~self._absent[self._now :]))

    def _miss(self, row: Points, radius: float) -> bool:
        """Let a point, of which the distances are given, miss its turn, and open those that it kept back.

        It kept nobody back who is farther from it than it was from those before it. Returns False where that leaves many.
        """
        near = self._now + np.flatnonzero((row[self._now :] <= radius) & ~self._absent[self._now :])
        if len(near) > BESIDE:
            return False
        if not len(near):
            return True
        rows = self._rows(near)
        caps = np.full(len(near), np.inf)
        for one in self.settled:
            caps = np.minimum(caps, one.row[near])
        ahead = self._ahead(rows, caps, self._ranks[near])[0]
        ahead &= np.arange(self._now, len(row)) <= near[:, None]
        return self._open_all(near[ahead.any(axis=1)])

    def _open_all(self, columns: Places) -> bool:
        """Open points that are not open yet; return False where they are many."""
        if not len(columns):
            return True
        if len(columns) > MOVED:
            return False
        self._absent[columns] = True
        for column, row in zip(columns.tolist(), self._rows(columns), strict=True):
            one = Open(column=column, rank=int(self._ranks[column]), row=row, was=float(self._radii[column]))
            one.cap = min((self._distance(other, one) for other in self.settled), default=np.inf)
            self._open.append(one)
        for one in self._open:
            if one.before >= columns[0] or not one.before:
                self._foresee(one)
        return True

    def _foresee(self, one: Open) -> None:
        """Set where an open point would stand, were nothing else settled before."""
        ahead, before = self._ahead(one.row[None], np.asarray([one.cap]), np.asarray([one.rank]))
        place = int(ahead[0].argmax()) if ahead.any() else ahead.shape[1]
        one.before, one.radius = self._now + place, float(before[0, place])

    def _ahead(self, rows: Points, caps: Points, ranks: Places) -> tuple[Flags, Points]:
        """Return before which columns, from the present one on, points would be taken, and their radii there and at the end.

        Args:
            rows: distances, (points, N).
            caps: of the points.
            ranks: of the points.
        """
        now = self._now
        rows = np.where(self._absent, np.inf, rows)
        radii = np.empty((len(rows), rows.shape[1] - now + 1))
        radii[:, 0] = np.minimum(rows[:, :now].min(axis=1), caps)
        radii[:, 1:] = rows[:, now:]
        np.minimum.accumulate(radii, axis=1, out=radii)
        nearest, turns = radii[:, :-1], self._radii[now:]
        ahead = (nearest > turns) | ((nearest == turns) & (ranks[:, None] < self._ranks[now:]))
        return ahead & ~self._absent[now:], radii

    def _rows(self, columns: Places) -> Points:
        """Return the distances of points of the old order from all of it, (points, N)."""
        return distances(self._steps[:, None, :], self._steps[:, columns, None])

    def _distance(self, one: Open, other: Open) -> float:
        """Return the distance between two open points, of which at most one is a newcomer."""
        return float(one.row[other.column] if other.column < len(one.row) else other.row[one.column])
