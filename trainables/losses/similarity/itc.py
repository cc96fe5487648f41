"""Image-text contrast."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between
from trainables.losses.similarity.contrast import CONTRAST, contrast, positives, similarities
from trainables.signals import NOTHING, Batch, Signals


@final
class Itc(Loss):
    """Draw each image to its captions and away from all others of the batch, and the reverse (InfoNCE).

    Li et al. 2022, section 3.2, in its fine-tuning form: rows with the same image or the same caption are all positives
    and share the target evenly, so a repeated pair is no false negative. Features come from all workers.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            soft_targets: share of the target that is the teacher's softmax: alpha in Li et al. 2022, there 0.4.
        """

        weight: float = 1.0
        soft_targets: float = 0.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("soft_targets", self.soft_targets, 0.0, 1.0)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.soft_targets = config.soft_targets

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings and the temperature; the teacher's for soft targets."""
        assert isinstance(config, Itc.Config)
        return Needs(
            student=CONTRAST,
            source=CONTRAST if config.soft_targets else NOTHING,
            fields=frozenset({"caption.key"}),
        )

    def guessing(self, pairs: float) -> float:
        """Return what equal similarities to all of the batch give, whatever the targets."""
        return math.log(pairs)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean cross entropy of both directions over the batch of all workers, in nats."""
        logits_BB, targets_BB = similarities(student), positives(batch)
        to_text_BB, to_image_BB = targets_BB, targets_BB
        if self.soft_targets:
            with torch.no_grad():
                taught_BB = similarities(source)
                to_text_BB = torch.lerp(targets_BB, taught_BB.softmax(1), self.soft_targets)
                to_image_BB = torch.lerp(targets_BB, taught_BB.T.softmax(1), self.soft_targets)
        return contrast(logits_BB, to_text_BB, to_image_BB)
