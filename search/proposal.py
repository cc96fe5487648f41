"""What passes between searcher, cost filter, scheduler and recorder: a proposal, whether it may become a trial, and the
objectives of its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spaces.candidate import Candidate
from spaces.domains import Scalar
from spaces.objectives import COSTS, Objectives

NOT_PROPOSED = -1  # index of a candidate that no searcher proposed: the default, the blind student


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate and where it came from.

    Attributes:
        candidate: what would be trained. One that cannot be built has an empty config.
        index: number of the proposal, from 0.
        values: dotted path -> value as the searcher proposed them (`0.5x`, not 64); empty if it proposed
            none.
    """

    candidate: Candidate
    index: int = NOT_PROPOSED
    values: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A candidate within all limits.

    Attributes:
        costs: params, flops, latency_ms, latency_spread_ms, size_mib; the same of the student alone as head_params,
            head_flops, head_latency_ms, head_size_mib; reads_teacher, which says whether these differ.
    """

    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A candidate that will not be trained.

    Attributes:
        reason: one clause for the table.
        costs: what was measured before it was rejected.
        limit: the broken limit as the user reads it (`params <= 30.0 M`), "" if it broke none.
        excess: how far beyond the limit, as a factor above 1; the smallest is the nearest miss.
        shown: the broken cost as the user reads it (`41.2 M`).
    """

    reason: str
    costs: Mapping[str, float] = field(default_factory=dict)
    limit: str = ""
    excess: float = float("inf")
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A candidate that keeps all limits that are known so far; its latency is being measured.

    Attributes:
        costs: what is known.
        limited: whether a limit hangs on what is not known.
    """

    costs: Mapping[str, float] = field(default_factory=dict)
    limited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A candidate of an earlier session, for the searcher to learn from.

    Attributes:
        proposal: as it was recorded.
        status: finished, stopped, rejected, or the word of a failure.
        costs: what is known of params, flops, latency_ms, size_mib.
        rows: its result rows with metrics and costs, by rising epoch.
    """

    proposal: Proposal
    status: str
    costs: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()

    @property
    def admitted(self) -> bool:
        """Whether it counts as one of the run's trials."""
        return self.status != "rejected"


def measured(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float] | None:
    """Return the objectives' values of a result row, None where one is missing, so that nobody can be ranked by it."""
    values = {name: row.get(name) for name in objectives}
    known = {name: float(value) for name, value in values.items() if value is not None}
    return known if len(known) == len(values) else None


def lacks_objective(row: Mapping[str, Any], objectives: Objectives) -> bool:
    """Return whether a candidate was evaluated and has no figure for an objective, since it cannot do that task.

    Such a one counts as a failure: it is never ranked, and stands on no front.
    """
    metrics = [row.get(name) for name in objectives if name not in COSTS]
    evaluated = row.get("status") == "finished" or any(value is not None for value in metrics)
    return evaluated and any(value is None or value != value for value in metrics)


def to_minimise(values: Mapping[str, float | None], objectives: Objectives) -> list[float]:
    """Return the values in the order of `objectives`, maximised ones negated, unknown ones NaN."""
    known = [(values.get(name), -1.0 if way == "max" else 1.0) for name, way in objectives.items()]
    return [sign * value if value is not None else float("nan") for value, sign in known]
