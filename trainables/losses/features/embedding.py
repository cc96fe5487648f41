"""Representation distillation of a pooled embedding."""

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals, Want


@final
class Embedding(Loss):
    """Turn the student's embedding of one mode toward the teacher's: `MODE_embedding`.

    Representation distillation of Kuang et al. 2023 (DLIP) and feature distillation of Yang et al. 2024 (CLIP-KD), section 3.2:
    their squared error of unit vectors, averaged over the E entries, is 2 / E times this, so that their weight of 2000 at
    E = 512 is 7.8 here. A cosine of unit vectors moves little: weights of about 20 do the work that 1 does not. Where lengths E
    differ, a linear projection on the student's side is trained along (and not exported).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 20.0

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.want = _want(ends)
        mine, theirs = ends.student[self.want].size("E"), ends.source[self.want].size("E")
        self.projection = nn.Identity() if mine == theirs else nn.Linear(mine, theirs, bias=False)

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the embedding of both."""
        want = frozenset({_want(ends)})
        return Needs(student=want, source=want)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean of 1 - cosine over the rows of all workers: 0 for equal directions, 2 for opposite ones."""
        target_BE = source[self.want].detach().float()
        projected_BE = self.projection(student[self.want].float())
        require_same_shape(self.want, projected_BE, target_BE)
        return global_mean(1 - functional.cosine_similarity(projected_BE, target_BE, dim=-1))


def _want(ends: Ends) -> Want:
    return Want(ends.name.removesuffix("_embedding"), "embedding")
