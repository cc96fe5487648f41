"""Where points come from: the proposer, and what follows once it only repeats itself."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import final

from search.searchers.base import Proposer, Values
from spaces.domains import Choice, Domain, Int

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
            return (
                ""
                if self._left
                else f"nothing new is left of the {size(self._proposer.domains)} points of the space"
            )
        if self._known_in_row < MAX_KNOWN:
            return ""
        return f"the last {MAX_KNOWN} proposals were all known: next to nothing new is left"

    def take(self, index: int) -> Values:
        """Return a point; not to be called once `exhausted`.

        Args:
            index: number of the proposal.
        """
        if self._sweep is None and self._known_in_row >= SWEEP_AFTER:
            points = size(self._proposer.domains)
            if points is not None and points <= SMALL:
                self._sweep, self._left = every_point(self._proposer.domains), points
        if self._sweep is not None:
            self._left -= 1
            return next(self._sweep)
        return self._proposer.propose(index, explore=self._known_in_row >= EXPLORE_AFTER)

    def note(self, *, known: bool) -> None:
        """Take note of whether the last point was that of a known candidate."""
        self._known_in_row = self._known_in_row + 1 if known else 0


def size(domains: Mapping[str, Domain]) -> int | None:
    """Return how many points a space of options and whole numbers has, None for any other."""
    if not all(isinstance(domain, Choice | Int) for domain in domains.values()):
        return None
    return math.prod(len(domain.members()) + bool(domain.zero) for domain in domains.values())


def every_point(domains: Mapping[str, Domain]) -> Iterator[Values]:
    """Yield the points of such a space, the last path changing fastest."""
    for point in itertools.product(*(list(domain.values()) for domain in domains.values())):
        yield dict(zip(domains, point, strict=True))
