"""Proposer: the one thing that a search algorithm has to be."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

from search.proposal import to_minimise
from spaces.conditions import Conditions, active
from spaces.domains import Domain, Scalar, identity
from spaces.objectives import Objectives, quality_objective

Values = Mapping[str, Scalar]
Row = Mapping[str, Any]
State = Literal["pending", "measured", "failed", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has become of a candidate so far.

    Attributes:
        state: `pending` while it waits or trains; `measured` when its training has ended or was stopped; `failed` by a
            fault (diverged, collapsed, oom, crashed); `refused` before a trial existed. The last two are never values.
        costs: params, flops, latency_ms, size_mib, as far as they are known.
        rows: result rows with all objectives, by rising epoch; the last one is what the candidate has reached.
        full_epochs: epochs of its whole training; 0 where that is not known.
        violation: how far beyond the limits a refused one lies: the sum of ln(cost / bound) over broken limits, infinite
            where its parts do not fit together. 0 for all others.
    """

    state: State
    costs: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    full_epochs: int = 0
    violation: float = 0.0

    @property
    def last(self) -> Row | None:
        """The row that counts; None without one."""
        return self.rows[-1] if self.state == "measured" and self.rows else None


class Proposer(ABC):
    """Proposes values for the dotted paths of a space and is told what became of them.

    A proposal may depend on (seed, index) and on what was observed, on nothing else: a resumed run observes the earlier
    candidates again in the order in which they ended, and then goes on without any saved state.
    """

    @final
    def __init__(
        self,
        config: Any,
        domains: Mapping[str, Domain],
        *,
        seed: int,
        objectives: Objectives,
        conditions: Conditions | None = None,
    ) -> None:
        """Take the space.

        Args:
            config: the proposer's own `Config`.
            domains: dotted path -> domain.
            seed: seed of the search.
            objectives: all objectives with their directions.
            conditions: which paths count where.
        """
        self.config = config
        self.domains = dict(sorted(domains.items()))
        self.conditions = dict(conditions or {})
        self.objectives = dict(objectives)
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
    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        """Take note of what became of values, proposed here or elsewhere (then `index` is -1).

        Args:
            index: number of the proposal.
            values: those that count; whoever admits may have settled on others than were proposed.
            outcome: what is known of it; a candidate is pending first, and later in one of the other states.
        """

    @final
    def point(self, row: Row) -> list[float]:
        """Return the objectives of a result row in their order, all to be minimised, NaN where unknown."""
        return to_minimise({name: row.get(name) for name in self.objectives}, self.objectives)

    @final
    def covers(self, values: Values) -> bool:
        """Return whether values belong to this space; those of another, as after --set, say nothing about it."""
        return values.keys() == self.domains.keys() and all(
            domain.contains(values[path]) for path, domain in self.domains.items()
        )

    @final
    def key(self, values: Values) -> tuple[object, ...]:
        """Return what is equal for values that mean the same candidate: those switched off are left out."""
        active = sorted(self.active(values).items())
        # one flat tuple: a searcher keeps one for each candidate
        return tuple(part for path, value in active for part in (path, *identity(value)))

    @final
    def active(self, values: Values) -> dict[str, Scalar]:
        """Return the values that count, without those that others switch off: they change nothing."""
        return active(values, self.conditions)

    @final
    def draw(self, index: int) -> dict[str, Scalar]:
        """Return a random point of the space, a pure function of (seed, index).

        Each path has its own stream, so another domain in the space does not move the draws of the rest.
        """
        streams = {path: random.Random(f"{self.seed}/{index}/{path}") for path in self.domains}
        return {path: domain.sample(streams[path]) for path, domain in self.domains.items()}
