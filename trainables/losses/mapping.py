"""Which student layer learns from which teacher layer."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

LAYER_CHOICES = ("last", "even", "all")
Layers = Literal["last", "even", "all"]


class LayerPair(NamedTuple):
    """Absolute layer indices of one student layer and the teacher layer that it imitates."""

    student: int
    teacher: int


def layer_pairs(choice: Layers, student: Sequence[int], teacher: Sequence[int]) -> tuple[LayerPair, ...]:
    """Return the pairs of layers that a loss compares.

    Student layer i of n stands for teacher layer round((i + 1) * N / n) - 1 of N, so the last meets the
    last: the uniform map of Sun et al. 2019 (Patient Knowledge Distillation, section 3.1) and of our
        weight inheritance.

    Args:
        choice: `last` takes the last student layer, `all` every one, `even` every other one counted from
            the last.
        student: absolute indices of the student's layers that take part, in order (its fusion layers, say).
        teacher: the same of the teacher.

    >>> layer_pairs("all", range(3), range(6))
    (LayerPair(student=0, teacher=1), LayerPair(student=1, teacher=3), LayerPair(student=2, teacher=5))
    """
    num_student, num_teacher = len(student), len(teacher)
    first, step = {"last": (num_student - 1, 1), "even": ((num_student - 1) % 2, 2), "all": (0, 1)}[choice]
    return tuple(
        LayerPair(student[i], teacher[max(0, round((i + 1) * num_teacher / num_student) - 1)])
        for i in range(first, num_student, step)
    )
