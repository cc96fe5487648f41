"""What a model-based searcher knows of its candidates, and the bounded part of it that a model is fitted to."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import moocore
import numpy as np
from numpy.typing import NDArray

from search.searchers.base import Outcome
from search.searchers.fidelity import FullFidelity, Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A candidate as a model sees it.

    Attributes:
        index: number of its proposal.
        key: equal for equal candidates.
        labels: label -> number, without the labels that change nothing.
        state: `pending`, `measured`, or `void`: it failed or was refused.
        reached: its objectives, of a measured one.
    """

    index: int
    key: tuple[object, ...]
    labels: Mapping[str, float]
    state: Literal["pending", "measured", "void"]
    reached: Reached | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A part of the history, each group in the order of the proposals.

    Attributes:
        measured: candidates with objectives.
        points: their objectives at full fidelity, all to be minimised, (measured, objectives).
        pending: candidates in training.
        void: candidates that failed or were refused.
    """

    measured: list[Observation]
    points: NDArray[np.float64]
    pending: list[Observation]
    void: list[Observation]


@final
class Observations:
    """All candidates of a search, each once. What it gives back does not depend on the order in which they came."""

    def __init__(self, fidelity: FullFidelity) -> None:
        """Take what brings stopped candidates to full fidelity; it is taught here."""
        self._fidelity = fidelity
        self._all: dict[tuple[object, ...], Observation] = {}
        self.num_measured = 0

    def __contains__(self, key: tuple[object, ...]) -> bool:
        return key in self._all

    def add(self, index: int, key: tuple[object, ...], labels: Mapping[str, float], outcome: Outcome) -> None:
        """Enter a candidate, or fill in what became of it.

        One that was measured once stays so: failing to train it again would tell nothing new. One that was stopped
        before any measurement is left out; an objective that is not a finite number counts as a failure.
        """
        before = self._all.get(key)
        self._fidelity.learn(outcome)
        reached = self._fidelity.reached(outcome)
        measured = before is not None and before.state == "measured"
        if reached is None and measured:
            return
        if outcome.state == "measured" and outcome.last is None:
            self._all.pop(key, None)
            return
        if reached is not None:
            state: Literal["pending", "measured", "void"] = "measured"
            self.num_measured += not measured
        else:
            state = "pending" if outcome.state == "pending" else "void"
        self._all[key] = Observation(index=index, key=key, labels=labels, state=state, reached=reached)

    def sample(self, size: int, rng: random.Random) -> Sample:
        """Return at most `size` candidates, and all in training.

        Of the measured ones: the non-dominated, at most half of all; then the most recent, a quarter; the rest by chance.
        Of the void ones: the most recent, at most a quarter. Whatever fits is taken whole.
        """
        groups: dict[str, list[Observation]] = {"measured": [], "pending": [], "void": []}
        for one in sorted(self._all.values(), key=lambda one: (one.index, one.key)):
            groups[one.state].append(one)
        void = groups["void"][-(size // 4) :]
        measured = groups["measured"]
        points = np.asarray([self._fidelity.at_full(one.reached) for one in measured if one.reached])
        kept = _representative(points, size - len(void), rng)
        return Sample(
            measured=[measured[place] for place in kept],
            points=points[kept],
            pending=groups["pending"],
            void=void,
        )


def _representative(points: NDArray[np.float64], size: int, rng: random.Random) -> list[int]:
    """Return the places of at most `size` points: non-dominated, last, and by chance, rising."""
    if len(points) <= size:
        return list(range(len(points)))
    front = np.flatnonzero(moocore.is_nondominated(points, keep_weakly=True)).tolist()
    kept = set(front if len(front) <= size // 2 else rng.sample(front, size // 2))
    recent = [place for place in range(len(points)) if place not in kept][-(size // 4) :]
    kept.update(recent)
    rest = [place for place in range(len(points)) if place not in kept]
    return sorted(kept.union(rng.sample(rest, size - len(kept))))
