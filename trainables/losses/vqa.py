"""Question answering."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from trainables.losses.base import Loss, filled
from trainables.losses.logits import answer_positions
from trainables.losses.options import require_between
from trainables.losses.reduction import global_mean
from trainables.models.config import BlipConfig
from trainables.outputs import Batch, Outputs, Want


@final
class Vqa(Loss):
    """Predict the answer's tokens after the question.

    Li et al. 2022 (BLIP), section 5.3: the answer's log-likelihood, summed over its tokens. Where BLIP has
    a question encoder of its own, here one decoder reads question and answer in a row, and the question is
    not in the loss.
    """

    student_part = "decoder"

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

    def __init__(self, config: Config, student: BlipConfig, teacher: BlipConfig) -> None:
        super().__init__(config, student, teacher)
        self.label_smoothing = config.label_smoothing
        self.student_wants = frozenset({Want("answer", "logits")})

    def compute(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the sum over answer tokens, averaged over the questions of all workers, in nats.

        Raises:
            DatasetError: the batch has no questions.
        """
        ids_BT, answer_BT = answer_positions(batch)
        logits_BTV = filled(filled(student.answer, "answer").logits_BTV, Want("answer", "logits"))
        losses = functional.cross_entropy(
            logits_BTV[:, :-1][answer_BT].float(),
            ids_BT[:, 1:][answer_BT],
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        rows = answer_BT.nonzero()[:, 0]
        sums_B = losses.new_zeros(len(ids_BT)).index_add(0, rows, losses)
        return global_mean(sums_B[answer_BT.any(1)])
