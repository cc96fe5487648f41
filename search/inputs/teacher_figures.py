"""What the teacher of a search costs and can do, measured once and kept."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spaces.errors import StorageError
from spaces.files import write_text
from trainables.costs.latency import Latency
from trainables.costs.static import StaticCosts
from trainables.datasets.cache_folder import cache_folder
from trainables.datasets.encoded import EncodedSplit
from trainables.share import within_share
from trainables.tasks.base import Task
from trainables.tasks.evaluation import evaluate
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.teacher import Teacher

VERSION = "3"  # raise it whenever a change moves a metric

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TeacherMeasure:
    """The teacher's own costs, deployed for the tasks of the space."""

    static: StaticCosts
    latency: Latency


@dataclass(frozen=True, kw_only=True)
class TeacherFigures:
    """The teacher's metrics on the two held-out splits."""

    metrics: dict[str, float]
    test_metrics: dict[str, float]

    @staticmethod
    def measured(
        teacher: Teacher,
        tasks: Mapping[str, Task],
        split: Callable[[], EncodedSplit],
        *,
        key: tuple[str, ...],
        size: EvaluationSize,
        say: Say,
    ) -> dict[str, float]:
        """Return the metrics of a teacher on a split, from the file that keeps them where there is one.

        Args:
            teacher: it.
            tasks: what is measured.
            split: makes the split, which takes a while.
            key: what decides the figures beside the teacher: fingerprint of the data, name of the split, how much of it.
            size: how much of it.
            say: takes a line of progress.
        """
        kept = _file(teacher, tasks, key)
        if kept.exists():
            try:
                found: dict[str, float] = json.loads(kept.read_text())
                return found
            except json.JSONDecodeError:
                say(f"{kept}: damaged; the teacher is measured again")
        say(f"measuring the teacher on the {key[1]} split")
        with within_share():
            metrics = evaluate(
                teacher.model,
                split(),
                tasks=tasks.values(),
                size=size,
            )
        try:
            write_text(kept, json.dumps(metrics))
        except StorageError as error:
            say(f"the teacher's figures are measured, but not kept for the next time: {error}")
        return metrics


def _file(teacher: Teacher, tasks: Mapping[str, Task], key: tuple[str, ...]) -> Path:
    """Return where the metrics are kept: named after weights, tokenizer, pixels, tasks, data and amount."""
    parts = [
        VERSION,
        teacher.files.fingerprint,
        teacher.tokenizer.digest if teacher.tokenizer else "",
        json.dumps(teacher.preprocess.to_dict(), sort_keys=True),
        *(f"{name} {task.config}" for name, task in tasks.items()),
        *key,
    ]
    return cache_folder("teachers") / f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:24]}.json"
