"""Costs of a candidate before a trial exists, and whether they keep the limits.

Limits are of what is deployed: the student with the part of its teacher that it reads. What the student costs alone stands
beside that under `head_*`.
"""

import math
from collections.abc import Mapping
from typing import final

from analysis import wording
from search.inputs.students import Students
from search.proposal import Admitted, Rejected
from spaces.candidate import Candidate
from spaces.errors import ShapeError
from spaces.objectives import READS_TEACHER
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject

Limits = Mapping[str, tuple[float | None, float | None]]
STATIC = ("params", "flops", "size_mib")


def shown(name: str, value: float) -> str:
    """Return a cost as a line on the terminal and in the table says it: `41.2 M`, `2.31 ms`."""
    return wording.on_terminal(wording.cost(name, value))


@final
class CostFilter:
    """Counts on the meta device first; measures latency only of what keeps the other limits."""

    def __init__(self, students: Students, limits: Limits, store: CostStore) -> None:
        """Take what students are made by, what they may cost, and where costs are kept."""
        self._students, self._limits, self._store = students, limits, store

    def admit(self, candidate: Candidate) -> Admitted | Rejected:
        """Return the candidate's costs, or which limit it breaks; a baseline keeps none."""
        try:
            subject = self._students.subject(candidate.config)
        except ShapeError as error:
            return Rejected(reason=str(error))
        costs, bound = self._static(subject), candidate.role != "baseline"
        rejected = self._broken(costs) if bound else None
        if rejected is not None:
            return rejected
        latency, alone = self._store.latency(subject), self._store.latency(subject.head)
        costs |= {
            "latency_ms": latency.latency_ms,
            "latency_spread_ms": latency.spread_ms,
            "head_latency_ms": alone.latency_ms,
        }
        return (self._broken(costs) if bound else None) or Admitted(costs=costs)

    def counted(self, candidate: Candidate) -> Rejected | dict[str, float]:
        """Return params, flops and size, of the student alone too, or which limit they break: known without running it."""
        try:
            subject = self._students.subject(candidate.config)
        except ShapeError as error:
            return Rejected(reason=str(error))
        costs = self._static(subject)
        return self._broken(costs) or costs

    def violation(self, costs: Mapping[str, float]) -> float:
        """Return the sum of ln(excess factor) over the broken limits; infinite where no cost is known."""
        known = {name: costs[name] for name in self._limits if not math.isnan(costs.get(name, math.nan))}
        if not known:
            return math.inf
        total = 0.0
        for name, value in known.items():
            low, high = self._limits[name]
            if high is not None and value > high:
                total += math.log(value / high) if high > 0 else math.inf
            if low is not None and value < low:
                total += math.log(low / max(value, 1e-9))
        return total

    def _static(self, subject: Subject) -> dict[str, float]:
        static, alone = self._store.static(subject), self._store.static(subject.head)
        return {
            **{name: float(getattr(static, name)) for name in STATIC},
            **{f"head_{name}": float(getattr(alone, name)) for name in STATIC},
            READS_TEACHER: subject.reads is not None,
        }

    def _broken(self, costs: Mapping[str, float]) -> Rejected | None:
        """Return the first limit that these costs break."""
        for name, (low, high) in self._limits.items():
            value = costs.get(name)
            if value is None:
                continue
            for bound, sign, broken in (
                (high, "<=", high is not None and value > high),
                (low, ">=", low is not None and value < low),
            ):
                if broken and bound is not None:
                    limit = f"{name} {sign} {shown(name, bound)}"
                    return Rejected(
                        reason=f"{name} {shown(name, value)}, limit {sign} {shown(name, bound)}",
                        costs=dict(costs),
                        limit=limit,
                        excess=max(value, bound) / max(min(value, bound), 1e-9),
                        shown=shown(name, value),
                    )
        return None
