"""Divergence between softened distributions, shared by the losses on logits."""

from torch import Tensor
from torch.nn import functional

from trainables.losses.agreement import require_same_shape


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
