"""Distillation of the image-text similarity rows."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.divergence import FORMS, Form
from trainables.losses.options import require_one_of, require_positive
from trainables.losses.similarity.contrast import CONTRAST, match, similarities
from trainables.signals import Batch, Signals


@final
class ItcLogit(Loss):
    """Give the student the teacher's similarities of each image with the batch's captions, and the reverse.

    Affinity mimicking of Wu et al. 2023 (TinyCLIP), section 3.1, which Yang et al. 2024 (CLIP-KD) call
    contrastive relational distillation. TinyCLIP's cross entropies differ by the entropy of the teacher's rows, which has no
    gradient, and are added up where here is the mean of both directions. Each model keeps its own temperature. Embeddings may
    differ in length.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            form: `kl` of the distributions over the batch, or `mse` of the similarities, each over its own temperature.
            temperature: softens both models' similarities beyond their own temperatures.
        """

        weight: float = 1.0
        form: Form = "kl"
        temperature: float = 1.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_one_of("form", self.form, FORMS)
            require_positive("temperature", self.temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.form, self.temperature = config.form, config.temperature

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings and the temperature, of both models."""
        return Needs(student=CONTRAST, source=CONTRAST)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean distance of both directions over the batch of all workers.

        `kl` is KL(teacher || student) in nats x squared temperature.
        """
        logits_BB = similarities(student)
        with torch.no_grad():
            taught_BB = similarities(source)
        return match(logits_BB, taught_BB, self.form, self.temperature)
