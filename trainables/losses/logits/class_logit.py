"""Distillation of class logits."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.agreement import other_meaning, require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import FORMS, Form, logit_distance
from trainables.losses.options import require_one_of, require_positive
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals, Want

LOGITS = Want("image", "logits")


@final
class ClassLogit(Loss):
    """Pull the student's distribution over the classes toward the teacher's.

    Hinton, Vinyals and Dean 2015, section 2, for `kl`; Ba and Caruana 2014, section 3.2, for `mse`. Both must have the same
    classes in the same order: a teacher trained on others leaves the loss out.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            form: `kl` of the softened distributions, or `mse` of the logits over the temperature.
            temperature: softens both; above 1 the teacher's unlikely classes count more.
        """

        weight: float = 1.0
        form: Form = "kl"
        temperature: float = 4.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_one_of("form", self.form, FORMS)
            require_positive("temperature", self.temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.form: Form = config.form
        self.temperature = config.temperature

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the class logits of both."""
        return Needs(student=frozenset({LOGITS}), source=frozenset({LOGITS}))

    @classmethod
    def disagreement(cls, config: Loss.Config, ends: Ends) -> str | None:
        """Return how the classes differ, or None."""
        return other_meaning(LOGITS, ends)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the pictures of all workers: nats x squared temperature, or squared differences."""
        mine_BC, theirs_BC = student[LOGITS], source[LOGITS]
        require_same_shape(LOGITS, mine_BC, theirs_BC)
        return global_mean(logit_distance(mine_BC, theirs_BC, self.form, self.temperature))
