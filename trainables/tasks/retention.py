"""What a student keeps of its teacher."""

from collections.abc import Mapping

TASK_METRICS = ("mean_recall", "vqa_accuracy", "caption_token_accuracy")


def evaluated_tasks(teacher: Mapping[str, float]) -> list[str]:
    """Return the task metrics that the teacher has on this data; retention is over these."""
    return [name for name in TASK_METRICS if teacher.get(name, 0.0) > 0.0]


def retention(student: Mapping[str, float], teacher: Mapping[str, float]) -> float:
    """Return the mean over tasks of student / teacher, in percent; one it cannot do counts 0.

    NaN where the teacher can do none of the tasks: there is nothing to retain.
    """
    tasks = evaluated_tasks(teacher)
    shares = [student.get(name, 0.0) / teacher[name] for name in tasks]
    return 100.0 * sum(shares) / len(shares) if shares else float("nan")


def retention_above_blind(
    student: Mapping[str, float], teacher: Mapping[str, float], blind: Mapping[str, float]
) -> float:
    """Return the mean over tasks of (student - blind) / (teacher - blind), in percent.

    What a student scores without seeing the image is no retention of sight. A task that the blind student
    does as well as the teacher says nothing and is left out.
    """
    shares = [
        (student.get(name, 0.0) - blind.get(name, 0.0)) / (teacher[name] - blind.get(name, 0.0))
        for name in evaluated_tasks(teacher)
        if teacher[name] > blind.get(name, 0.0)
    ]
    return 100.0 * sum(shares) / len(shares) if shares else float("nan")
