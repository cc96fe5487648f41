"""What guessing scores in a task, and how far above it a figure must stand to tell anything."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

ERRORS = 2.0  # standard errors
SHARE = 0.2  # of the level, or of what is left to 100 where that is less


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """What the best guess that looks at nothing scores.

    Attributes:
        level: of the metric that counts, in percent.
        count: of what is asked independently of one another: it says how exact a figure of this pool is.
    """

    level: float
    count: int

    @property
    def bound(self) -> float:
        """The figure, in percent, that has to be exceeded for more than a guess; see `bound_above`."""
        return bound_above(self.level, self.count)


def bound_above(level: float, count: int) -> float:
    """Return what a figure must exceed to stand clearly above a level, both in percent.

    The level, plus the larger of two margins: `ERRORS` standard errors of a share of `count` questions, sqrt(p (1 - p) / n),
    which a mean of nested hits such as the recalls at 1, 5 and 10 never exceeds; and `SHARE` of the level or of what is left
    above it, so that a large pool does not call a difference that is of no use a success.
    """
    share = min(max(level / 100.0, 0.0), 1.0)
    error = 100.0 * math.sqrt(share * (1.0 - share) / max(count, 1))
    return level + max(ERRORS * error, SHARE * 100.0 * min(share, 1.0 - share))


def most_frequent(said: Iterable[Hashable], *, total: int | None = None) -> float:
    """Return the share of the most frequent of some things, in percent; 0 of none.

    Args:
        said: the things.
        total: of how many they are, where those that are never right are left out; None: of them all.
    """
    counts = Counter(said)
    return 100.0 * max(counts.values()) / (counts.total() if total is None else total) if counts else 0.0


def first_hit(items: int, right: int, within: int) -> float:
    """Return the chance that one of `right` among `items` in random order is ahead of all but `within` - 1 of the others.

    That none is: the first `within` places hold others only, C(items - right, within) / C(items, within).
    """
    wrong = items - right
    if wrong < within:
        return 1.0
    return 1.0 - math.prod((wrong - place) / (items - place) for place in range(within))
