"""What a student keeps of its teacher, and how good it is by itself over all tasks."""

from collections.abc import Iterable, Mapping

RETENTION, ABOVE_BLIND, ACCURACY = "retention", "retention_above_blind", "accuracy"


def accuracy(metrics: Mapping[str, float], counts: Iterable[str]) -> float:
    """Return the mean over tasks of the metric that counts, in percent; a task that cannot be done counts 0.

    Students of several teachers compare by it: retention is relative to each one's own teacher. NaN without tasks.

    Args:
        metrics: of a student or teacher.
        counts: the metric of each task that counts.
    """
    values = [metrics.get(name, 0.0) for name in counts]
    return sum(values) / len(values) if values else float("nan")


def retention(student: Mapping[str, float], teacher: Mapping[str, float], counts: Iterable[str]) -> float:
    """Return the mean over tasks of student / teacher, in percent; one that a student cannot do counts 0.

    NaN where the teacher can do none of the tasks: there is nothing to retain.

    Args:
        student, teacher: metrics in percent.
        counts: the metric of each task that counts.
    """
    able = _able(teacher, counts)
    shares = [student.get(name, 0.0) / teacher[name] for name in able]
    return 100.0 * sum(shares) / len(shares) if shares else float("nan")


def retention_above_blind(
    student: Mapping[str, float],
    teacher: Mapping[str, float],
    blind: Mapping[str, float],
    counts: Iterable[str],
) -> float:
    """Return the mean over tasks of (student - blind) / (teacher - blind), in percent.

    What a student scores without seeing the image is no retention of sight. A task that the blind student
    does as well as the teacher says nothing and is left out.
    """
    shares = [
        (student.get(name, 0.0) - blind.get(name, 0.0)) / (teacher[name] - blind.get(name, 0.0))
        for name in _able(teacher, counts)
        if teacher[name] > blind.get(name, 0.0)
    ]
    return 100.0 * sum(shares) / len(shares) if shares else float("nan")


def _able(teacher: Mapping[str, float], counts: Iterable[str]) -> list[str]:
    """Return the metrics that the teacher has on this data."""
    return [name for name in counts if teacher.get(name, 0.0) > 0.0]
