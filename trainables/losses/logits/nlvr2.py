"""Whether statements hold of two pictures."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.reduction import global_mean
from trainables.signals import HOLDS, Batch, Signals, Want
from trainables.transfer import to_device

LOGITS = Want("paired", "logits")


@final
class Nlvr2(Loss):
    """Tell statements that are true of two pictures from false ones.

    Li et al. 2022, section 5.4: cross entropy. Nothing of a teacher. Pictures that are the first of no statement (-1) are left
    out.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options: none beside the weight."""

        weight: float = 1.0

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the logits, and whether statements hold."""
        return Needs(student=frozenset({LOGITS}), fields=frozenset({HOLDS}))

    def guessing(self, pairs: float) -> float:
        """Return what equal logits give, ln 2."""
        return math.log(2)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the statements of all workers, in nats; 0 where there is none."""
        if HOLDS in batch.hosted:
            there_n = to_device(torch.from_numpy(np.flatnonzero(batch.hosted[HOLDS] >= 0)), batch.device)
        else:
            there_n = (batch[HOLDS] >= 0).nonzero()[:, 0]
        logits_n2, holds_n = student[LOGITS][there_n].float(), batch[HOLDS][there_n]
        return global_mean(functional.cross_entropy(logits_n2, holds_n, reduction="none"))
