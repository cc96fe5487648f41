"""Image-text matching."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Loss, filled
from trainables.losses.reduction import global_mean
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want


@final
class Itm(Loss):
    """Tell true pairs from hard negatives with the fused pass.

    Li et al. 2022 (BLIP), section 3.2. Which negatives stand behind the B true pairs was decided before
    the pass, by the pair sampler. A loss that stays at 0.6365, the entropy of one match to two negatives,
    has learned nothing.
    """

    student_part = "fusion"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.student_wants = frozenset({Want("fused", "logits")})

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean cross entropy over the pairs of all workers, in nats."""
        fused = filled(student.fused, "fused")
        logits_N2 = filled(fused.logits_N2, Want("fused", "logits")).float()
        labels_N = filled(fused.labels_N, "fused.labels").long()
        return global_mean(functional.cross_entropy(logits_N2, labels_N, reduction="none"))
