"""CurveTable: what every candidate of a table reached at each epoch, what that cost, and its searched values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.simulator.goals import Goal, Goals
from spaces.conditions import Conditions
from spaces.domains import Choice, Domain, Float, Int, Log, Scalar, identity, is_number
from spaces.errors import TableError
from spaces.plugins import near

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_OPTIONS = 12  # more different numbers than this are a range
LOG_ABOVE = 100.0  # a range whose ends differ by this factor or more is searched in the logarithm


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveTable:
    """Learning curves of candidates, one row per candidate and epoch.

    The rows of candidate `i` are `starts[i]:starts[i + 1]`, by rising epoch. A cell that is not finite was not measured.

    Attributes:
        name: for the user.
        ids: candidates, sorted.
        fields: searched path -> domain, a proposer's space; `conditions` of it.
        values: of each candidate, path -> value.
        starts: first row of each candidate, and the number of rows.
        epochs: of each row; the last one of a candidate is its whole training.
        costs: of each row, what training costs from the candidate's row before to this one, in `unit`.
        columns: metrics and costs, each row's value.
        goals, rungs: objectives, and epochs of the rungs, where the user names none.
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
    conditions: Conditions = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    rungs: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.ids)

    @property
    def ends(self) -> Ints:
        """The last row of each candidate."""
        return self.starts[1:] - 1

    @property
    def lengths(self) -> Ints:
        """The epochs of each candidate's whole training."""
        return self.epochs[self.ends]

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

    def column(self, name: str) -> Floats:
        """Return one column.

        Raises:
            TableError: the table does not have it.
        """
        if name not in self.columns:
            known = sorted(self.columns)
            guess = near(name, known)
            hint = f"Did you mean {guess!r}?" if guess else "Use one of these."
            searched = " (it is searched)" if name in self.fields else ""
            raise TableError(
                f"table {self.name}: no measured column is called {name!r}{searched}; allowed: {', '.join(known)}. {hint}"
            )
        return self.columns[name]

    def measured(self, goals: Goals) -> Flags:
        """Return for each row whether all objectives were measured; TableError for a column that is not there."""
        return np.all([np.isfinite(self.column(goal.name)) for goal in goals], axis=0)

    def finals(self, goals: Goals) -> Floats:
        """Return what each candidate reached at its end, (candidates, goals), all to be minimised, logarithms where asked.

        Raises:
            TableError: a column that is missing, was not measured at a candidate's end, or has no logarithm.
        """
        columns = []
        for goal in goals:
            final = self.column(goal.name)[self.ends]
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
        whole = self.measured(goals)[self.ends]
        if whole.all():
            return self
        if not whole.any():
            raise TableError(
                f"table {self.name}: no candidate has all of {', '.join(goal.name for goal in goals)} measured at its last "
                "epoch; allowed: a number in each. Fill them in, or name other objectives."
            )
        note = f"left out: {(~whole).sum()} of {len(self)} candidates, without all objectives at their last epoch"
        rows, sizes = np.repeat(whole, np.diff(self.starts)), np.diff(self.starts)[whole]
        kept = np.flatnonzero(whole).tolist()
        return replace(
            self,
            ids=tuple(self.ids[place] for place in kept),
            values=[self.values[place] for place in kept],
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            epochs=self.epochs[rows],
            costs=self.costs[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
            notes=(*self.notes, note),
        )


def infer_domain(values: Sequence[Scalar]) -> Domain:
    """Return the domain that a proposer is given for a column: texts and few numbers are a choice, many are a range."""
    distinct = {identity(value): value for value in values}
    numbers = [value for value in distinct.values() if is_number(value)]
    if len(numbers) < len(distinct) or len(distinct) <= MOST_OPTIONS:
        return Choice(options=tuple(sorted(distinct.values(), key=_order)))
    low, high = min(numbers), max(numbers)
    if all(isinstance(number, int) for number in numbers):
        return Int(low=int(low), high=int(high))
    kind = Log if low > 0 and high / low >= LOG_ABOVE else Float
    return kind(low=float(low), high=float(high))


def describe(domain: Domain) -> str:
    """Return a domain as the user reads it: `choice of 5`, `log 0.0005 to 0.003`."""
    if isinstance(domain, Choice):
        return f"choice of {len(domain.options) + bool(domain.zero)}"
    low, high = domain.bounds()
    return f"{domain.kind} {low:.4g} to {high:.4g}{', or 0' if domain.zero else ''}"


def _order(value: Scalar) -> tuple[int, float, str]:
    """Return a key that sorts numbers by size and before texts."""
    return (0, float(value), "") if is_number(value) else (1, math.inf, str(value))
