"""What a proposer is told of its candidates: pending, measured, failed or refused, and never a value that is none."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from analysis.table import FAILED
from search.proposal import Admitted, Past, Proposal, lacks_objective
from search.searchers.base import Outcome, Proposer, Row

Violation = Callable[[Mapping[str, float]], float]


@final
class Outcomes:
    """Tells a proposer what became of candidates, live or from the tables of earlier sessions."""

    def __init__(self, proposer: Proposer, violation: Violation) -> None:
        """Take who is told.

        Args:
            proposer: the search algorithm.
            violation: how far costs lie beyond the limits, see `Outcome.violation`.
        """
        self._proposer, self._violation = proposer, violation
        self._rows: dict[str, dict[int, Row]] = {}
        self._lacking: set[str] = set()  # trials whose candidate has no figure for an objective

    def pending(self, proposal: Proposal, admitted: Admitted) -> None:
        """Tell of a candidate that waits or trains."""
        outcome = Outcome(state="pending", costs=admitted.costs, full_epochs=_full_epochs(proposal))
        self._tell(proposal, outcome)

    def refused(self, proposal: Proposal, costs: Mapping[str, float]) -> None:
        """Tell of a candidate that is not trained."""
        self._tell(proposal, Outcome(state="refused", costs=costs, violation=self._violation(costs)))

    def keep(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keep a row in which all objectives were measured; one that a restarted trial tells again counts once."""
        row = self._visible(result)
        if row is not None:
            self._rows.setdefault(trial_id, {})[int(row["epoch"] or 0)] = row
        elif lacks_objective(result, self._proposer.objectives):
            self._lacking.add(trial_id)

    def drop(self, trial_id: str) -> tuple[list[Row], bool]:
        """Return the rows of a trial that is over, and whether its candidate lacks an objective; forget both."""
        rows = list(self._rows.pop(trial_id, {}).values())
        lacks = trial_id in self._lacking and not rows
        self._lacking.discard(trial_id)
        return rows, lacks

    def ended(self, proposal: Proposal, rows: Iterable[Row], *, failed: bool) -> None:
        """Tell how a training ended: the rows that it reached, or that it failed."""
        ordered = sorted(rows, key=lambda row: row["epoch"] or 0)
        outcome = Outcome(
            state="failed" if failed else "measured",
            rows=() if failed else tuple(ordered),
            full_epochs=_full_epochs(proposal),
        )
        self._tell(proposal, outcome)

    def past(self, past: Past) -> None:
        """Tell of a candidate of an earlier session."""
        if not past.admitted:
            self.refused(past.proposal, past.costs)
            return
        rows = [row for row in map(self._visible, past.rows) if row is not None]
        lacks = not rows and any(lacks_objective(row, self._proposer.objectives) for row in past.rows)
        self.ended(past.proposal, rows, failed=lacks or past.status in FAILED)

    def earlier(self, past: Past) -> None:
        """Tell of a candidate of another run; what breaks a limit of this one counts as refused here."""
        if 0 < self._violation(past.costs) < math.inf:
            self.refused(past.proposal, past.costs)
        else:
            self.past(past)

    def _visible(self, row: Mapping[str, Any]) -> Row | None:
        """Return what a proposer sees of a result row, live or from the tables; None where an objective is no finite number."""
        objectives = {name: row.get(name) for name in self._proposer.objectives}
        if any(value is None or not math.isfinite(value) for value in objectives.values()):
            return None
        return {**{name: row.get(name) for name in ("candidate_id", "epoch", "status")}, **objectives}

    def _tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Tell of a candidate that has values; the blind student and baselines are none to learn from."""
        if proposal.values and proposal.candidate.role == "search":
            self._proposer.observe(proposal.index, proposal.values, outcome)


def _full_epochs(proposal: Proposal) -> int:
    """Return the epochs of a candidate's whole training, 0 for one without a config."""
    return int(proposal.candidate.config.get("training", {}).get("epochs", 0))
