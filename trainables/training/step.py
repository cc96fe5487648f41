"""One optimisation step: (student, batch, source) -> weighted sum of losses, and a report by loss name."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.families.base import Family
from trainables.losses.base import Loss, Needs
from trainables.signals import NOTHING, Batch, Signals, Wants, modes
from trainables.training.twin import twin_needs


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """The loss to descend (scalar with gradient), and every loss by name, detached and unweighted."""

    total: Tensor
    losses: dict[str, Tensor]


class DistillationStep(nn.Module):
    """Student and losses as one module: optimiser, DistributedDataParallel and checkpoint see all weights.

    Args:
        student: the model in training.
        losses: active losses by name; they own their projections.
        weights: weight of each loss.
        blind: show black pictures, for the baseline that sees nothing.

    Attributes:
        source_wants: what the source is asked for at each step.
        student_source: what of it the student itself reads.
        fields: what of a batch student and losses read.
        twin: what losses read of the student's twin, or None.
        hidden: what the student sees as zeros where it is to be blind: signals of its teacher that tell of pictures.
    """

    def __init__(
        self, student: Family, losses: Mapping[str, Loss], *, weights: Mapping[str, float], blind: bool
    ) -> None:
        super().__init__()
        self.student = student
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)
        self._losses = dict(losses)
        self.blind = blind
        self._needs = {name: loss.needs for name, loss in losses.items()}
        taught: Wants = frozenset().union(*(needs.source for needs in self._needs.values()))
        inputs = student.inputs(_student_wants(self._needs))
        self.student_source, self.source_wants = inputs.source, taught | inputs.source
        self.fields = inputs.fields.union(*(needs.fields for needs in self._needs.values()))
        self.twin = twin_needs(self._needs)
        self.hidden: Wants = NOTHING

    def indivisible(self) -> str | None:
        """Return why a batch cannot be taken in parts with the same result, or None; see `Family.indivisible`."""
        return self.student.indivisible(_student_wants(self._needs))

    def guessing(self, pairs: float) -> dict[str, float]:
        """Return the value at which a loss has learned nothing, of those that have one; see `Loss.guessing`."""
        values = {name: one.guessing(pairs) for name, one in self._losses.items()}
        return {name: value for name, value in values.items() if value is not None}

    def forward(self, batch: Batch, given: Signals, skipped: frozenset[str] = frozenset()) -> StepReport:
        """Return the step's report.

        Args:
            batch: B examples.
            given: the source's signals for `source_wants`, without gradient.
            skipped: modes that are not run; losses that look at one are absent from the report (unless there are no
                others).
        """
        active = self.active(skipped)
        return self.judge(self.say(batch, given, active), given, batch, active)

    def active(self, skipped: frozenset[str]) -> Mapping[str, Needs]:
        """Return the losses that look at no skipped mode, with what they need; all, where there are no others."""
        found = {name: one for name, one in self._needs.items() if not modes(one.student) & skipped}
        return found or self._needs

    def say(self, batch: Batch, given: Signals, active: Mapping[str, Needs]) -> Signals:
        """Return what the student says for the active losses."""
        seen, told = (batch.blinded(), given.blinded(self.hidden)) if self.blind else (batch, given)
        said: Signals = self.student(seen, _student_wants(active), told)
        return said

    def judge(
        self, student: Signals, given: Signals, batch: Batch, active: Mapping[str, Needs]
    ) -> StepReport:
        """Return what the active losses say of the student's signals."""
        values = {name: self.losses[name](student, given, batch) for name in active}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return StepReport(total=total, losses={name: value.detach() for name, value in values.items()})


def _student_wants(needs: Mapping[str, Needs]) -> Wants:
    return frozenset().union(*(one.student for one in needs.values()))
