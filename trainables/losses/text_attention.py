"""Attention distillation of the text encoder's self-attention."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.attention import AttentionConfig, AttentionMatch
from trainables.losses.base import Loss, filled
from trainables.losses.mapping import layer_pairs
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class TextAttention(Loss):
    """Let the text encoder's self-attention look where the teacher's looks.

    Kuang et al. 2023 (DLIP), in the form of Wang et al. 2020 (MiniLM), section 3.1: KL of attention rows.
    Rows of padded queries are left out: they sum to 1 as well, and say nothing.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(AttentionConfig):
        """Options: weight and layers."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        pairs = layer_pairs(config.layers, range(student.text.depth), range(teacher.text.depth))
        self.match = AttentionMatch("text", "attention", pairs)
        self.student_wants = self.match.student_wants
        self.teacher_wants = self.match.teacher_wants

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) in nats over mapped layers, heads and real query rows."""
        mine, theirs = filled(student.text, "text"), filled(teacher.text, "text")
        return self.match.divergence(
            mine.attention, theirs.attention, queries_BQ=mine.mask_BT, keys_BK=mine.mask_BT
        )
