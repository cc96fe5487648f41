"""What every loss is: a module that owns its projections, says what it needs, and returns one scalar."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError, TeacherError
from trainables.losses.options import require_between
from trainables.signals import NOTHING, TEXTS, Batch, Offers, Signals, Wants


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Between whom a loss stands.

    Attributes:
        name: the loss's name, which says what it looks at.
        student: all that the student can say.
        source: all that the teacher can say; {} without one.
    """

    name: str
    student: Offers
    source: Offers = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TwinNeeds:
    """What a loss reads of the student's own twin, a source of signals beside the teacher (He et al. 2020, MoCo).

    Attributes:
        wants: of the student's, each with one row for an example.
        decay: share of its weights that the twin keeps at each update.
        queue: rows that it remembers of what it has said of earlier batches.
    """

    wants: Wants
    decay: float
    queue: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a loss reads: signals of the student, signals of its source, fields of the batch.

    Attributes:
        shortened: of the source, logits over a vocabulary of which the largest are enough, the others sharing the rest of the
            probability evenly: a cache may keep them so, where a space asks for it (`teacher_cache.top_k`).
        twin: what it reads of the student's twin; None for nothing.
    """

    student: Wants
    source: Wants = NOTHING
    fields: frozenset[str] = frozenset()
    shortened: Wants = NOTHING
    twin: TwinNeeds | None = None


class Loss(nn.Module, ABC):
    """One loss. A subclass is final: it nests `Config`, says what it needs, and writes `compute`.

    Attributes:
        name: the row of the table it was made by.
        needs: what `compute` reads, with absolute layers.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Options of a loss. The training step multiplies by `weight`; at 0 the loss is not computed.

        A subclass that checks its options calls this check as `Loss.Config.__post_init__(self)`: before
        Python 3.14 `super()` without arguments fails in a slotted dataclass.

        Raises:
            PluginError: a value that is not allowed.
        """

        weight: float = 1.0

        def __post_init__(self) -> None:
            require_between("weight", self.weight, 0.0, math.inf)

    def __init__(self, config: Config, ends: Ends) -> None:
        """Take what the loss needs; a subclass then makes its projections.

        Raises:
            TeacherError: the source cannot say what the loss reads.
            ShapeError: the student cannot, or what the two say cannot be compared.
        """
        super().__init__()
        self.name, self.needs = ends.name, self.needs_of(config, ends)
        if reason := source_lack(self.needs, ends):
            raise TeacherError(f"losses.{ends.name}: {reason}")
        if reason := student_lack(self.needs, ends) or self.disagreement(config, ends):
            raise ShapeError(f"losses.{ends.name}: {reason}")

    @classmethod
    @abstractmethod
    def needs_of(cls, config: Config, ends: Ends) -> Needs:
        """Return what such a loss reads of models with these offers, be they able to say it or not."""

    @classmethod
    def disagreement(cls, config: Config, ends: Ends) -> str | None:
        """Return why what the two say cannot be compared, or None: the loss is then left out for this student.

        Args:
            config: of the loss.
            ends: two models that both have what `needs_of` names.
        """
        return None

    @abstractmethod
    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the unweighted loss, a float32 scalar whose mean over workers is the global loss."""

    def guessing(self, pairs: float) -> float | None:
        """Return the value at which the loss has learned nothing; None where there is no such value.

        Args:
            pairs: that a batch holds over all workers, in the mean.
        """
        return None

    def forward(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return `compute` outside autocast: sums over tokens and small differences need float32.

        Raises:
            ValueError: a model did not fill a signal that the loss wants.
            ShapeError: student and source disagree on the shape of a signal.
        """
        with torch.autocast(batch.device.type, enabled=False):
            return self.compute(student, source, batch)


ADVICE = "Drop the loss or change the teacher."


def source_lack(needs: Needs, ends: Ends) -> str | None:
    """Return why this teacher can feed the loss for no student, or None: a reason is the user's mistake."""
    lacking = missing(needs.source, ends.source)
    if not lacking:
        return None
    return f"needs {lacking} of the teacher, which this one does not have. {ADVICE}"


def student_lack(needs: Needs, ends: Ends) -> str | None:
    """Return why this student cannot feed the loss, or None: it is then left out for it, and the search goes on."""
    lacking = missing(needs.student, ends.student)
    return f"needs {lacking}, which this student does not have; left out for it." if lacking else None


def pair_lack(kind: type[Loss], config: Loss.Config, ends: Ends) -> str | None:
    """Return why this student cannot feed the loss beside its teacher, or None; None, too, where the teacher cannot."""
    needs = kind.needs_of(config, ends)
    if source_lack(needs, ends) is not None:
        return None
    return student_lack(needs, ends) or kind.disagreement(config, ends)


def data_lack(needs: Needs, fields: Collection[str]) -> str | None:
    """Return why this data cannot feed the loss, or None."""
    lacking = sorted(needs.fields - set(fields))
    return f"needs {', '.join(lacking)}, which not every split of this data has." if lacking else None


def reading_lack(needs: Needs, offers: Offers, fields: Collection[str]) -> str | None:
    """Return why this data cannot feed the loss, or None, by the texts, too, that models read for what it looks at.

    Args:
        needs: of the loss.
        offers: of teacher and student: of which rows their signals are.
        fields: of the data.
    """
    rows = {offers[want].rows for want in needs.student | needs.source if want in offers}
    texts = {f"{kind}.ids" for kind in rows & TEXTS}
    return data_lack(replace(needs, fields=needs.fields | texts), fields)


def missing(wants: Wants, offers: Offers) -> str:
    """Return the wants that are not offered, in words; "" where all are."""
    return ", ".join(sorted(str(want) for want in wants if want not in offers))
