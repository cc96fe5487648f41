"""Image-text contrast and the teacher's similarities in one."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between, require_positive
from trainables.losses.similarity.contrast import CONTRAST, contrast, match, positives, similarities
from trainables.signals import NOTHING, Batch, Signals


@final
class Combined(Loss):
    """Draw each image to its captions, and as near to all others of the batch as the teacher has it.

    (1 - alpha) times the contrast of `itc` with its positives plus alpha times the KL of `itc_logit`: the combined loss of
    the report (Visual Model Distillation: contrastive and KL), weighed as in Hinton, Vinyals and Dean 2015,
    section 2. The same sum as these two losses with weights of their own, with one dimension less to search.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            alpha: the teacher's share.
            temperature: softens both models' similarities in the KL beyond their own temperatures.
        """

        weight: float = 1.0
        alpha: float = 0.5
        temperature: float = 1.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("alpha", self.alpha, 0.0, 1.0)
            require_positive("temperature", self.temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.alpha, self.temperature = config.alpha, config.temperature

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings and the temperature, the teacher's if it has a share; the captions' keys for positives."""
        assert isinstance(config, Combined.Config)
        fields = frozenset({"caption.key"}) if config.alpha < 1 else frozenset[str]()
        return Needs(student=CONTRAST, source=CONTRAST if config.alpha else NOTHING, fields=fields)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the weighted sum over the batch of all workers, in nats (x squared temperature in the KL)."""
        logits_BB = similarities(student)
        parts = []
        if self.alpha:
            with torch.no_grad():
                taught_BB = similarities(source)
            parts.append(self.alpha * match(logits_BB, taught_BB, "kl", self.temperature))
        if self.alpha < 1:
            targets_BB = positives(batch)
            parts.append((1 - self.alpha) * contrast(logits_BB, targets_BB, targets_BB))
        return torch.stack(parts).sum()
