"""Distillation of the image-text similarity rows."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.losses.base import Loss
from trainables.losses.contrast import EMBEDDINGS, similarities, unit_embeddings
from trainables.losses.logits import softened_divergence
from trainables.losses.reduction import gather_rows
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs


@final
class ItcLogit(Loss):
    """Give the student the teacher's distribution over the batch's captions for each image, and the reverse.

    Affinity mimicking of Wu et al. 2023 (TinyCLIP), section 3.1, which Yang et al. 2024 (CLIP-KD) call
    contrastive relational distillation. Each model keeps its own temperature. Embeddings may differ in
    length.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 1.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.student_wants = EMBEDDINGS
        self.teacher_wants = EMBEDDINGS

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) of both directions over the batch of all workers."""
        logits_BB = similarities(*gather_rows(*unit_embeddings(student)), temperature=student.temperature)
        with torch.no_grad():
            taught_BB = similarities(*gather_rows(*unit_embeddings(teacher)), temperature=teacher.temperature)
        # Every worker holds the whole batch here, so a plain mean is already the global one.
        to_text_B = softened_divergence(logits_BB, taught_BB, 1.0)
        to_image_B = softened_divergence(logits_BB.T, taught_BB.T, 1.0)
        return (to_text_B.mean() + to_image_B.mean()) / 2
