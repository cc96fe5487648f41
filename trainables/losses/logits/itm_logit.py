"""Distillation of image-text matching."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import require_one_meaning, require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import softened_divergence
from trainables.losses.options import require_positive
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals, Want

LOGITS = Want("fused", "logits")


@final
class ItmLogit(Loss):
    """Pull the student's verdict on whether picture and caption match toward the teacher's.

    Hinton, Vinyals and Dean 2015, section 2, on the given pairs: where captions of the transfer set belong to other pictures, the
    teacher's verdict is the better one. Negatives are the student's own, drawn anew in each step; the teacher, whose signals may
    be cached, has not seen them.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            temperature: softens both distributions; the divergence is multiplied by its square.
        """

        weight: float = 1.0
        temperature: float = 1.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_positive("temperature", self.temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        require_one_meaning(LOGITS, ends)
        self.temperature = config.temperature

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the matching logits of both."""
        return Needs(student=frozenset({LOGITS}), source=frozenset({LOGITS}))

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the given pairs of all workers, in nats x squared temperature.

        Rows of the student behind the teacher's B (negatives) are left out.

        Raises:
            ShapeError: the student gives fewer pairs than the teacher.
        """
        theirs_B2 = source[LOGITS]
        mine_B2 = student[LOGITS][: len(theirs_B2)]
        require_same_shape(LOGITS, mine_B2, theirs_B2)
        return global_mean(softened_divergence(mine_B2, theirs_B2, self.temperature))
