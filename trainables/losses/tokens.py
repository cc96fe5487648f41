"""Cross entropy of a decoder's next tokens: of captions, and of answers."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.options import require_between
from trainables.losses.reduction import global_mean
from trainables.signals import CAPTION, QUESTION, Batch, Signals, Want


@final
class Lm(Loss):
    """Predict each caption token from the image and the tokens before it.

    Li et al. 2022, section 3.2: cross entropy with label smoothing 0.1. Padding counts nowhere.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(Loss.Config):
        """Options.

        Attributes:
            label_smoothing: share of the target that is spread over the whole vocabulary.
        """

        weight: float = 1.0
        label_smoothing: float = 0.1

        def __post_init__(self) -> None:
            Loss.Config.__post_init__(self)
            require_between("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def __init__(self, config: Config, ends: Ends) -> None:
        super().__init__(config, ends)
        self.label_smoothing = config.label_smoothing

    @classmethod
    def needs_of(cls, config: Loss.Config, ends: Ends) -> Needs:
        """Return the decoder's logits on captions."""
        return _needs("decoder", CAPTION)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the mean over the caption tokens of all workers, in nats."""
        logits, chosen_BT = student[Want("decoder", "logits")], batch["caption.targets"]
        return global_mean(_losses(logits, batch["caption.ids"], chosen_BT, self.label_smoothing))


@final
class Vqa(Loss):
    """Predict the answer's tokens after the question.

    Li et al. 2022, section 5.3: the answer's log-likelihood, summed over its tokens. Where theirs has a question encoder
    of its own, here one decoder reads question and answer in a row, and the question is not in the loss.
    """

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
        """Return the decoder's logits on questions."""
        return _needs("answer", QUESTION)

    def compute(self, student: Signals, source: Signals, batch: Batch) -> Tensor:
        """Return the sum over answer tokens, averaged over the questions of all workers, in nats."""
        chosen_BT = batch["question.targets"]
        losses = _losses(
            student[Want("answer", "logits")], batch["question.ids"], chosen_BT, self.label_smoothing
        )
        answers_BT = chosen_BT[:, :-1]
        rows = answers_BT.nonzero()[:, 0]
        sums_B = losses.new_zeros(len(answers_BT)).index_add(0, rows, losses)
        return global_mean(sums_B[answers_BT.any(1)])


def _needs(mode: str, rows: str) -> Needs:
    return Needs(
        student=frozenset({Want(mode, "logits")}), fields=frozenset({f"{rows}.ids", f"{rows}.targets"})
    )


def _losses(logits_BTV: Tensor, ids_BT: Tensor, chosen_BT: Tensor, label_smoothing: float) -> Tensor:
    """Return (n,) the cross entropy in nats at each position whose next token is to be predicted."""
    real = chosen_BT[:, :-1]
    return functional.cross_entropy(
        logits_BTV[:, :-1][real].float(),
        ids_BT[:, 1:][real],
        label_smoothing=label_smoothing,
        reduction="none",
    )
