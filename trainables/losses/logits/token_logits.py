"""Distillation of a decoder's next-token distributions: of captions, and of answers."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import require_one_meaning, require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import softened_divergence
from trainables.losses.logits.tokens import WEIGHT, predicted
from trainables.losses.options import require_positive
from trainables.losses.picking import picked
from trainables.losses.reduction import global_mean
from trainables.signals import CAPTION, QUESTION, Batch, Signals, Want

LOOKS_AT = {"lm_logit": ("decoder", CAPTION), "answer_logit": ("answer", QUESTION)}


@final
class TokenLogits(Loss):
    """Pull the student's next-token distributions toward the teacher's: `lm_logit` of captions, `answer_logit` of answers.

    Hinton, Vinyals and Dean 2015, section 2, at every position whose next token is to be predicted. Where texts of the
    transfer set are wrong, the teacher's are the better ones.
    """

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

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        mode, self.rows = LOOKS_AT[ends.name]
        self.want = Want(mode, "logits")
        require_one_meaning(self.want, ends)
        self.temperature = config.temperature

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the logits of both."""
        mode, rows = LOOKS_AT[ends.name]
        want = frozenset({Want(mode, "logits")})
        fields = frozenset({f"{rows}.targets"})
        return Needs(student=want, source=want, fields=fields, shortened=want)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the predicted tokens of all workers, by their question's weight, in nats x squared temperature.

        Raises:
            ShapeError: the two models were given other texts or another padding.
        """
        real = predicted(batch, self.rows)
        mine, theirs = student[self.want], source[self.want]
        require_same_shape(self.want, mine, theirs)
        values_n = softened_divergence(picked(mine, real), picked(theirs, real), self.temperature)
        if self.rows == QUESTION and WEIGHT in batch:
            values_n = values_n * batch[WEIGHT][real[0]]
        return global_mean(values_n)
