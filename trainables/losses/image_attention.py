"""Attention distillation of the image encoder's self-attention."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import require_one_patch_grid
from trainables.losses.attention import AttentionConfig, AttentionMatch
from trainables.losses.base import Loss, filled
from trainables.losses.mapping import layer_pairs
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class ImageAttention(Loss):
    """Let the image encoder's self-attention look where the teacher's looks.

    Kuang et al. 2023 (DLIP), in the form of Wang et al. 2020 (MiniLM), section 3.1: KL of attention rows.
    The heads follow the rule of `attention.AttentionMatch`; image tokens have no padding.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(AttentionConfig):
        """Options: weight and layers."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        require_one_patch_grid(student, teacher)
        pairs = layer_pairs(config.layers, range(student.image.depth), range(teacher.image.depth))
        self.match = AttentionMatch("image", "attention", pairs)
        self.student_wants = self.match.student_wants
        self.teacher_wants = self.match.teacher_wants

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) in nats over mapped layers, heads and query rows."""
        return self.match.divergence(
            filled(student.image, "image").attention, filled(teacher.image, "image").attention
        )
