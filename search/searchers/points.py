"""Where points come from: the proposer, and what follows once it only repeats itself."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import final

from search.searchers.base import Proposer, Values
from spaces.conditions import Conditions, active
from spaces.domains import Choice, Domain, Int, Scalar

EXPLORE_AFTER = 8  # known points in a row after which the proposer must draw from the whole space
SWEEP_AFTER = 100  # known points in a row after which those of a small space are taken one by one
MAX_KNOWN = 500  # known points in a row after which a larger space counts as exhausted
SMALL = 10_000  # points of a space that can be swept; to build so many candidates takes seconds


@final
class PointSource:
    """Hands out a proposer's points; when next to none is new, every point of a small space.

    Random draws alone would miss the last points: of 432, with one left, 500 draws do in a third of the cases.
    """

    def __init__(self, proposer: Proposer) -> None:
        """Take the proposer."""
        self._proposer = proposer
        self._known_in_row = 0
        self._sweep: Iterator[Values] | None = None
        self._left = 0

    @property
    def exhausted(self) -> str:
        """Why no new point is to be expected, as a clause for the user; "" while one is."""
        if self._sweep is not None:
            return "" if self._left else f"nothing new is left of the {self._size} points of the space"
        if self._known_in_row < MAX_KNOWN:
            return ""
        return f"the last {MAX_KNOWN} proposals were all known: next to nothing new is left"

    def take(self, index: int) -> Values:
        """Return a point; not to be called once `exhausted`.

        Args:
            index: number of the proposal.
        """
        if self._sweep is None and self._known_in_row >= SWEEP_AFTER and self._size is not None:
            self._sweep = every_point(self._proposer.domains, self._proposer.conditions)
            self._left = self._size
        if self._sweep is not None:
            self._left -= 1
            return next(self._sweep)
        return self._proposer.propose(index, explore=self._known_in_row >= EXPLORE_AFTER)

    def note(self, *, known: bool) -> None:
        """Take note of whether the last point was that of a known candidate."""
        self._known_in_row = self._known_in_row + 1 if known else 0

    @cached_property
    def _size(self) -> int | None:
        return size(self._proposer.domains, self._proposer.conditions)


def size(domains: Mapping[str, Domain], conditions: Conditions) -> int | None:
    """Return how many different points a space has: those that differ in what counts; None for more than can be swept.

    A space with a range of real numbers has no number of points.
    """
    if not all(isinstance(domain, Choice | Int) for domain in domains.values()):
        return None
    if not conditions:
        count = math.prod(domain.count() for domain in domains.values())
    else:
        count = sum(1 for _ in itertools.islice(every_point(domains, conditions), SMALL + 1))
    return count if count <= SMALL else None


def every_point(domains: Mapping[str, Domain], conditions: Conditions) -> Iterator[Values]:
    """Yield the points of such a space that differ in what counts, the last path changing fastest.

    What does not count at a point has the first value of its domain there.
    """
    return _extended({}, _ordered(list(domains), conditions), domains, conditions)


def _extended(
    values: dict[str, Scalar], rest: Sequence[str], domains: Mapping[str, Domain], conditions: Conditions
) -> Iterator[Values]:
    """Yield all points that begin with these values."""
    if not rest:
        yield {path: values[path] for path in domains}
        return
    path, options = rest[0], domains[rest[0]].values()  # of a huge range one value at a time
    if path not in active({**values, path: 0}, conditions):
        options = itertools.islice(options, 1)
    for option in options:
        yield from _extended({**values, path: option}, rest[1:], domains, conditions)


def _ordered(paths: list[str], conditions: Conditions) -> list[str]:
    """Return the paths, each behind those that its conditions look at."""
    found: list[str] = []

    def put(path: str, below: tuple[str, ...] = ()) -> None:
        if path in found or path in below or path not in paths:
            return
        for one in conditions.get(path, ()):
            put(one.path, (*below, path))
        found.append(path)

    for path in paths:
        put(path)
    return found
