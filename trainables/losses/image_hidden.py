"""Representation distillation of the image encoder's states."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import require_one_patch_grid
from trainables.losses.base import Loss, filled
from trainables.losses.hidden import HiddenConfig, HiddenMatch
from trainables.losses.mapping import layer_pairs
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class ImageHidden(Loss):
    """Give the image encoder's states the content of the teacher's, layer by mapped layer.

    Hidden-state distillation of Jiao et al. 2020 (TinyBERT), equation 8, with the states layer-normed first
    so that weights compare between layers and models. Images have no padding: every token counts.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(HiddenConfig):
        """Options: weight, layers, kind and tokens."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        if config.tokens == "all":
            require_one_patch_grid(student, teacher)
        self.match = HiddenMatch(
            config,
            "image",
            pairs=layer_pairs(config.layers, range(student.image.depth), range(teacher.image.depth)),
            student_width=student.image.width,
            teacher_width=teacher.image.width,
        )
        self.student_wants = self.match.student_wants
        self.teacher_wants = self.match.teacher_wants

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean distance over layers and the image tokens of all workers."""
        return self.match(filled(student.image, "image").hidden, filled(teacher.image, "image").hidden)
