"""What stopped candidates would have reached at the end of their training."""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from search.proposal import to_minimise
from search.searchers.base import Outcome, Row
from spaces.objectives import COSTS, Objectives

MIN_FINISHED = 3  # finished candidates below which their median gain would be hearsay


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a measured candidate has got.

    Attributes:
        point: its last objectives, all to be minimised.
        share: how much of its training that took, as a fraction; 1 for a finished one.
    """

    point: tuple[float, ...]
    share: Fraction


@final
class FullFidelity:
    """Brings stopped candidates to full fidelity by what finished ones gained from the same point of training on.

    A stopped candidate's last value is worse than what it would have reached: taken as it is, a searcher would learn to
    keep away from whatever was stopped early; left out, it would learn nothing from most trials. So the median gain of
    the finished candidates that were measured at the same share of their training is added, objective by objective.
    Costs do not change by training.
    """

    def __init__(self, objectives: Objectives) -> None:
        """Take the objectives in the order of the points."""
        self._objectives = dict(objectives)
        self._trained = [place for place, name in enumerate(objectives) if name not in COSTS]
        self._gains: dict[tuple[Fraction, int], list[float]] = defaultdict(list)

    def reached(self, outcome: Outcome) -> Reached | None:
        """Return where a measured candidate has got to; None where an objective of it is not a finite number."""
        if outcome.last is None:
            return None
        point = self._point(outcome.last)
        return (
            Reached(point=point, share=_share(outcome.last, outcome.full_epochs)) if _finite(point) else None
        )

    def learn(self, outcome: Outcome) -> None:
        """Note what a finished candidate gained after each of its earlier rows; others teach nothing."""
        end = self.reached(outcome)
        if end is None or end.share != 1:
            return
        for row in outcome.rows[:-1]:
            share, point = _share(row, outcome.full_epochs), self._point(row)
            for place in self._trained if share < 1 else []:
                if math.isfinite(point[place]):
                    insort(self._gains[share, place], end.point[place] - point[place])

    def at_full(self, reached: Reached) -> tuple[float, ...]:
        """Return the point with the median gain added, as it is where fewer than three finished candidates tell it.

        Depends on the finished candidates learnt from so far, not on their order.
        """
        if reached.share == 1:
            return reached.point
        point = list(reached.point)
        for place in self._trained:
            gains = self._gains.get((reached.share, place), [])
            if len(gains) >= MIN_FINISHED:
                point[place] += (gains[(len(gains) - 1) // 2] + gains[len(gains) // 2]) / 2
        return tuple(point)

    def _point(self, row: Row) -> tuple[float, ...]:
        return tuple(to_minimise({name: row.get(name) for name in self._objectives}, self._objectives))


def _share(row: Row, full_epochs: int) -> Fraction:
    """Return the share of the training behind a row; 1 where nothing says that it was less."""
    epoch = row.get("epoch")
    if row.get("status") == "finished" or epoch is None or not full_epochs:
        return Fraction(1)
    return min(Fraction(int(epoch), full_epochs), Fraction(1))


def _finite(point: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in point)
