"""Image-text matching."""

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals, Want

LOGITS, LABELS = Want("fused", "logits"), Want("fused", "labels")


@final
class Itm(Loss):
    """Tell true pairs from hard negatives with the fused pass.

    Li et al. 2022, section 3.2. Which negatives stand behind the B true pairs is the family's business. A loss that stays
    at `guessing`, the entropy of one match to two negatives, has learned nothing.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 1.0

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return logits and labels of the pairs that the student has met."""
        return Needs(student=frozenset({LOGITS, LABELS}))

    def guessing(self, pairs: float) -> float:
        """Return the entropy of one match to two negatives, 0.6365."""
        return math.log(3) - 2 / 3 * math.log(2)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean cross entropy over the pairs of all workers, in nats."""
        logits_N2, labels_N = student[LOGITS].float(), student[LABELS].long()
        return global_mean(functional.cross_entropy(logits_N2, labels_N, reduction="none"))
