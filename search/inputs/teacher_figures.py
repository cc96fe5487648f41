"""What the teacher of a search costs and can do, measured once and kept."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from spaces.errors import StorageError
from spaces.files import write_text
from trainables.code_version import foreign_code
from trainables.costs.latency import Latency
from trainables.costs.static import StaticCosts
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject
from trainables.datasets.cache_folder import cache_folder, unusable
from trainables.datasets.pictures import VERSION as PIXELS_VERSION
from trainables.tasks.base import Task
from trainables.teachers.calibration import HIGHEST, LOWEST
from trainables.teachers.teacher import Teacher

VERSION = "3"  # raise it whenever a change moves a metric

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TeacherMeasure:
    """The teacher's own costs, deployed for the tasks of the space.

    Attributes:
        static: what follows from its sizes.
        subject: what its latency is measured on.
        latency: on the target of the space; None until that is measured.
    """

    static: StaticCosts
    subject: Subject
    latency: Latency | None = None

    @classmethod
    def of(cls, subject: Subject, store: CostStore) -> "TeacherMeasure":
        """Return the costs of a teacher as it would be deployed, its latency aside."""
        return cls(static=store.static(subject), subject=subject)

    @property
    def costs(self) -> dict[str, float]:
        """What relative limits refer to; without `latency_ms` until that is measured."""
        latency = {"latency_ms": self.latency.latency_ms} if self.latency else {}
        return {
            "params": self.static.params,
            "flops": self.static.flops,
            "size_mib": self.static.size_mib,
            **latency,
        }


@dataclass(frozen=True, kw_only=True)
class TeacherFigures:
    """The teacher's metrics on the two held-out splits."""

    metrics: dict[str, float]
    test_metrics: dict[str, float]

    @staticmethod
    def measured(
        teacher: Teacher,
        tasks: Mapping[str, Task],
        measure: Callable[[], dict[str, float]],
        *,
        key: tuple[str, ...],
        say: Say,
    ) -> dict[str, float]:
        """Return the metrics of a teacher on a split, from the file that keeps them where there is one.

        Args:
            teacher: it.
            tasks: what is measured.
            measure: does so where nothing is kept, which takes a while.
            key: what decides the figures beside the teacher: fingerprint of the data, name of the split, how much of it.
            say: takes a line of progress.
        """
        kept = figures_path(teacher, tasks, key)
        found = _kept(kept, say)
        if found is not None:
            return found
        say(f"measuring the teacher {teacher.files.name} on the {key[1]} split")
        metrics = measure()
        try:
            write_text(kept, json.dumps(metrics))
        except StorageError as error:
            say(f"the teacher's figures are measured, but not kept for the next time: {error}")
        return metrics


def notes_of(teachers: Mapping[str, Teacher]) -> list[str]:
    """Return what is to be known of how some teachers were read, and of temperatures that their checkpoints do not hold."""
    found = [f"teacher {name}: {note}" for name, teacher in teachers.items() for note in teacher.files.notes]
    for name, teacher in teachers.items():
        if teacher.lacks_temperature:
            found.append(
                f"teacher {name}: its checkpoint holds no ITC temperature; the most likely one is found on the validation pairs "
                f"before the first trial, or give it: '{name},temperature=0.05'"
            )
    return found


def temperature_of(
    teacher: Teacher, measure: Callable[[], tuple[float, int]] | None, *, key: tuple[str, ...], say: Say
) -> float | None:
    """Return the temperature under which the validation pairs are most likely to a teacher, told to the user.

    None where it is neither kept nor to be measured, or where there are no captions to tell apart, which nothing then needs.

    Args:
        teacher: whose checkpoint holds none.
        measure: finds it and tells of how many pairs, which takes a while; None to look for a kept one only.
        key: what decides it beside the teacher, see `TeacherFigures.measured`.
        say: takes a line.
    """
    path = cache_folder("teachers") / f"temperature-{figures_file(teacher, {}, key)}"
    found = _kept(path, say)
    if found is None and measure is not None:
        say(f"teacher {teacher.files.name}: finding its ITC temperature on the validation pairs")
        value, pairs = measure()
        found = {"temperature": value, "pairs": pairs}
        if pairs:
            try:
                write_text(path, json.dumps(found))
            except StorageError as error:
                say(f"the teacher's temperature is found, but not kept for the next time: {error}")
    if not found or not found.get("pairs"):
        return None
    edge = ", an end of the range" if found["temperature"] in (LOWEST, HIGHEST) else ""
    say(
        f"teacher {teacher.files.name}: ITC temperature {found['temperature']:g}{edge}, not of its checkpoint, which holds none: "
        f"the most likely one for {found['pairs']:,} pairs of the validation split"
    )
    return found["temperature"]


def figures_path(teacher: Teacher, tasks: Mapping[str, Task], key: tuple[str, ...]) -> Path:
    """Return where metrics are kept, see `figures_file`."""
    return cache_folder("teachers") / figures_file(teacher, tasks, key)


def figures_file(teacher: Teacher, tasks: Mapping[str, Task], key: tuple[str, ...]) -> str:
    """Return the name of the file that keeps metrics: a hash of all that decides them.

    That is the teacher's weights, tokenizer and preprocessing; how pictures become pixels; each task with its options, those
    that this machine settles, the files that it reads, and its version; data, split and amount; the versions of the
    evaluation and of torch; and the code of plug-ins among them.
    """
    code = foreign_code(teacher.blueprint.family, *map(type, tasks.values()))
    parts = {
        "version": VERSION,
        "torch": torch.__version__,
        "teacher": teacher.files.fingerprint,
        "tokenizer": [teacher.tokenizer.digest, teacher.tokenizer.to_dict()] if teacher.tokenizer else None,
        "preprocess": teacher.preprocess.to_dict(),
        "pixels": PIXELS_VERSION,
        "tasks": {
            name: [
                type(task).__qualname__,
                task.version,
                str(task.config),
                *(one for one in (task.settled(), task.read()) if one),
            ]
            for name, task in tasks.items()
        },
        "pool": key,
        **({"code": code} if code else {}),
    }
    return f"{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]}.json"


def _kept(path: Path, say: Say) -> dict[str, float] | None:
    """Return the metrics of a file; None where there is none, or none that can be used, which is said."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        say(f"{unusable(path, error, 'it is made again')} The teacher is measured again.")
        return None
    if isinstance(found, dict) and all(isinstance(one, int | float) for one in found.values()):
        return found
    say(f"{path}: damaged, no metrics; the teacher is measured again")
    return None
