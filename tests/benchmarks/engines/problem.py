"""Problem: a table whose exact front is known, and what a sequence of its candidates is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from search.simulator.goals import Goal
from search.simulator.measures import Volume
from search.simulator.sources import load_table
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection
from spaces.domains import Choice, Scalar, identity

Floats = NDArray[np.float64]
Values = Mapping[str, Scalar]

DATA_SETS = ("cifar10", "cifar100", "imagenet16-120")
NAS_GOALS = (Goal("error", "min"), Goal("latency_ms", "min"), Goal("params", "min"))


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A table under objectives.

    Attributes:
        table: candidates with what they reached.
        goals: the objectives.
    """

    table: CurveTable
    goals: tuple[Goal, ...]

    @classmethod
    def load(cls, source: str, goals: tuple[Goal, ...], *, fields: Sequence[str] | None = None) -> "Problem":
        """Read the table of a source; `fields` names the searched columns of a file."""
        return cls(load_table(source, goals, selection=Selection(fields=fields)), goals)

    @cached_property
    def volume(self) -> Volume:
        """Hypervolume and exact front."""
        return Volume(self.table, self.goals)

    @cached_property
    def finals(self) -> Floats:
        """What each candidate reached at its end, (candidates, objectives), all to be minimised."""
        return self.table.finals(self.goals)

    @cached_property
    def scaled(self) -> Floats:
        """The same, each objective from 0 to 1 over the table."""
        low, high = self.finals.min(axis=0), self.finals.max(axis=0)
        return (self.finals - low) / (high - low)

    @cached_property
    def options(self) -> dict[str, tuple[Scalar, ...]]:
        """Path -> values to choose from; the peers are given spaces of choices only."""
        found: dict[str, tuple[Scalar, ...]] = {}
        for path, domain in self.table.fields.items():
            assert isinstance(domain, Choice), f"{path} is no choice"
            found[path] = tuple(domain.options)
        return found

    @cached_property
    def _places(self) -> dict[tuple[object, ...], int]:
        return {self._key(values): place for place, values in enumerate(self.table.values)}

    def place(self, values: Values) -> int:
        """Return where the candidate with these values stands in the table."""
        return self._places[self._key(values)]

    def shares(self, ids: Sequence[str], counts: Sequence[int]) -> list[float | None]:
        """Return the share of the exact hypervolume after so many evaluations, None beyond the last one."""
        return [self.volume.share(ids[:count]) if count <= len(ids) else None for count in counts]

    def _key(self, values: Values) -> tuple[object, ...]:
        return tuple(identity(values[path]) for path in self.table.fields)


@cache
def nas_bench(data_set: str) -> Problem:
    """Return NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326) with error, latency and parameters."""
    return Problem.load(f"nasbench201:{data_set}", NAS_GOALS)
