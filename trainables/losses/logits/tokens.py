"""Cross entropy of a decoder's next tokens: of captions, and of answers."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between
from trainables.losses.picking import picked
from trainables.losses.reduction import global_mean
from trainables.signals import CAPTION, QUESTION, Batch, Signals, Want
from trainables.transfer import to_device

WEIGHT = "question.weight"


def predicted(batch: Batch, rows: str) -> tuple[Tensor, ...]:
    """Return text and position of every token whose next one is to be predicted, in texts of a kind; the last has no next."""
    count, length = batch[f"{rows}.targets"].shape
    return batch.chosen(f"{rows}.targets", count, length - 1)


class _NextTokens(Loss):
    """What both have: the decoder's logits, and label smoothing.

    Attributes:
        mode, rows: whose logits, and the texts that they continue.
    """

    mode: ClassVar[str]
    rows: ClassVar[str]

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            label_smoothing: share of the target that is spread over the whole vocabulary.
        """

        weight: float = 1.0
        label_smoothing: float = 0.0

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.label_smoothing = config.label_smoothing

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the logits, and the texts with which of their tokens are to be predicted."""
        fields = frozenset({f"{cls.rows}.ids", f"{cls.rows}.targets"})
        return Needs(student=frozenset({Want(cls.mode, "logits")}), fields=fields)

    def losses(self, student: Signals, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (n,) cross entropies in nats of the tokens to be predicted, and (n,) the text that each belongs to."""
        logits_BTV, ids_BT = student[Want(self.mode, "logits")], batch[f"{self.rows}.ids"]
        chosen = predicted(batch, self.rows)
        losses = functional.cross_entropy(
            picked(logits_BTV, chosen).float(),
            ids_BT[:, 1:][chosen],
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return losses, chosen[0]


@final
class Lm(_NextTokens):
    """Predict each caption token from the image and the tokens before it.

    Li et al. 2022, section 3.2: cross entropy with label smoothing 0.1. Padding counts nowhere.
    """

    mode, rows = "decoder", CAPTION

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(_NextTokens.Config):
        """The same options; smooth by default."""

        label_smoothing: float = 0.1

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the caption tokens of all workers, in nats."""
        return global_mean(self.losses(student, batch)[0])


@final
class Vqa(_NextTokens):
    """Predict the answer's tokens after the question.

    Li et al. 2022, section 5.3: the answer's log-likelihood, summed over its tokens. Where theirs has a question encoder
    of its own, here one decoder reads question and answer in a row, and the question is not in the loss. As there, a question
    counts by the weight that the data gives it, but the mean is over their number. Where theirs sums over the answers that
    people gave, each by its share, a batch has one of them, which data draws by its share.
    """

    mode, rows = "answer", QUESTION

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the sum over answer tokens by the question's weight, averaged over the questions of all workers, in nats."""
        losses, rows = self.losses(student, batch)
        sums_B = losses.new_zeros(len(batch["question.ids"])).index_add(0, rows, losses)
        if WEIGHT in batch:
            sums_B = sums_B * batch[WEIGHT]
        return global_mean(sums_B[_asked(batch)])


def _asked(batch: Batch) -> Tensor:
    """Return the questions that have a token to be predicted, (n,)."""
    name = "question.targets"
    if name not in batch.hosted:
        return batch[name][:, :-1].any(1).nonzero()[:, 0]
    return to_device(torch.from_numpy(np.flatnonzero(batch.hosted[name][:, :-1].any(1))), batch.device)
