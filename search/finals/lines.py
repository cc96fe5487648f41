"""A student from beginning to end: the trainings that follow one another, and what is measured of each.

A line is one student, one method (`student`, `plain` without its teacher, `random` with a teacher of random weights) and one
seed. Its trainings are those of the search (none where the weights of that are kept), the longer one, and one for each task. All
methods have the same trainings, epochs and initialisation.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.run_folder import Trial
from search.inputs.places import PATH_OPTIONS
from search.inputs.teacher_figures import VERSION
from trainables.datasets.pictures import VERSION as PIXELS_VERSION
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.teacher import Teacher
from trainables.training.checkpoint import FILE
from trainables.training.job import Job
from trainables.training.measuring import Measuring

FOLDER = "finals"  # of the run folder
TEACHER, STUDENT, PLAIN, RANDOM = "teacher", "student", "plain", "random"
METHODS = (STUDENT, PLAIN, RANDOM)
SEARCHED, LONGER = "searched", "longer"  # names of trainings; those for a task bear its name
DONE = "done.json"  # beside the checkpoint of a training that is through: its key and its last row
BEAT = "epoch of "  # begins what a line tells of its progress
DECISIVE = (
    "config",
    "seed",
    "dataset_fingerprint",
)  # of a job, for its weights; who teaches it is told beside


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A student that is finalised.

    Attributes:
        trial: of the run.
        job: by which the search trained it.
        teacher: its own.
        configs: method -> name of a training -> config.
        kept: whether its weights are.
    """

    trial: Trial
    job: Job
    teacher: Teacher
    configs: Mapping[str, Mapping[str, Mapping[str, Any]]]
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training.

    Attributes:
        name: `searched`, `longer` or a task.
        job: its order, in a folder of its own.
        key: of all that decides its weights; who has the same key has the same weights.
        epoch_s: seconds that an epoch is expected to take.
    """

    name: str
    job: Job
    key: str
    epoch_s: float

    @property
    def seconds(self) -> float:
        """Seconds that it is expected to take on one worker."""
        return self.epoch_s * self.job.epochs


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured of a model.

    Attributes:
        of: name of the training whose weights are measured; "" for the teacher.
        domain: other data than its own, as the user named it; "" for its own.
        order: what `measure_model` does.
    """

    of: str
    order: Measuring
    domain: str = ""

    @property
    def key(self) -> str:
        """Of all that decides the figures, beside the weights; so do metrics as they are measured now, as for a teacher."""
        told = {**vars(self.order), "student": "", "caches": {}, "device": "", "teacher": ""}
        told["dataset"] = _without_places(self.order.dataset)
        tasks = make_tasks(self.order.tasks).items()
        told["by"] = [VERSION, PIXELS_VERSION, {name: [task.version, task.read()] for name, task in tasks}]
        return digest(told)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One student by one method and seed, or a teacher, which has no trainings.

    Attributes:
        candidate_id: of the student, "" for a teacher.
        method: of `METHODS`, or `teacher`.
        seed: 0, 1, ...
        stages: the trainings in their order.
        asked: what is measured in the end.
    """

    candidate_id: str
    method: str
    seed: int
    stages: tuple[Stage, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def name(self) -> str:
        """For the user."""
        if self.method == TEACHER:
            return "teacher"
        words = {STUDENT: "student", PLAIN: "without distillation", RANDOM: "with a random teacher"}
        return f"{self.candidate_id} {words[self.method]}, seed {self.seed}"

    @property
    def seconds(self) -> float:
        """Seconds that its trainings are expected to take on one worker."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def epochs(self) -> int:
        """Of all its trainings."""
        return sum(stage.job.epochs for stage in self.stages)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A line before its trainings have folders.

    Attributes:
        job: of the search, with the seed of the line, and what it reads of its teacher.
        taught_by: the teacher by what is known of it before it is made.
        configs: name of a training -> its config.
        tasks: name of a training -> what its own evaluation asks, which is cheap.
        begins: folder of the checkpoint with which the first one begins; "" for the initialisation.
        begun: of that: a key.
        epoch_s: name of a training -> seconds of an epoch.
        workers: of each training, by which negatives and batch norms come out otherwise.
    """

    candidate_id: str
    method: str
    seed: int
    job: Job
    taught_by: str
    configs: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Mapping[str, Any]]]
    epoch_s: Mapping[str, float]
    begins: str = ""
    begun: str = ""
    workers: int = 1


def of_workers(workers: int) -> dict[str, int]:
    """Return what a key says of the workers of each training: nothing of one, as keys of before."""
    return {"workers": workers} if workers != 1 else {}


def stages_of(draft: Draft, folder: Path) -> tuple[Stage, ...]:
    """Return the trainings of a line, each beginning with the weights of the one before it; those for tasks with the longer one.

    Args:
        draft: of the line.
        folder: of the run.
    """
    found: dict[str, Stage] = {}
    last, begun = draft.begins, draft.begun
    for name, config in draft.configs.items():
        job = replace(
            draft.job,
            config=config,
            start=last,
            tasks=draft.tasks[name],
            evaluate_at=(),
            checkpoints={"keep_best": False},
        )
        told = {"name": name, "job": decisive(job), "by": draft.taught_by, "begun": begun}
        key = digest(told | of_workers(draft.workers))
        place = folder / FOLDER / draft.candidate_id / f"{draft.method}-{draft.seed}-{name}-{key[:12]}"
        found[name] = Stage(
            name=name, job=replace(job, folder=str(place)), key=key, epoch_s=draft.epoch_s[name]
        )
        if name in (SEARCHED, LONGER):  # from which those for a task all begin
            last, begun = str(place), key
    return tuple(found.values())


def decisive(job: Job) -> dict[str, Any]:
    """Return what decides the weights of a job, as JSON gives it back: no place where anything lies."""
    fields = job.to_dict()
    kept = {name: fields[name] for name in DECISIVE} | {"dataset": _without_places(fields["dataset"])}
    found: dict[str, Any] = json.loads(json.dumps(kept))
    return found


def digest(told: Any) -> str:
    """Return a hash of plain values."""
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def finished(stage: Stage) -> dict[str, Any] | None:
    """Return the last row of a training that is through already, None of another one."""
    try:
        found = json.loads((Path(stage.job.folder) / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not there, or torn: it goes on from its checkpoint
    whole = isinstance(found, dict) and found.get("key") == stage.key and isinstance(found.get("row"), dict)
    there = (Path(stage.job.folder) / FILE).is_file()
    return dict(found["row"]) if whole and there else None


def expected_s(trial: Trial, job: Job, config: Mapping[str, Any]) -> float:
    """Return how long an epoch of a config is expected to take, by those of the search; NaN where nothing tells."""
    known = trial.epoch_s if trial.epoch_s == trial.epoch_s else trial.wall_s / max(trial.epochs, 1)
    before, now = (int(one["training"].get("pairs_per_epoch", 1)) for one in (job.config, config))
    return known * now / before


@dataclass(frozen=True, kw_only=True)
class Beat:
    """That an epoch of a training is through: it travels as a line of text.

    Attributes:
        key: of the training.
        epochs: that are through.
    """

    key: str
    epochs: int

    def told(self) -> str:
        """Return it as a line."""
        return f"{BEAT}{self.key}: {self.epochs}"

    @classmethod
    def heard(cls, line: str) -> "Beat | None":
        """Return what a line tells, None if that is something else."""
        if not line.startswith(BEAT):
            return None
        key, _, epochs = line.removeprefix(BEAT).partition(": ")
        return cls(key=key, epochs=int(epochs))


def _without_places(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in dataset.items() if name not in PATH_OPTIONS}
