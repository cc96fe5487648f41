"""Representation distillation of the image embedding."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from trainables.losses.base import Loss, filled
from trainables.losses.embedding import EmbeddingMatch
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want


@final
class ImageEmbedding(Loss):
    """Turn the student's image embedding toward the teacher's.

    Representation distillation of Kuang et al. 2023 (DLIP) and feature distillation of Yang et al. 2024
    (CLIP-KD). A cosine of unit vectors moves little: weights of about 20 do the work that 1 does not.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 20.0

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        want = Want("image", "embedding")
        self.match = EmbeddingMatch(want, student, teacher)
        self.student_wants = frozenset({want})
        self.teacher_wants = frozenset({want})

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean of 1 - cosine over the images of all workers."""
        return self.match(
            filled(student.image, "image").embedding_BE, filled(teacher.image, "image").embedding_BE
        )
