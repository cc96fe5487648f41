"""Proposer: the one thing that a search algorithm has to be."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, final

from search.objectives import Objectives, quality_objective
from spaces.domains import Domain, Scalar

Values = Mapping[str, Scalar]


class ProposerConfig(Protocol):
    """The nested, frozen `Config` dataclass of a proposer; each has its own fields."""


class Proposer(ABC):
    """Proposes values for the dotted paths of a space and is told what became of them.

    A proposal may depend on (seed, index) and on what was observed, on nothing else: a resumed run, which
    observes the earlier candidates in the order of their indices, then goes on without any saved state.
    """

    @final
    def __init__(
        self, config: Any, domains: Mapping[str, Domain], *, seed: int, objectives: Objectives
    ) -> None:
        """Take the space.

        Args:
            config: the proposer's own `Config`.
            domains: dotted path -> domain.
            seed: seed of the search.
            objectives: all objectives with their directions.
        """
        self.config = config
        self.domains = dict(sorted(domains.items()))
        self.seed = seed
        self.quality = quality_objective(objectives)
        self.maximise = objectives[self.quality] == "max"
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Set up the proposer's own state; called once, at the end of construction."""

    @abstractmethod
    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        """Return path -> value for proposal number `index`.

        Args:
            index: counts up, over resumed sessions too.
            explore: the last proposals were all known already; draw from the whole space instead.
        """

    @abstractmethod
    def observe(self, index: int, values: Values, row: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Take note of what became of values, proposed here or elsewhere (then `index` is -1).

        Args:
            index: number of the proposal.
            values: as `propose` gave them.
            row: the last result row; None while the candidate trains.
            failed: it was rejected, or its training broke off by a fault. A failure is never a value.
        """

    @final
    def draw(self, index: int) -> dict[str, Scalar]:
        """Return a random point of the space, a pure function of (seed, index).

        Each path has its own stream, so another domain in the space does not move the draws of the rest.
        """
        streams = {path: random.Random(f"{self.seed}/{index}/{path}") for path in self.domains}
        return {path: domain.sample(streams[path]) for path, domain in self.domains.items()}
