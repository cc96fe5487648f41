"""Image-text contrast."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Loss
from trainables.losses.contrast import EMBEDDINGS, similarities, unit_embeddings
from trainables.losses.options import require_between
from trainables.losses.reduction import gather_rows
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class Itc(Loss):
    """Draw each image to its captions and away from all others of the batch, and the reverse (InfoNCE).

    Li et al. 2022 (BLIP), section 3.2, in its fine-tuning form: rows with the same image or the same
    caption are all positives and share the target evenly, so a repeated pair is no false negative.
    Features come from all workers.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            soft_targets: share of the target that is the teacher's softmax: BLIP's alpha, there 0.4.
        """

        weight: float = 1.0
        soft_targets: float = 0.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("soft_targets", self.soft_targets, 0.0, 1.0)

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.soft_targets = config.soft_targets
        self.student_wants = EMBEDDINGS
        self.teacher_wants = EMBEDDINGS if config.soft_targets else frozenset()

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean cross entropy of both directions over the batch of all workers, in nats."""
        image_BE, text_BE, captions_B, images_B = gather_rows(
            *unit_embeddings(student), batch.caption_keys, batch.image_keys
        )
        logits_BB = similarities(image_BE, text_BE, temperature=student.temperature)
        same_BB = (captions_B[:, None] == captions_B) | (images_B[:, None] == images_B)
        positives_BB = same_BB.float() / same_BB.sum(1, keepdim=True)
        to_text_BB, to_image_BB = positives_BB, positives_BB
        if self.soft_targets:
            with torch.no_grad():
                taught_BB = similarities(
                    *gather_rows(*unit_embeddings(teacher)), temperature=teacher.temperature
                )
                to_text_BB = torch.lerp(positives_BB, taught_BB.softmax(1), self.soft_targets)
                to_image_BB = torch.lerp(positives_BB, taught_BB.T.softmax(1), self.soft_targets)
        to_text = functional.cross_entropy(logits_BB, to_text_BB)
        to_image = functional.cross_entropy(logits_BB.T, to_image_BB)
        return (to_text + to_image) / 2
