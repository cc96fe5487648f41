"""Representation distillation of the text encoder's states."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.base import Loss, filled
from trainables.losses.hidden import HiddenConfig, HiddenMatch
from trainables.losses.mapping import layer_pairs
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class TextHidden(Loss):
    """Give the text encoder's states the content of the teacher's, layer by mapped layer.

    Hidden-state distillation of Jiao et al. 2020 (TinyBERT), equation 8, with the states layer-normed first
    so that weights compare between layers and models. Padding is left out.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(HiddenConfig):
        """Options: weight, layers, kind and tokens."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.match = HiddenMatch(
            config,
            "text",
            pairs=layer_pairs(config.layers, range(student.text.depth), range(teacher.text.depth)),
            student_width=student.text.width,
            teacher_width=teacher.text.width,
        )
        self.student_wants = self.match.student_wants
        self.teacher_wants = self.match.teacher_wants

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean distance over layers and the real tokens of all workers."""
        mine, theirs = filled(student.text, "text"), filled(teacher.text, "text")
        return self.match(mine.hidden, theirs.hidden, mine.mask_BT)
