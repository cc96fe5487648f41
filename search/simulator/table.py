"""CurveTable: what every candidate of a table reached at each epoch, what that cost, and its searched values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.simulator.goals import Goal, Goals
from spaces.domains import Domain, Scalar
from spaces.errors import TableError
from spaces.plugins import near

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveTable:
    """Learning curves of candidates, one row per candidate and epoch.

    The rows of candidate `i` are `starts[i]:starts[i + 1]`, by rising epoch. A cell that is not finite was not measured.

    Attributes:
        name: for the user.
        ids: candidates, sorted.
        fields: searched path -> domain, a proposer's space.
        conditions: path -> path whose zero switches it off.
        values: of each candidate, path -> value.
        starts: first row of each candidate, and the number of rows.
        epochs: of each row; the last one of a candidate is its whole training.
        costs: of each row, what training costs from the candidate's row before to this one.
        columns: metrics and costs, each row's value.
        unit: what costs are counted in.
        goals: objectives where the user names none.
        rungs: epochs of the rungs where the user names none.
        notes: what the user should know of it, one sentence each.
    """

    name: str
    ids: tuple[str, ...]
    fields: Mapping[str, Domain]
    values: Sequence[Mapping[str, Scalar]]
    starts: Ints
    epochs: Ints
    costs: Floats
    columns: Mapping[str, Floats]
    unit: str = "epoch_cost"
    conditions: Mapping[str, str] | None = None
    goals: tuple[Goal, ...] = ()
    rungs: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.ids)

    @property
    def lengths(self) -> Ints:
        """The epochs of each candidate's whole training."""
        return self.epochs[self.starts[1:] - 1]

    @property
    def final_only(self) -> bool:
        """Whether every candidate has a single row, so that nobody can be stopped."""
        return len(self.epochs) == len(self.ids)

    @property
    def full_compute(self) -> float:
        """What it costs to train every candidate to its end."""
        return float(self.costs.sum())

    @cached_property
    def places(self) -> dict[str, int]:
        """Candidate id -> its place in `ids`."""
        return {candidate_id: place for place, candidate_id in enumerate(self.ids)}

    def measured(self, goals: Goals) -> Flags:
        """Return for each row whether all objectives were measured.

        Raises:
            TableError: a column that the table does not have.
        """
        return np.all([np.isfinite(self.column(goal.name)) for goal in goals], axis=0)

    def column(self, name: str) -> Floats:
        """Return one column.

        Raises:
            TableError: the table does not have it.
        """
        if name not in self.columns:
            raise TableError(_unknown(self, name))
        return self.columns[name]

    def finals(self, goals: Goals) -> Floats:
        """Return what each candidate reached at its end, (candidates, goals), all to be minimised, logarithms where
        asked.

        Raises:
            TableError: a column that is missing, was not measured at a candidate's end, or has no logarithm.
        """
        columns = []
        for goal in goals:
            final = self.column(goal.name)[self.starts[1:] - 1]
            missing = np.flatnonzero(~np.isfinite(final))
            if missing.size:
                raise TableError(
                    f"table {self.name}, candidate {self.ids[missing[0]]}: {goal.name} is not measured at its last epoch; "
                    f"allowed: a number there ({missing.size} candidates lack it). Load the table with these goals, which "
                    "leaves them out."
                )
            if goal.log and final.min() <= 0:
                raise TableError(
                    f"--objectives {goal}: got {final.min():g} for candidate {self.ids[int(final.argmin())]}; allowed with "
                    f"[log]: numbers above 0. Write {goal.way}:{goal.name}."
                )
            plain = np.log(final) if goal.log else final
            columns.append(-plain if goal.way == "max" else plain)
        return np.column_stack(columns)

    def complete(self, goals: Goals) -> "CurveTable":
        """Return the table less the candidates that lack an objective at their last epoch, with a note on them.

        Raises:
            TableError: a column that is missing or was never measured, or nobody is left.
        """
        for goal in goals:
            if not np.isfinite(self.column(goal.name)).any():
                raise TableError(
                    f"table {self.name}, column {goal.name}: got no number in any row; allowed: at least the last epoch of "
                    "each candidate measured. Fill it in, or name another objective."
                )
        whole = self.measured(goals)[self.starts[1:] - 1]
        if whole.all():
            return self
        if not whole.any():
            raise TableError(
                f"table {self.name}: no candidate has all of {', '.join(goal.name for goal in goals)} measured at its last "
                "epoch; allowed: a number in each. Fill them in, or name other objectives."
            )
        left_out = int((~whole).sum())
        note = f"left out: {left_out} of {len(self)} candidates, without all objectives at their last epoch"
        return self.only(whole, note)

    def only(self, kept: Flags, note: str) -> "CurveTable":
        """Return the table of some of its candidates, with a note why."""
        places = np.flatnonzero(kept).tolist()
        rows = np.concatenate([np.arange(self.starts[place], self.starts[place + 1]) for place in places])
        sizes = np.diff(self.starts)[places]
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            values=[self.values[place] for place in places],
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            epochs=self.epochs[rows],
            costs=self.costs[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
            notes=(*self.notes, note),
        )


def _unknown(table: CurveTable, name: str) -> str:
    """Return the message for a column that a table lacks."""
    known = sorted(table.columns)
    guess = near(name, known)
    hint = f"Did you mean {guess!r}?" if guess else "Use one of these."
    searched = " (it is searched)" if name in table.fields else ""
    return f"table {table.name}: no measured column is called {name!r}{searched}; allowed: {', '.join(known)}. {hint}"
