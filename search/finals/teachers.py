"""The teachers of the finals: the run's own, and one of the same sizes with random weights; what both say is cached."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from search.finals.lines import digest
from search.tune.tasks import Say, Tasks
from spaces.errors import RunError
from spaces.files import atomic_folder, make_folder
from spaces.turns import in_turn
from trainables.datasets.cache_folder import cache_folder
from trainables.model_folder import Reading, is_model_folder, write_model_folder
from trainables.share import usable_cores, within_share
from trainables.signals import Want, Wants
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.largest import num_kept
from trainables.teachers.cache.layout import key_of, key_parts, stored_as
from trainables.teachers.cache.passes import Tick
from trainables.teachers.cache.plan import Kept, Part, passes_on
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import with_temperature
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.build import build_losses, build_step, make_dataset, prepare_split, student_plan
from trainables.training.cache_part import cache_order, fill_ordered
from trainables.training.importance import kept_importance
from trainables.training.job import Job
from trainables.training.step import DistillationStep

SEED = 0
UNTOLD = 1.0  # temperature in the file of a teacher that is told none: its readers leave it untold, too


def random_teacher(teacher: Teacher, *, say: Say) -> str:
    """Return the name of a teacher with the sizes, tokenizer and preprocessing of another one, and weights as they are drawn.

    What a student gains by it, any regulariser gives. A temperature of similarities that is no weight is that of the other one.

    Args:
        teacher: the other one.
        say: takes a line.

    Raises:
        StorageError: it cannot be written.
    """
    given = teacher.temperature if teacher.blueprint.temperature_given else None
    told = {"random": teacher.files.fingerprint, "seed": SEED}
    if teacher.blueprint.temperature_given:  # NaN, which no folder may hold, until it is told
        told["temperature"] = given or UNTOLD
    folder = cache_folder("teacher-files") / f"random-{digest(told)[:16]}"
    place = str(folder) if given is None else with_temperature(str(folder), given)
    if is_model_folder(folder):
        return place
    make_folder(folder.parent)
    with in_turn(folder, "teacher of random weights", say=say):
        if not is_model_folder(folder):
            shutil.rmtree(folder, ignore_errors=True)
            with torch.random.fork_rng(devices=[]), atomic_folder(folder) as draft:
                torch.manual_seed(SEED)
                other = Teacher(
                    teacher.blueprint.build(),
                    teacher.tokenizer,
                    teacher.preprocess,
                    teacher.files,
                    blueprint=teacher.blueprint,
                )
                if other.lacks_temperature:
                    other.tell_temperature(given or UNTOLD, origin="of the other one")
                reading = Reading(
                    preprocess=teacher.preprocess,
                    tokenizer=teacher.tokenizer,
                    folder=teacher.files.folder,
                )
                write_model_folder(
                    draft, other.model, kind=teacher.blueprint.kind, reading=reading, measured={}
                )
    return place


def write_initial(job: Job, teacher: Teacher, seed: int, folder: Path, *, say: Say) -> None:
    """Write the weights with which a student of its own teacher begins, for one that is taught by another.

    Args:
        job: of the search.
        teacher: its own.
        seed: 0, 1, ...
        folder: of the checkpoint; one that is there stays.
        say: takes a line.
    """
    if (folder / checkpoint.FILE).is_file():
        return
    data = make_dataset(job.dataset)
    split = prepare_split(teacher, data, "train", say)
    step, blueprint = build_step(
        job.config,
        teacher,
        seed=job.seed + seed,
        classes=data.classes,
        importance=partial(kept_importance, teacher, split, data.fingerprint, say=say),
    )
    state = {
        "candidate_id": job.candidate_id,
        "config": dict(job.config),
        "model": blueprint.to_dict(),
        "trainer": {"step": step.state_dict()},
        "progress": {},
        "random": {},
    }
    checkpoint.save(folder, state)


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What students of one teacher read of it on the training examples.

    Attributes:
        place: name or folder of the teacher, as every node finds it.
        dataset: `{"kind": ..., options}`.
        configs: of all trainings.
        precision, top_k: of the cache.
    """

    place: str
    dataset: Mapping[str, Any]
    configs: Sequence[Mapping[str, Any]]
    precision: str
    top_k: int = 0


def filled(taught: Taught, tasks: Tasks, *, say: Say) -> str:
    """Return the folder of the cache of all that the trainings read, computed on the cluster where it is missing; "" for nothing.

    Args:
        taught: teacher, data and trainings.
        tasks: runs work on the cluster.
        say: takes a line.

    Raises:
        ResourceError: not enough disk.
        RunError: the cache keeps the largest logits alone, and a training reads all of them.
    """
    teacher, data = load_teacher(taught.place), make_dataset(taught.dataset)
    wants, whole = _wants(teacher, taught, data.classes)
    if not wants:
        return ""
    if lacking := sorted(str(want) for want in whole if num_kept(teacher.offers[want], taught.top_k)):
        raise RunError(
            f"teacher_cache.top_k: the run has {taught.top_k}, and these trainings read {', '.join(lacking)} whole. Say how they "
            "get that: --set teacher_cache.top_k=0, which keeps all, or --set teacher_cache.kind=live."
        )
    split = prepare_split(teacher, data, "train", say)
    device = torch.device("cuda" if tasks.gpus else "cpu")
    kept = Kept(
        precision=taught.precision,
        top_k=taught.top_k,
        data=data.fingerprint,
        passes=passes_on(device),
        told={"teacher": teacher.files.name, "data": str(taught.dataset["kind"]), "split": "train"},
    )
    parts = key_parts(teacher, data.fingerprint, stored_as(kept), split, passes=kept.passes)
    folder = cache_folder("teacher-outputs") / key_of(parts)

    def on_cluster(missing: Sequence[Part], tick: Tick) -> None:
        orders = [
            cache_order(part, teacher=taught.place, dataset=taught.dataset, split="train") for part in missing
        ]
        for done in tasks.run_all(fill_ordered, [(order, device.type) for order in orders], single=True):
            tick(done.result())

    with within_share():
        how = Filling(say=say, workers=usable_cores(), device=device, run=on_cluster)
        fill_cache(folder, teacher, split, wants, kept, how)
    return str(folder)


def _wants(teacher: Teacher, taught: Taught, classes: tuple[str, ...]) -> tuple[Wants, Wants]:
    """Return the signals that the trainings read of their teacher, and those of them that somebody reads whole."""
    found, whole = set[Want](), set[Want]()
    for config in taught.configs:
        plan = student_plan(config, teacher.around(classes), ()).training
        student = plan.on_meta()
        student.prepare_training(config["training"])
        losses, weights = build_losses(config, plan.offers, teacher.offers)
        step = DistillationStep(student, losses, weights=weights, blind=False)
        found |= step.source_wants
        whole |= step.student_source.union(
            *(one.needs.source - one.needs.shortened for one in losses.values())
        )
    return frozenset(found), frozenset(whole)
