"""What the teacher of a search costs and can do, measured once and kept."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from spaces.errors import TeacherError
from trainables.costs.latency import Latency
from trainables.costs.static import StaticCosts
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.encoded import EncodedSplit
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
from trainables.metrics.retention import evaluated_tasks
from trainables.teachers.teacher import Teacher

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TeacherFigures:
    """The teacher's own figures: costs, latency, and metrics on the two held-out splits."""

    static: StaticCosts
    latency: Latency
    metrics: dict[str, float]
    test_metrics: dict[str, float]


def kept_figures_file(teacher: Teacher, dataset: str, split: str, *, size: EvaluationSize) -> Path:
    """Return where the metrics of a teacher on a split are kept.

    Args:
        teacher: it.
        dataset: fingerprint of the data.
        split: its name.
        size: how much of it is evaluated.
    """
    parts = (teacher.files.fingerprint, dataset, split, *map(str, vars(size).values()))
    return cache_folder("teachers") / f"{'-'.join(parts)}.json"


def measure_teacher(
    teacher: Teacher,
    split: Callable[[], EncodedSplit],
    *,
    name: str,
    size: EvaluationSize,
    kept: Path,
    say: Say,
) -> dict[str, float]:
    """Return the teacher's metrics on a split, from the file that keeps them where there is one.

    Args:
        teacher: it.
        split: makes the split, which takes a while.
        name: of the split.
        size: how much of it is evaluated.
        kept: see `kept_figures_file`.
        say: takes a line of progress.
    """
    if kept.exists():
        try:
            found: dict[str, float] = json.loads(kept.read_text())
            return found
        except json.JSONDecodeError:
            say(f"{kept}: damaged; the teacher is measured again")
    say(f"measuring the teacher on the {name} split")
    metrics = evaluate(teacher.model, split(), torch.device("cpu"), size=size)
    kept.write_text(json.dumps(metrics))
    return metrics


def check_capable(name: str, metrics: dict[str, float]) -> None:
    """Refuse a teacher that can do no task at all on this data.

    Raises:
        TeacherError: there is nothing to retain.
    """
    if not evaluated_tasks(metrics):
        raise TeacherError(
            f"teacher {name}: scores 0 in every task on the validation split, so nothing can be "
            f"retained: {metrics}. Check that teacher and data belong together."
        )
