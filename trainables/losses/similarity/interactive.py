"""Contrast of each model's pictures with the other's captions."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.agreement import require_same_shape
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between
from trainables.losses.reduction import gather_rows
from trainables.losses.similarity.contrast import IMAGE, TEXT, positives
from trainables.signals import Batch, Signals

SHARPEST = 0.01
"""The learned temperature does not fall below it, as in Radford et al. 2021, section 2.5."""


@final
class Interactive(Loss):
    """Let each picture of the student find its captions among the teacher's, and each caption its pictures.

    Interactive contrastive learning of Yang et al. 2024 (CLIP-KD), section 3.4. Positives are those of `itc`: rows with the same
    picture or caption share the target. The temperature is the loss's own, learned along. Where lengths E differ, a linear
    projection of each of the student's sides is trained along (and not exported).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            temperature: that the learned one begins with.
        """

        weight: float = 1.0
        temperature: float = 0.07

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("temperature", self.temperature, SHARPEST, 1.0)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.projections = nn.ModuleDict()
        for want in (IMAGE, TEXT):
            mine, theirs = ends.student[want].size("E"), ends.source[want].size("E")
            self.projections[want.mode] = (
                nn.Identity() if mine == theirs else nn.Linear(mine, theirs, bias=False)
            )

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return both embeddings of both models, and the captions' keys for positives."""
        both = frozenset({IMAGE, TEXT})
        return Needs(student=both, source=both, fields=frozenset({"caption.key"}))

    def guessing(self, pairs: float) -> float:
        """Return what equal similarities to all of the batch give, whatever the targets."""
        return math.log(pairs)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean cross entropy of both directions over the batch of all workers, in nats.

        Raises:
            ShapeError: the two have different numbers of rows.
        """
        for want in (IMAGE, TEXT):
            require_same_shape(want, student[want][:, 0], source[want][:, 0])
        image_BE, text_BE = gather_rows(student[IMAGE].float(), student[TEXT].float())
        taught_image_BF, taught_text_BF = gather_rows(
            source[IMAGE].detach().float(), source[TEXT].detach().float()
        )
        with torch.no_grad():  # in place, as CLIP does: a clamp in the graph would stop its gradient
            self.scale.clamp_(max=-math.log(SHARPEST))
        targets_BB, scale = positives(batch), self.scale.exp()
        to_text_BB = self._projected(IMAGE.mode, image_BE) @ taught_text_BF.T * scale
        to_image_BB = self._projected(TEXT.mode, text_BE) @ taught_image_BF.T * scale
        found = functional.cross_entropy(to_text_BB, targets_BB) + functional.cross_entropy(
            to_image_BB, targets_BB
        )
        return found / 2

    def _projected(self, mode: str, embedding_BE: Tensor) -> Tensor:
        """Return (B, F) vectors of unit norm: projected after the rows are gathered, so on every worker alike."""
        return functional.normalize(self.projections[mode](embedding_BE), dim=-1)
