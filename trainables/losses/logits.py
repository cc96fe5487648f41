"""Losses on next-token distributions, shared by task and distillation losses of the decoder."""

from torch import Tensor
from torch.nn import functional

from spaces.errors import DatasetError
from trainables.losses.agreement import require_same_shape
from trainables.outputs import Batch


def next_token_mask(mask_BT: Tensor) -> Tensor:
    """Return (B, T - 1), True at input positions whose next token is real; the last one's is padding."""
    return mask_BT[:, 1:]


def softened_divergence(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    """Return (N,) KL(teacher || student) in nats of softened distributions, times the squared temperature.

    Hinton, Vinyals and Dean 2015, section 2: the square keeps gradients comparable across temperatures.
    The teacher gets no gradient.

    Raises:
        ShapeError: the two disagree on the number of rows or on the vocabulary.
    """
    require_same_shape("logits", student_NV, teacher_NV)
    student_log = functional.log_softmax(student_NV.float() / temperature, -1)
    teacher_log = functional.log_softmax(teacher_NV.detach().float() / temperature, -1)
    terms_NV = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True)
    return terms_NV.sum(-1) * temperature**2


def answer_positions(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return question ids (B, T) and (B, T - 1), True where the next token belongs to the answer.

    Raises:
        DatasetError: the batch has no questions.
    """
    if batch.question_ids is None or batch.answer_mask is None:
        raise DatasetError(
            "vqa, answer_logit: the data set has no questions and answers; both losses need them. "
            "Give each row a question and an answer, or remove losses.vqa and losses.answer_logit."
        )
    return batch.question_ids, batch.answer_mask[:, :-1]
