"""Attention distillation by activations: where a feature map is strong."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.reduction import global_mean
from trainables.signals import Batch, Signals, Want


@final
class Activation(Loss):
    """Let the feature map of one mode be strong where the teacher's is: `MODE_activation`.

    Zagoruyko and Komodakis 2017, equation 2, with the map of section 3.1: Q is the sum over channels of squares, flattened
    and of unit L2 norm; theirs is the L2 norm of the difference of two such maps, here its square, so that the gradient has
    no corner at 0. Numbers of channels may differ. Where grids do, the Q of the finer one is averaged down to the coarser
    along each axis (adaptive average pooling; Q, not the features, whose signs would cancel).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 1.0

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.want = _want(ends)

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the feature map of both."""
        want = frozenset({_want(ends)})
        return Needs(student=want, source=want)

    @classmethod
    def disagreement(cls, config: Loss.Config, ends: Ends) -> str | None:
        """Return that there is nothing to compare, where the coarser grid has one place only."""
        want = _want(ends)
        mine, theirs = (
            (model[want].size("Y"), model[want].size("X")) for model in (ends.student, ends.source)
        )
        if min(mine[0], theirs[0]) * min(mine[1], theirs[1]) > 1:
            return None
        return (
            f"compares where {want} is strong: the student's has {mine[0]} x {mine[1]} places, the teacher's "
            f"{theirs[0]} x {theirs[1]}, which leaves a single one; left out for it."
        )

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean squared distance over the pictures of all workers: 0 for equal maps, at most 2."""
        mine, theirs = student[self.want].float(), source[self.want].detach().float()
        require_same_shape(self.want, mine[:, 0, 0, 0], theirs[:, 0, 0, 0])
        grid = (min(mine.shape[2], theirs.shape[2]), min(mine.shape[3], theirs.shape[3]))
        return global_mean((_strength(mine, grid) - _strength(theirs, grid)).square().sum(-1))


def _want(ends: Ends) -> Want:
    return Want(ends.name.removesuffix("_activation"), "map")


def _strength(map_BDYX: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return (B, places) sums of squares over channels, of unit norm; 0 for a map of zeros."""
    squares_BYX = map_BDYX.square().sum(1)
    return functional.normalize(functional.adaptive_avg_pool2d(squares_BYX, grid).flatten(1), dim=-1)
