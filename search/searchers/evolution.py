"""Steady-state NSGA-II."""

import math
import random
from dataclasses import dataclass
from typing import final

from search.searchers.base import Outcome, Proposer, Values
from search.searchers.fidelity import FullFidelity
from search.searchers.population import Member, Population, tournament
from search.searchers.variation import crossed, mutated
from spaces.domains import Scalar
from spaces.errors import PluginError

MAX_MUTATIONS = (
    20  # of one offspring that is known already; beyond that the Ray searcher's rejection takes over
)


@final
class Evolution(Proposer):
    """Make one offspring at a time, out of a small population sorted by dominance and crowding.

    NSGA-II (Deb et al. 2002, doi 10.1109/4235.996017) without generations: each proposal is a child of the population as
    it stands, and each measured candidate enters it at once, so that no worker waits for a generation to end. Stopped
    candidates count at full fidelity (`FullFidelity`). Refused ones have offspring only while there are few others, and
    stand behind those (constraint domination); failed ones never enter. The first proposals are random.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options of the evolution.

        The defaults are a middle way over three tables of architectures and two mixed spaces; all of population 12 to 30,
        mutation 0.25 to 1 and step 0.1 to 0.3 do nearly as well.

        Attributes:
            population: candidates that may have offspring, and random proposals to begin with.
            crossover: probability that an offspring has two parents.
            mutation: values that are changed in an offspring, on average; one that is known is changed again.
            step: standard deviation of a change of a number, in parts of its range (of its logarithm for `log`).
        """

        population: int = 20
        crossover: float = 0.9
        mutation: float = 0.5
        step: float = 0.2

        def __post_init__(self) -> None:
            if not (
                self.population >= 2
                and 0 <= self.crossover <= 1
                and 0 < self.mutation < math.inf
                and 0 < self.step <= 1
            ):
                raise PluginError(
                    f"options: got population {self.population}, crossover {self.crossover}, mutation {self.mutation}, "
                    f"step {self.step}; allowed: population from 2, crossover 0 .. 1, mutation above 0, step above 0 up "
                    "to 1."
                )

    def prepare(self) -> None:
        """Begin with nobody."""
        self._fidelity = FullFidelity(self.objectives)
        self._population = Population(self.config.population, self._fidelity.at_full)
        self._known: set[tuple[object, ...]] = set()

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        """Return a random point at first and on request, then an offspring that is not known yet.

        After a warm start there is no beginning: the earlier candidates are the population.
        """
        pool = self._population.parents()
        beginning = index < self.config.population and not self._population.full
        if explore or beginning or len(pool) < 2 or not self.domains:
            return self.draw(index)
        rng = random.Random(f"{self.seed}/{index}")
        mother, father = tournament(pool, rng), tournament(pool, rng)
        child = dict(mother.values)
        if rng.random() < self.config.crossover:
            child = crossed(mother.values, father.values, rng)
        for _ in range(MAX_MUTATIONS):
            child = self._mutated(child, rng)
            if self.key(child) not in self._known:
                break
        return child

    def _mutated(self, values: Values, rng: random.Random) -> dict[str, Scalar]:
        """Return the point with some of what counts changed; a path that is switched on by that is drawn anew."""
        before = self.active(values)
        counting = {path: domain for path, domain in self.domains.items() if path in before}
        rate = min(self.config.mutation / len(counting), 1.0)
        changed = mutated(values, counting, rng, rate=rate, step=self.config.step)
        fresh = [path for path in self.active(changed) if path not in before]
        return {**changed, **{path: self.domains[path].sample(rng) for path in fresh}}

    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        """Remember the candidate; let a measured one into the population, a refused one wait beside it."""
        if not self.covers(values):
            return
        key = self.key(values)
        self._known.add(key)
        self._fidelity.learn(outcome)
        reached = self._fidelity.reached(outcome)
        if reached is not None or outcome.state == "refused":
            self._population.add(
                Member(
                    index=index,
                    key=key,
                    values=dict(values),
                    reached=reached,
                    violation=outcome.violation,
                )
            )
