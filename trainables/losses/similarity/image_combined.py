"""Contrast with the teacher's pictures and the teacher's similarities in one: `combined` where there are no texts."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between, require_positive
from trainables.losses.similarity.contrast import TEMPERATURE
from trainables.losses.similarity.images import IMAGE, gathered, match_others, relations
from trainables.signals import Batch, Signals

FIXED = 0.07
"""Temperature of the contrast for students that learn none: where learned ones begin (Radford et al. 2021)."""


@final
class ImageCombined(Loss):
    """Let each picture's embedding find the teacher's of the same picture, and lie to the others as the teacher has it.

    (1 - alpha) times the cross entropy of finding it among all of the batch (Tian et al. 2020, contrastive representation
    distillation, with the batch for negatives; interactive contrast of Yang et al. 2024, CLIP-KD) plus alpha times the KL of
    `image_logit`. Rows that show the same picture share the target. The contrast is divided by the student's own
    temperature, learned along, or by `FIXED` where it has none. Where lengths E differ, a linear projection on the student's
    side is trained along (and not exported); the KL needs none.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            alpha: share of the KL.
            temperature: that the student's cosines in the KL are divided by.
            teacher_temperature: that the teacher's are divided by.
        """

        weight: float = 1.0
        alpha: float = 0.5
        temperature: float = 0.1
        teacher_temperature: float = 0.1

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("alpha", self.alpha, 0.0, 1.0)
            require_positive("temperature", self.temperature)
            require_positive("teacher_temperature", self.teacher_temperature)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.alpha = config.alpha
        self.temperatures = (config.temperature, config.teacher_temperature)
        self.learned = TEMPERATURE in self.needs.student
        mine, theirs = ends.student[IMAGE].size("E"), ends.source[IMAGE].size("E")
        projects = mine != theirs and config.alpha < 1
        self.projection = nn.Linear(mine, theirs, bias=False) if projects else nn.Identity()

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the picture's embedding of both, and the student's temperature where it has one."""
        assert isinstance(config, ImageCombined.Config)
        learned = frozenset({TEMPERATURE} if TEMPERATURE in ends.student and config.alpha < 1 else ())
        return Needs(student=learned | {IMAGE}, source=frozenset({IMAGE}))

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the weighted sum over the batch of all workers, in nats."""
        mine_BE, theirs_BF, same_BB = gathered(student, source, batch)
        parts = []
        if self.alpha < 1:
            # Projected after the rows are gathered, so on every worker alike: N workers average equal gradients.
            projected_BF = functional.normalize(self.projection(mine_BE), dim=-1)
            temperature = student[TEMPERATURE].float() if self.learned else FIXED
            targets_BB = same_BB.float() / same_BB.sum(1, keepdim=True)
            found = functional.cross_entropy(projected_BF @ theirs_BF.T / temperature, targets_BB)
            parts.append((1 - self.alpha) * found)
        if self.alpha:
            related = match_others(*relations(mine_BE, theirs_BF, self.temperatures), same_BB)
            parts.append(self.alpha * related)
        return torch.stack(parts).sum()
