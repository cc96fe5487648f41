"""Distillation of the image-text similarity rows."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import softened_divergence
from trainables.losses.similarity.contrast import CONTRAST, similarities
from trainables.signals import Batch, Signals


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

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings and the temperature, of both models."""
        return Needs(student=CONTRAST, source=CONTRAST)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean KL(teacher || student) of both directions over the batch of all workers."""
        logits_BB = similarities(student)
        with torch.no_grad():
            taught_BB = similarities(source)
        # Every worker holds the whole batch here, so a plain mean is already the global one.
        to_text_B = softened_divergence(logits_BB, taught_BB, 1.0)
        to_image_B = softened_divergence(logits_BB.T, taught_BB.T, 1.0)
        return (to_text_B.mean() + to_image_B.mean()) / 2
