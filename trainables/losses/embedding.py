"""Distance between unit embeddings, shared by the two `*_embedding` losses."""

from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import filled
from trainables.losses.reduction import global_mean
from trainables.models.config import BlipConfig
from trainables.outputs import Want


class EmbeddingMatch(nn.Module):
    """Mean of 1 - cosine between student and teacher embeddings.

    Where their lengths E differ, a linear projection on the student's side is trained along (and not
    exported).
    """

    def __init__(self, want: Want, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__()
        self.want = want
        equal = student.embedding == teacher.embedding
        self.projection = (
            nn.Identity() if equal else nn.Linear(student.embedding, teacher.embedding, bias=False)
        )

    def forward(self, student_BE: Tensor | None, teacher_BE: Tensor | None) -> Tensor:
        """Return the mean over the rows of all workers: 0 for equal directions, 2 for opposite ones."""
        target_BE = filled(teacher_BE, self.want).detach().float()
        projected_BE = self.projection(filled(student_BE, self.want).float())
        require_same_shape(self.want, projected_BE, target_BE)
        return global_mean(1 - functional.cosine_similarity(projected_BE, target_BE, dim=-1))
