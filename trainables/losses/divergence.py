"""How far logits lie from the teacher's, shared by the losses on logits and on similarities."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

from trainables.losses.agreement import require_same_shape

FORMS = ("kl", "mse")
Form = Literal["kl", "mse"]


def logit_distance(student_NV: Tensor, teacher_NV: Tensor, form: Form, temperature: float) -> Tensor:
    """Return (N,) distances of logits from the teacher's, which gets no gradient.

    Args:
        student_NV: the student's.
        teacher_NV: the teacher's.
        form: `kl`, see `softened_divergence`; `mse`, the mean over V of the squared difference of logits over the
            temperature (Ba and Caruana 2014, section 3.2, where it is 1).
        temperature: above 0.

    Raises:
        ShapeError: the two disagree on the number of rows or on what the logits stand for.
    """
    if form == "kl":
        return softened_divergence(student_NV, teacher_NV, temperature)
    require_same_shape("logits", student_NV, teacher_NV)
    return ((student_NV.float() - teacher_NV.detach().float()) / temperature).square().mean(-1)


def softened_divergence(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    """Return (N,) KL(teacher || student) in nats of softened distributions, times the squared temperature.

    Hinton, Vinyals and Dean 2015, section 2: the square keeps gradients comparable across temperatures.
    The teacher gets no gradient.

    Raises:
        ShapeError: the two disagree on the number of rows or on the vocabulary.
    """
    require_same_shape("logits", student_NV, teacher_NV)
    mine, theirs = student_NV.float(), teacher_NV.detach().float()
    if temperature != 1:  # a division by 1 changes nothing, and reads a whole vocabulary once more
        mine, theirs = mine / temperature, theirs / temperature
    student_log, teacher_log = functional.log_softmax(mine, -1), functional.log_softmax(theirs, -1)
    terms_NV = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True)
    return terms_NV.sum(-1) * temperature**2
