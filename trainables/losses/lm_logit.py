"""Distillation of the caption's next-token distributions."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import require_one_vocabulary
from trainables.losses.base import Loss, filled
from trainables.losses.logits import next_token_mask, softened_divergence
from trainables.losses.options import require_positive
from trainables.losses.reduction import global_mean
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want

LOGITS = Want("decoder", "logits")


@final
class LmLogit(Loss):
    """Pull the caption's next-token distributions of the student toward the teacher's.

    Hinton, Vinyals and Dean 2015, section 2, at every position whose next caption token is real.
    """

    student_part = "decoder"
    teacher_part = "decoder"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            temperature: softens both distributions; above 1 the teacher's unlikely tokens count more.
        """

        weight: float = 1.0
        temperature: float = 1.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_positive("temperature", self.temperature)

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        require_one_vocabulary(student, teacher)
        self.temperature = config.temperature
        self.student_wants = frozenset({LOGITS})
        self.teacher_wants = frozenset({LOGITS})

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the caption tokens of all workers, in nats x squared temperature."""
        real = next_token_mask(batch.caption_mask)
        mine_BTV = filled(filled(student.decoder, "decoder").logits_BTV, LOGITS)
        theirs_BTV = filled(filled(teacher.decoder, "decoder").logits_BTV, LOGITS)
        return global_mean(
            softened_divergence(mine_BTV[:, :-1][real], theirs_BTV[:, :-1][real], self.temperature)
        )
