"""What the searcher asks of a simulation: the candidate of a table that stands at a point, or nearest to it."""

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from search.proposal import Admitted, Proposal, Rejected
from search.searchers.base import Values
from search.simulator.goals import Goals
from search.simulator.table import CurveTable, Flags, Floats
from spaces.candidate import Candidate
from spaces.conditions import active
from spaces.domains import Choice, Domain, Log, Scalar, identity, is_number, relative
from spaces.objectives import COSTS


@final
class Neighbours:
    """Looks up candidates by their values.

    The distance is Gower's (1971, A general coefficient of similarity): the sum over paths of the difference as a share
    of the domain's range, 1 between different texts. A number that is 0 beside its domain, or that another
    value switches off, differs by 1 from every other and by 0 from its like.
    """

    def __init__(self, table: CurveTable) -> None:
        """Encode all candidates of a table."""
        self._conditions = table.conditions
        self._scales = {path: _Scale(domain) for path, domain in table.fields.items()}
        self._points = np.array([self._encode(values) for values in table.values], dtype=np.float64)
        self._unordered = np.array([not scale.ordered for scale in self._scales.values()], dtype=bool)
        self._places: dict[tuple[object, ...], list[int]] = {}
        for place, values in enumerate(table.values):
            self._places.setdefault(self._key(values), []).append(place)

    def find(self, values: Values, untried: Flags) -> int:
        """Return the place of the candidate that stands for a point.

        It is the one at the point itself, tried or not, where the table has it; else the nearest untried one, else, when
        all are tried, the nearest of all. Ties fall to the first id.
        """
        exact = self._places.get(self._key(values))
        if exact is not None:
            return next((place for place in exact if untried[place]), exact[0])
        distance = self._distance(self._encode(values))
        return int(np.where(untried | ~untried.any(), distance, np.inf).argmin())

    def _distance(self, point: Floats) -> Floats:
        """Return the distance of every candidate from an encoded point."""
        gaps = np.abs(self._points - point)
        gaps[:, self._unordered] = gaps[:, self._unordered] != 0
        off = np.isnan(self._points) & np.isnan(point)
        return np.where(off, 0.0, np.where(np.isnan(gaps), 1.0, gaps)).sum(axis=1)

    def _encode(self, values: Values) -> Floats:
        """Return a point as numbers, NaN where a path does not count."""
        on = active(values, self._conditions)
        return np.array([scale(on[path]) if path in on else np.nan for path, scale in self._scales.items()])

    def _key(self, values: Values) -> tuple[object, ...]:
        """Return what is equal for values that mean the same candidate."""
        on = active(values, self._conditions)
        return tuple(identity(on[path]) if path in on else None for path in self._scales)


@final
class _Scale:
    """Puts the values of one domain between 0 and 1.

    Attributes:
        ordered: whether differences have a size; options that are not all numbers or all relative have none.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._options: dict[tuple[str, object], float] = {}
        self.ordered = True
        if isinstance(domain, Choice):
            options = list(domain.options)
            sizes = options if all(map(is_number, options)) else [relative(option) for option in options]
            self.ordered = None not in sizes
            if self.ordered:
                options.sort(key=lambda option: float(option if is_number(option) else relative(option) or 0))
            span = max(len(options) - 1, 1)
            self._options = {identity(option): place / span for place, option in enumerate(options)}

    def __call__(self, value: Scalar) -> float:
        """Return the place of a value, NaN for a zero beside the domain."""
        if not self._domain.holds(value):
            return math.nan
        if self._options:
            return self._options[identity(value)]
        low, high = (float(bound) for bound in self._domain.bounds())
        if isinstance(self._domain, Log):
            low, high, value = math.log(low), math.log(high), math.log(float(value))
        return (float(value) - low) / (high - low) if high > low else 0.0


@final
class TableAdmissions:
    """Answers each proposal with a candidate of the table; there are no limits, all are admitted."""

    def __init__(self, table: CurveTable, neighbours: Neighbours, *, goals: Goals, seed: int) -> None:
        """Have nobody tried yet.

        Args:
            table: the candidates.
            neighbours: of the same table; shared by simulations, since making it takes a while.
            goals: those that are costs are told at admission.
            seed: of the search.
        """
        self._table, self._neighbours, self._seed = table, neighbours, seed
        self._untried = np.ones(len(table), dtype=bool)
        self._costs = {goal.name: table.column(goal.name) for goal in goals if goal.name in COSTS}

    def build(self, values: Values, index: int) -> Proposal:
        """Return the candidate at a point, or the nearest one that was not tried yet, with its own values."""
        table, place = self._table, self._neighbours.find(values, self._untried)
        config = {"training": {"epochs": int(table.lengths[place])}}
        candidate = Candidate(table.ids[place], config, self._seed)
        return Proposal(candidate=candidate, index=index, values=table.values[place])

    def admit(self, candidate: Candidate) -> Admitted | Rejected:
        """Return the candidate's costs; it counts as tried from now on."""
        place = self._table.places[candidate.candidate_id]
        self._untried[place] = False
        end = self._table.ends[place]
        return Admitted(costs={name: float(column[end]) for name, column in self._costs.items()})

    def on_waiting(self, proposal: Proposal) -> None:
        """Do nothing: nobody waits."""

    def await_figure(self, seconds: float) -> bool:
        """Return False: all costs stand in the table."""
        return False

    def violation(self, costs: Mapping[str, float]) -> float:
        """Return 0: a table has no limits."""
        return 0.0 if costs else math.inf

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        """Return who is to be trained."""
        return {"candidate_id": proposal.candidate.candidate_id, "role": "search"}

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        """Have nothing to record: nobody is ever rejected."""
