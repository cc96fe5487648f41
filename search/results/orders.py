"""The trainings of a control: students of a run once more, without anything of their teacher in the losses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.pareto import front, pick
from analysis.run_folder import Run, Trial
from search.results.jobs import check_data, read_job, teacher_of
from search.run_folder.facts import CHECKPOINTS
from spaces.errors import RunError
from spaces.plugins import resolve
from trainables.configs import plain
from trainables.losses import LOSSES
from trainables.losses.base import Ends, Loss, Needs, student_lack
from trainables.signals import Offers
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.teacher import Teacher
from trainables.training.build import loss_config, make_dataset, student_plan
from trainables.training.job import Job


@dataclass(frozen=True, kw_only=True)
class Order:
    """One training of the control: a job, and what it stands for."""

    trial: Trial
    data: str
    seed: int
    distilled: bool
    job: Job

    @property
    def name(self) -> str:
        """Folder and log name."""
        return (
            f"{self.trial.candidate_id}-{self.data}-{'distilled' if self.distilled else 'plain'}-{self.seed}"
        )


def plain_losses(
    losses: Mapping[str, Mapping[str, Any]], tasks: Iterable[Task], student: Offers
) -> dict[str, dict[str, Any]]:
    """Return a candidate's losses without anything of the teacher.

    A loss that its options alone tie to a teacher (soft targets) keeps its weight and loses the options; one that cannot do
    without is dropped. A task that the candidate did not train, because the teacher taught it, is trained with weight 1 by the
    losses that the student can feed: one that is measured by its embeddings alone has no class logits.

    Args:
        losses: of a candidate, name -> options.
        tasks: that the student is deployed for.
        student: what it can say.
    """
    kept: dict[str, dict[str, Any]] = {}
    for name, options in losses.items():
        if not options.get("weight"):
            continue
        bare = plain(loss_config(name, {"weight": options["weight"]}))
        for tried in (dict(options), bare):
            if not _taught(name, tried, student):
                kept[name] = tried
                break
    for task in tasks:
        if task.model_lack(student) is None:
            for name in task.losses:
                bare = plain(loss_config(name, {"weight": 1.0}))
                if name not in kept and student_lack(*_needs(name, bare, student)) is None:
                    kept[name] = bare
    return kept


def _taught(name: str, options: Mapping[str, Any], student: Offers) -> bool:
    """Return whether a loss reads anything of a teacher."""
    return bool(_needs(name, options, student)[0].source)


def _needs(name: str, options: Mapping[str, Any], student: Offers) -> tuple[Needs, Ends]:
    """Return what a loss reads of a student beside a teacher that says the same, and the two."""
    kind: type[Loss] = resolve(LOSSES, name, "losses")
    ends = Ends(name=name, student=student, source=student)
    return kind.needs_of(loss_config(name, options), ends), ends


def plain_config(job: Job, teacher: Teacher) -> dict[str, Any]:
    """Return a candidate's config without its teacher; sizes, initialisation and schedule stay.

    Raises:
        RunError: nothing teaches its tasks without a teacher.
    """
    offers = student_plan(job.config, teacher.around(make_dataset(job.dataset).classes), ()).training.offers
    losses = plain_losses(job.config["losses"], make_tasks(job.tasks).values(), offers)
    if not losses:
        raise RunError(
            f"candidate {job.candidate_id}: no loss teaches {', '.join(job.tasks)} without a teacher, so there is no control. "
            "It can be had for tasks that a loss of their own trains."
        )
    return {
        **job.config,
        "losses": losses,
        "training": {**job.config["training"], "itm_negatives": "student"},
    }


def members(run: Run, which: str, limit: int) -> list[Trial]:
    """Return the trials to control: one by id, or up to `limit` of the parameter front, spread from small to large.

    Raises:
        RunError: unknown or unfinished trial, or an empty front.
    """
    if which != "front":
        try:
            return [pick(run, which)]
        except RunError as error:
            raise RunError(f"{error} Here `front` stands for its members.") from error
    found = front(run, "params")
    if not found:
        raise RunError(
            f"{run.folder}: no candidate was trained to the end, so there is nothing to train again."
        )
    if len(found) <= limit:
        return found
    places = [round(i * (len(found) - 1) / max(1, limit - 1)) for i in range(limit)]
    return [found[place] for place in dict.fromkeys(places)]


def orders(run: Run, trials: Sequence[Trial], seeds: int) -> list[Order]:
    """Return all trainings: plain on noisy and clean data, distilled on noisy data for the further seeds.

    Raises:
        RunError: a candidate.json is missing, its teacher or data are gone or others by now, or it cannot be trained without a
            teacher.
    """
    known: dict[str, Teacher] = {}
    made = []
    for trial in trials:
        job = read_job(run, run.folder / CHECKPOINTS / trial.candidate_id)
        check_data(run, job)
        clean = {**job.dataset, "mismatched": 0.0}
        if job.teacher not in known:
            known[job.teacher] = teacher_of(run, job)
        config = plain_config(job, known[job.teacher])
        undistilled = replace(job, config=config, evaluate_at=(), cache="")
        for seed in range(seeds):
            shifted = job.seed + seed
            noisy = replace(undistilled, seed=shifted)
            made.append(Order(trial=trial, data="noisy", seed=seed, distilled=False, job=noisy))
            if job.dataset.get("mismatched"):
                cleaned = replace(noisy, dataset=clean, dataset_fingerprint=make_dataset(clean).fingerprint)
                made.append(Order(trial=trial, data="clean", seed=seed, distilled=False, job=cleaned))
            if seed:
                again = replace(job, seed=shifted, evaluate_at=())
                made.append(Order(trial=trial, data="noisy", seed=seed, distilled=True, job=again))
    return made
