"""Cross entropy of the classes that the data names."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between
from trainables.losses.reduction import global_mean
from trainables.signals import CLASS, Batch, Signals, Want
from trainables.transfer import to_device

LOGITS = Want("image", "logits")


@final
class ClassLabel(Loss):
    """Name the class of each picture, as its label says.

    Cross entropy with the label smoothing of Szegedy et al. 2016, section 7. Nothing of a teacher. Pictures without a label
    (-1) are left out.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            label_smoothing: share of the target that is spread over all classes.
        """

        weight: float = 1.0
        label_smoothing: float = 0.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.label_smoothing, self.num_classes = config.label_smoothing, ends.student[LOGITS].size("C")

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the class logits, and the labels."""
        return Needs(student=frozenset({LOGITS}), fields=frozenset({CLASS}))

    def guessing(self, pairs: float) -> float:
        """Return what equal logits give, ln C, whatever the labels and their smoothing."""
        return math.log(self.num_classes)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the labelled pictures of all workers, in nats; 0 where there is none."""
        labels_B = batch[CLASS]
        labelled_n = _labelled(batch)
        # Taken out by index: a weight of 0 would let NaN through.
        logits_nC, labels_n = student[LOGITS][labelled_n].float(), labels_B[labelled_n]
        smoothed = self.label_smoothing
        return global_mean(
            functional.cross_entropy(logits_nC, labels_n, label_smoothing=smoothed, reduction="none")
        )


def _labelled(batch: Batch) -> Tensor:
    """Return the rows that have a label, (n,)."""
    if CLASS not in batch.hosted:
        return (batch[CLASS] >= 0).nonzero()[:, 0]
    return to_device(torch.from_numpy(np.flatnonzero(batch.hosted[CLASS] >= 0)), batch.device)
