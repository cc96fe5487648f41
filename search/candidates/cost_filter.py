"""Costs of a candidate before a trial exists, and whether they keep the limits; nothing here waits for a measurement.

Limits are of what is deployed: the student with the part of its teacher that it reads. What the student costs alone stands
beside that under `head_*`.
"""

import math
from collections.abc import Callable, Mapping
from typing import final

from analysis import wording
from search.inputs.students import Students
from search.latency.latencies import Latencies
from search.proposal import Admitted, Rejected, Waiting
from spaces.candidate import Candidate
from spaces.errors import ShapeError
from spaces.objectives import READS_TEACHER
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject

Limits = Mapping[str, tuple[float | None, float | None]]
STATIC = ("params", "flops", "size_mib")
LATENCY = "latency_ms"


def shown(name: str, value: float) -> str:
    """Return a cost as a line on the terminal and in the table says it: `41.2 M`, `2.31 ms`."""
    return wording.on_terminal(wording.cost(name, value))


@final
class CostFilter:
    """Counts on the meta device first; asks for the latency of what keeps the other limits, and lets it wait for that."""

    def __init__(
        self, students: Students, limits: Callable[[], Limits], store: CostStore, latencies: Latencies
    ) -> None:
        """Take what students are made by, what they may cost, where costs are kept, and what is known of latency.

        Args:
            students: of the space.
            limits: gives those that can be told; one in shares of the teacher's latency is not there before that is known.
            store: of static costs.
            latencies: of candidates.
        """
        self._students, self._limits, self._store, self._latencies = students, limits, store, latencies
        self._counted: dict[str, tuple[Subject, dict[str, float]]] = {}  # of those that wait

    def admit(self, candidate: Candidate) -> Admitted | Rejected | Waiting:
        """Return the candidate's costs, or which limit it breaks, or that it has to wait; a baseline keeps no limit.

        Raises:
            StudentSearchError: measuring failed.
        """
        bound, known = candidate.role != "baseline", self._counted.pop(candidate.candidate_id, None)
        try:
            subject = known[0] if known else self._students.subject(candidate.config)
        except ShapeError as error:
            return Rejected(reason=str(error))
        costs = known[1] if known else self._static(subject)
        rejected = self._broken(costs) if bound and not known else None
        if rejected is not None:
            return rejected
        latency, alone = self._latencies.known(subject), self._latencies.known(subject.head)
        if latency is None or alone is None:
            self._latencies.ask([subject, subject.head])
            self._counted[candidate.candidate_id] = subject, costs
            return Waiting(costs=costs, limited=bound and LATENCY in self._limits())
        costs = costs | {
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
        limits = self._limits()
        known = {name: costs[name] for name in limits if not math.isnan(costs.get(name, math.nan))}
        if not known:
            return math.inf
        total = 0.0
        for name, value in known.items():
            low, high = limits[name]
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
        for name, (low, high) in self._limits().items():
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
