"""What every loss is: a module that owns its projections, says what it needs, and returns one scalar."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from spaces.errors import ShapeError, TeacherError
from trainables.losses.options import require_between
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want, Wants

Part = Literal["encoder", "fusion", "decoder"]
"""What a loss asks of a model: every one has encoders; fusion layers and a decoder not."""

Filled = TypeVar("Filled")


class Loss(nn.Module, ABC):
    """One loss. A subclass is final: it nests `Config`, sets its wants in `__init__` and writes `compute`.

    Attributes:
        student_wants: outputs of the student that `compute` reads, with absolute layers.
        teacher_wants: outputs of the teacher that `compute` reads; empty for a plain task loss.
        student_part, teacher_part: the part that student and teacher must have to feed the loss.
    """

    student_part: ClassVar[Part] = "encoder"
    teacher_part: ClassVar[Part] = "encoder"

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

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        """Refuse models that cannot feed this loss; subclasses then fill in their wants and projections.

        Raises:
            TeacherError: the teacher lacks the part that the loss reads.
            ShapeError: the student lacks it.
        """
        super().__init__()
        name = type(self).__module__.rpartition(".")[2]  # the file is called as the table's row
        if reason := self.unfeedable_by_teacher(config, teacher):
            raise TeacherError(f"losses.{name}: {reason}")
        if reason := self.feedable(config, student, teacher):
            raise ShapeError(f"losses.{name}: {reason}")
        self.student_wants: Wants = frozenset()
        self.teacher_wants: Wants = frozenset()

    @abstractmethod
    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the unweighted loss, a float32 scalar whose mean over workers is the global loss."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return `compute` outside autocast: sums over tokens and small differences need float32.

        Raises:
            ValueError: a model did not fill an output that the loss wants.
            ShapeError: student and teacher disagree on the shape of an output.
        """
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.compute(student, teacher, batch)

    @classmethod
    def feedable(cls, config: Config, student: BlipConfig, teacher: BlipConfig) -> str | None:
        """Return None if student and teacher can feed the loss, else the reason in the user's words.

        A reason that `unfeedable_by_teacher` does not give means that this student simply has no such part
        (it is a dual encoder): the loss is left out for it, and the search goes on.

        Args:
            config: the loss's options, for losses whose needs depend on them.
            student: sizes of the student.
            teacher: sizes of the teacher.
        """
        if reason := cls.unfeedable_by_teacher(config, teacher):
            return reason
        if cls.student_part != "encoder" and not student.has_fusion:
            return "needs fusion layers, and this student has none (a dual encoder); left out for it."
        if cls.student_part == "decoder" and not student.has_decoder:
            return "needs a decoder, and this student has none; left out for it."
        return None

    @classmethod
    def unfeedable_by_teacher(cls, config: Config, teacher: BlipConfig) -> str | None:
        """Return why this teacher can feed the loss for no student, or None: a reason is the user's mistake.

        Args:
            config: the loss's options, for losses whose needs depend on them.
            teacher: sizes of the teacher.
        """
        if cls.teacher_part != "encoder" and not teacher.has_fusion:
            return (
                "needs a teacher with fusion layers; this one has none. Drop the loss or change the teacher."
            )
        if cls.teacher_part == "decoder" and not teacher.has_decoder:
            return "needs a teacher with a decoder; this one has none. Drop the loss or change the teacher."
        return None


def filled(value: Filled | None, name: str | Want) -> Filled:
    """Return `value`, which a model was asked to fill.

    Raises:
        ValueError: it is None: the caller did not pass on the loss's wants.
    """
    if value is None:
        raise ValueError(f"{name} is not filled; hand the loss's wants to both models.")
    return value


def layer_output(outputs: dict[int, Tensor], want: Want) -> Tensor:
    """Return the output of the layer that `want` names.

    Raises:
        ValueError: that layer was not kept.
    """
    return filled(outputs.get(filled(want.layer, "layer")), want)
