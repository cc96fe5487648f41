"""What the searcher asks of a simulation: candidates of a table instead of students to build."""

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from search.proposal import Admitted, Proposal, Rejected
from search.searchers.base import Values
from search.simulator.goals import Goals
from search.simulator.nearest import Neighbours
from search.simulator.table import CurveTable
from spaces.candidate import Candidate
from spaces.objectives import COSTS


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
        place = self._neighbours.find(values, self._untried)
        length = int(self._table.lengths[place])
        config = {"training": {"epochs": length}}
        return Proposal(
            candidate=Candidate(self._table.ids[place], config, self._seed),
            index=index,
            values=self._table.values[place],
        )

    def admit(self, candidate: Candidate) -> Admitted | Rejected:
        """Return the candidate's costs; it counts as tried from now on."""
        place = self._table.places[candidate.candidate_id]
        self._untried[place] = False
        end = self._table.starts[place + 1] - 1
        return Admitted(costs={name: float(column[end]) for name, column in self._costs.items()})

    def violation(self, costs: Mapping[str, float]) -> float:
        """Return 0: a table has no limits."""
        return 0.0 if costs else math.inf

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        """Return who is to be trained."""
        return {"candidate_id": proposal.candidate.candidate_id, "role": "search"}

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        """Have nothing to record: nobody is ever rejected."""
