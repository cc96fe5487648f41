"""The order by which a candidate was trained, with data and teacher where its run knows them to lie by now."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.run_folder import Run
from search.run_folder.facts import CANDIDATE_FILE
from spaces.commands import command_line
from spaces.errors import DatasetError, InputsChanged, TeacherError
from trainables.teachers import TEACHERS
from trainables.teachers.loading import load_teacher
from trainables.teachers.naming import checkpoints_of
from trainables.teachers.teacher import Teacher
from trainables.training.build import make_dataset
from trainables.training.job import Job


def read_job(run: Run, source: Path) -> Job:
    """Return the order of a candidate; its own paths are those of the day on which it was trained.

    Args:
        run: that it belongs to.
        source: folder of the candidate's checkpoint.

    Raises:
        RunError: there is none, or it is damaged.
    """
    job = Job.read(source / CANDIDATE_FILE, source)
    teacher, dataset = run.facts.get("teacher") or {}, run.facts.get("dataset") or {}
    prints: Mapping[str, str] = teacher.get("fingerprints") or {}
    named = [name for name, fingerprint in prints.items() if fingerprint == job.teacher_fingerprint]
    places: Mapping[str, Any] = teacher.get("places") or {}
    return replace(
        job,
        teacher=job.teacher if _is_copy(job) or not named else str(places.get(named[0], job.teacher)),
        dataset={**job.dataset, **(dataset.get("places") or {})},
        cache=_there(job.cache),
        evaluation_cache=_there(job.evaluation_cache),
        storage=_there(job.storage),
    )


def _is_copy(job: Job) -> bool:
    """Return whether the teacher is a copy in the storage of the run, which every node of its cluster sees, and still there."""
    places = [Path(one) for one in checkpoints_of(job.teacher) if one not in TEACHERS]
    there = [one.is_relative_to(job.storage) and one.exists() for one in places]
    return bool(job.storage) and bool(there) and all(there)


def _there(folder: str) -> str:
    """Return the folder of a cache, or of all of them, "" where there is none any more: the teacher then answers live."""
    return folder if Path(folder).is_dir() else ""


def teacher_of(run: Run, job: Job) -> Teacher:
    """Return the teacher of a candidate, the one that it was trained with.

    Raises:
        InputsChanged: it is gone, or another one by now.
    """
    try:
        teacher = load_teacher(job.teacher)
    except TeacherError as error:
        raise InputsChanged(f"{error} {_moved(run, '--teacher FOLDER')}") from error
    _check_same(run, f"teacher {job.teacher}", teacher.files.fingerprint, job.teacher_fingerprint)
    return teacher


def check_data(run: Run, job: Job) -> None:
    """Refuse to train a candidate again on other data than it was trained on.

    Raises:
        InputsChanged: the data is gone, or has other contents by now.
    """
    try:
        found = make_dataset(job.dataset).fingerprint
    except DatasetError as error:
        raise InputsChanged(f"{error} {_moved(run, '--dataset KIND:FILE')}") from error
    _check_same(
        run,
        f"data set {job.dataset.get('file') or job.dataset.get('kind') or 'of no kind'}",
        found,
        job.dataset_fingerprint,
    )


def _check_same(run: Run, what: str, found: str, planned: str) -> None:
    if planned and found != planned:
        raise InputsChanged(
            f"{what}: has fingerprint {found}; the candidates of {run.folder} were trained with {planned}. Put back what was "
            f"there. {_moved(run, '--teacher FOLDER or --dataset KIND:FILE')}"
        )


def _moved(run: Run, flag: str) -> str:
    return f"If it was moved, tell the run where it lies now: {command_line('search/run.py', '--resume', run.folder)} {flag}"
