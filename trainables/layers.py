"""Which layer of a deeper model stands for which of a shallower one."""


def evenly_spaced(num_student: int, num_teacher: int) -> list[int]:
    """Return the teacher layer behind each student layer: round((i + 1) * N / n) - 1, so that the last meets the last.

    The uniform map of Sun et al. 2019 (Patient Knowledge Distillation, section 3.1).

    >>> evenly_spaced(3, 6)
    [1, 3, 5]
    """
    return [max(0, round((i + 1) * num_teacher / num_student) - 1) for i in range(num_student)]
