"""Rungs of a simulation: epochs, or fractions of each candidate's own length."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from search.simulator.goals import Goals
from search.simulator.table import CurveTable
from spaces.errors import TableError

ALLOWED = (
    "allowed: rising epochs (1 3), or rising fractions of a candidate's length below 1 (1/9 1/3, or 0.1 0.3)"
)
DEFAULT = (Fraction(1, 9), Fraction(1, 3))

Stations = dict[int, int]
"""Epoch -> number of the rung at which one candidate is judged there."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """Where candidates are judged.

    Attributes:
        marks: rising epochs, or rising fractions above 0 and below 1.
    """

    marks: tuple[Fraction, ...]

    @classmethod
    def parse(cls, texts: Sequence[str | int | Fraction]) -> Self:
        """Return the rungs that texts mean: a whole number is an epoch, anything else a fraction.

        Raises:
            TableError: another form, both kinds at once, or not rising.
        """
        told = f"--rungs: got {' '.join(map(str, texts)) or 'nothing'}; {ALLOWED}"
        try:
            rungs = cls(tuple(Fraction(text) for text in texts))
        except (ValueError, ZeroDivisionError) as error:
            raise TableError(f"{told}.") from error
        if any(mark <= 0 for mark in rungs.marks) or sorted(set(rungs.marks)) != list(rungs.marks):
            raise TableError(f"{told}.")
        if rungs.relative and rungs.marks[-1] >= 1:
            raise TableError(f"{told}, not both.")
        return rungs

    @classmethod
    def of(cls, table: CurveTable, goals: Goals) -> Self:
        """Return the rungs of a table where the user names none: those of its run, else a ninth and a third of the length.

        Those at which nobody would be judged are left out.

        Raises:
            TableError: none is left.
        """
        every = cls(tuple(map(Fraction, table.rungs)) or DEFAULT)
        met = {number for stations in every._stations(table, goals) for number in stations.values()}
        kept = tuple(mark for mark, number in zip(every.marks, every.numbers, strict=True) if number in met)
        if not kept:
            raise TableError(f"--rungs: got the default {every}, {_nobody(table, goals)}")
        return cls(kept)

    def __str__(self) -> str:
        return " ".join(map(str, self.marks))

    @property
    def relative(self) -> bool:
        """Whether the rungs are fractions."""
        return any(mark.denominator > 1 for mark in self.marks)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The rungs as a scheduler takes them: epochs, or 1, 2, ... for fractions."""
        return tuple(range(1, len(self.marks) + 1)) if self.relative else tuple(map(int, self.marks))

    def label(self, number: int) -> str:
        """Return how the user wrote the rung that a scheduler knows by a number."""
        return str(self.marks[self.numbers.index(number)])

    def stations(self, epochs: Sequence[int], length: int) -> Stations:
        """Return where a candidate is judged.

        A fraction is met at the first measured epoch that has reached it; where two meet in one epoch, the
        higher counts.

        Args:
            epochs: those in which the candidate is measured, rising.
            length: its last epoch, at which nobody is judged.
        """
        earlier = [epoch for epoch in epochs if epoch < length]
        if not self.relative:
            return {epoch: epoch for epoch in earlier if epoch in self.marks}
        reached = {
            number: next((epoch for epoch in earlier if epoch >= mark * length), None)
            for number, mark in enumerate(self.marks, start=1)
        }
        return {epoch: number for number, epoch in reached.items() if epoch is not None}

    def all_stations(self, table: CurveTable, goals: Goals) -> list[Stations]:
        """Return the stations of every candidate of a table.

        Raises:
            TableError: a rung at which nobody is judged.
        """
        found = self._stations(table, goals)
        met = {number for stations in found for number in stations.values()}
        for number in self.numbers:
            if number not in met:
                raise TableError(f"--rungs: got {self.label(number)}, {_nobody(table, goals)}")
        return found

    def _stations(self, table: CurveTable, goals: Goals) -> list[Stations]:
        """Return the stations of every candidate."""
        measured = table.measured(goals)
        return [
            self.stations(
                table.epochs[start : end + 1][measured[start : end + 1]].tolist(), int(table.epochs[end])
            )
            for start, end in zip(table.starts, table.ends, strict=False)
        ]


def _nobody(table: CurveTable, goals: Goals) -> str:
    """Return the rest of the message for a rung that no candidate meets."""
    before_end = table.measured(goals)
    before_end[table.ends] = False
    epochs = np.unique(table.epochs[before_end])
    if not epochs.size:
        return (
            "but no candidate is measured before its last epoch; nobody can be stopped. Use --scheduler none."
        )
    shown = ", ".join(str(epoch) for epoch in epochs[:12]) + (" ..." if epochs.size > 12 else "")
    return f"at which no candidate is judged; measured before the end: {shown}. Choose among these, or give fractions."
