"""Attention distillation of the image-grounded encoder's cross-attention."""

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
class CrossAttention(Loss):
    """Let the image-grounded encoder's cross-attention look where the teacher's looks.

    Kuang et al. 2023 (DLIP), in the form of Wang et al. 2020 (MiniLM), section 3.1: KL of attention rows.
    Fusion layers are mapped among themselves, and only the given pairs are compared, since the teacher
    holds no negatives.
    """

    student_part = "fusion"
    teacher_part = "fusion"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(AttentionConfig):
        """Options: weight and layers."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        require_one_patch_grid(student, teacher)
        pairs = layer_pairs(config.layers, student.fusion, teacher.fusion)
        self.match = AttentionMatch("fused", "cross_attention", pairs)
        self.student_wants = self.match.student_wants
        self.teacher_wants = self.match.teacher_wants

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) in nats over mapped layers, heads and real query rows."""
        mine, theirs = filled(student.fused, "fused"), filled(teacher.fused, "fused")
        return self.match.divergence(mine.cross_attention, theirs.cross_attention, queries_BQ=mine.mask_NT)
