"""The hypervolume of a search that is still running, in per cent of a box that does not move."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import moocore
import numpy as np
from numpy.typing import NDArray

from spaces.objectives import COSTS, Objectives

Row = Mapping[str, Any]
Points = NDArray[np.float64]  # (N, objectives), 0 ideal to 1 worst
GROWS = ("finished", "stopped")  # how a candidate ended that the hypervolume is told of
WHOLE = 256  # points of a front beyond which only what a newcomer adds is computed: the whole takes 13 ms of a front of 3,000


@final
class TeacherBox:
    """The box between an ideal student and the worst corner: the teacher's costs, and no quality at all.

    Every objective runs from 0, the ideal, to 1. A quality's ideal is the teacher's value and its worst 0 (one that is
    minimised: 0, and twice the teacher's value); a cost's ideal is 0 and its worst the teacher's. A student beyond the worst
    corner adds nothing. One that is better than the teacher reaches out of the box and counts in full: nothing is clipped
    there, so the volume goes on growing with such students, and may be more than the box.

    Attributes:
        ends: objective -> (ideal, worst).
    """

    def __init__(self, objectives: Objectives, teacher: Mapping[str, float]) -> None:
        """Take the corners.

        Args:
            objectives: all objectives of the search with their directions.
            teacher: its value of each objective. One without a positive value has no corner, and the box no volume.
        """
        self.ends: dict[str, tuple[float, float]] = {}
        for name, way in objectives.items():
            value = float(teacher.get(name, math.nan))
            worst = value if name in COSTS else 2 * value
            self.ends[name] = (value, 0.0) if way == "max" else (0.0, worst)

    @property
    def known(self) -> bool:
        """Whether every objective has two different ends."""
        return all(math.isfinite(ideal + worst) and ideal != worst for ideal, worst in self.ends.values())

    def point(self, row: Row) -> list[float] | None:
        """Return where a candidate lies, 0 ideal to 1 worst, below 0 beyond the ideal; None where one was not measured."""
        point = []
        for name, (ideal, worst) in self.ends.items():
            value = row.get(name)
            if value is None or not math.isfinite(value):
                return None
            point.append(min((float(value) - ideal) / (worst - ideal), 1.0))
        return point

    def percent(self, points: Points) -> float:
        """Return the volume that the points dominate, in per cent of the box.

        Zitzler and Thiele 1998, doi 10.1007/BFb0056872.
        """
        return 100.0 * float(moocore.hypervolume(points, ref=[1.0] * len(self.ends))) if len(points) else 0.0

    def gain(self, point: Points, front: Points) -> float:
        """Return what a point, (objectives,), adds to the volume of a front that does not dominate it, in per cent of the box.

        That is its own volume less what the front has of it, and few points of a front have a part of it that no other has
        (the exclusive hypervolume of While et al. 2012, doi 10.1109/TEVC.2010.2077298, section III).
        """
        within = np.maximum(front, point)
        within = within[(within < 1.0).all(axis=1)]
        if len(within):
            within = within[moocore.is_nondominated(within)]
        return self.percent(point[None]) - self.percent(within)


@dataclass(frozen=True, slots=True)
class Best:
    """The best value of one objective, and whose it is."""

    name: str
    value: float
    candidate_id: str


@final
class Growth:
    """How the hypervolume of a search grew, candidate by candidate in the order in which they ended.

    Attributes:
        best: of every objective, over finished candidates.
        series: (candidates finished, hypervolume in per cent of the box) after each of them.
    """

    def __init__(self, box: TeacherBox, objectives: Objectives) -> None:
        """Begin with no candidate."""
        self.best: dict[str, Best] = {}
        self.series: list[tuple[int, float]] = []
        self._box, self._objectives = box, dict(objectives)
        self._front: Points = np.empty((0, len(box.ends)))
        self._after_end: list[float] = []

    @property
    def percent(self) -> float | None:
        """The hypervolume now; None before a candidate is finished, or where the teacher's figures give no box."""
        return self.series[-1][1] if self.series else None

    def add(self, row: Row) -> None:
        """Take in a candidate that ended: one that was finished may add volume, one that was stopped adds none."""
        if row["status"] == "finished":
            self._note_best(row)
            point = self._box.point(row) if self._box.known else None
            if point is not None:
                self.series.append((len(self.series) + 1, self._with(np.asarray(point))))
        self._after_end.append(self.percent or 0.0)

    def _with(self, point: Points) -> float:
        """Take a point, (objectives,), into the front; return the volume with it."""
        front, before = self._front, self.percent or 0.0
        if (front <= point).all(axis=1).any():
            return before
        self._front = np.vstack([front[~(point <= front).all(axis=1)], point])
        if len(front) < WHOLE:
            return self._box.percent(self._front)
        return before + self._box.gain(point, front)

    def gain(self, ends: int) -> tuple[float, float] | None:
        """Return the hypervolume before and after the last `ends` candidates that ended.

        None where there were not so many, or no volume before them: then nothing can be said of a gain.
        """
        if len(self._after_end) <= ends or not self._after_end[-1 - ends] > 0:
            return None
        return self._after_end[-1 - ends], self._after_end[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return what run.json holds in the end: the volume in per cent, the box, and how the volume grew."""
        return {**self.so_far(), "series": [list(pair) for pair in self.series]}

    def so_far(self) -> dict[str, Any]:
        """Return the same without how the volume grew, which gets longer and longer."""
        ends = {
            name: [end if math.isfinite(end) else None for end in pair]
            for name, pair in self._box.ends.items()
        }
        return {"percent": self.percent, "box": ends}

    def _note_best(self, row: Row) -> None:
        for name, way in self._objectives.items():
            value = row.get(name)
            if value is None or not math.isfinite(value):
                continue
            known = self.best.get(name)
            if known is None or (value > known.value if way == "max" else value < known.value):
                self.best[name] = Best(name, float(value), row["candidate_id"])


def growth_of(objectives: Objectives, teacher: Mapping[str, float], ended: Iterable[Row]) -> Growth:
    """Return how the hypervolume grew over the earlier sessions of a run.

    Args:
        objectives: of the search.
        teacher: its costs and metrics; its retention is 100.
        ended: rows of trials.arrow, in the order in which their candidates ended.
    """
    whole = {"retention": 100.0, "retention_above_blind": 100.0}
    growth = Growth(TeacherBox(objectives, {**whole, **teacher}), objectives)
    for row in ended:
        if row["status"] in GROWS and row["role"] == "search":
            growth.add(row)
    return growth
