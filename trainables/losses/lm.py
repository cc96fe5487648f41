"""Captioning."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Loss, filled
from trainables.losses.logits import next_token_mask
from trainables.losses.options import require_between
from trainables.losses.reduction import global_mean
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want


@final
class Lm(Loss):
    """Predict each caption token from the image and the tokens before it.

    Li et al. 2022 (BLIP), section 3.2: cross entropy with label smoothing 0.1. Padding counts nowhere.
    """

    student_part = "decoder"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            label_smoothing: share of the target that is spread over the whole vocabulary.
        """

        weight: float = 1.0
        label_smoothing: float = 0.1

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.label_smoothing = config.label_smoothing
        self.student_wants = frozenset({Want("decoder", "logits")})

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the caption tokens of all workers, in nats."""
        logits_BTV = filled(filled(student.decoder, "decoder").logits_BTV, Want("decoder", "logits"))
        real = next_token_mask(batch.caption_mask)
        losses = functional.cross_entropy(
            logits_BTV[:, :-1][real].float(),
            batch.caption_ids[:, 1:][real],
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return global_mean(losses)
