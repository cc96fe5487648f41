"""What will be done: every training and measurement, known before the first begins; a run again goes on where it stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

from analysis.run_folder import Run, Trial, check_ids, read_run
from analysis.wording import plural
from search.finals.lines import (
    FOLDER,
    LONGER,
    METHODS,
    PLAIN,
    RANDOM,
    SEARCHED,
    STUDENT,
    TEACHER,
    Asked,
    Draft,
    Finalist,
    Line,
    decisive,
    digest,
    expected_s,
    of_workers,
    stages_of,
)
from search.finals.recipe import (
    Around,
    changed,
    fed,
    for_task,
    lasting,
    long_warmups,
    undistilled,
    with_task_losses,
    with_true_losses,
)
from search.finals.request import (
    Request,
    cache_settings,
    check_able,
    check_tasks,
    chosen,
    domain_settings,
    final_size,
    final_tasks,
    heard,
    settings_of,
    worker_notes,
    workers_of,
)
from search.inputs.places import settled_data
from search.inputs.students import Students
from search.results.jobs import check_data, read_job, teacher_of
from search.run_folder.facts import CHECKPOINTS, check_format, read_space
from spaces.errors import RunError, StudentSearchError
from trainables.code_version import code_digest
from trainables.costs.subject import source_of
from trainables.datasets.base import Dataset
from trainables.datasets.encoded import fields_of
from trainables.families.base import Blueprint
from trainables.tasks.base import Task, wants_of
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.teacher import Teacher
from trainables.training import checkpoint
from trainables.training.build import make_dataset, student_plan
from trainables.training.job import Job
from trainables.training.measuring import Measuring

Configs = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All of it.

    Attributes:
        run: whose students they are.
        request: what was asked for.
        tasks: that are measured, name -> options.
        split: on which.
        finalists: the students.
        notes: sentences for the user.
        domains: other data, as the user named it -> settings.
        evaluation: how much of a split is measured, see `EvaluationSize`.
    """

    run: Run
    request: Request
    tasks: Mapping[str, Mapping[str, Any]]
    split: str
    finalists: tuple[Finalist, ...]
    notes: tuple[str, ...] = ()
    domains: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def made(self) -> dict[str, Task]:
        """The tasks."""
        return make_tasks(self.tasks)

    @property
    def counts(self) -> dict[str, str]:
        """Task -> the metric that counts."""
        return {name: task.counts for name, task in self.made.items()}

    @property
    def key(self) -> str:
        """Of all that decides the figures, beside which students and how many seeds."""
        asked = self.request
        jobs = sorted({(one.job.teacher_fingerprint, one.job.dataset_fingerprint) for one in self.finalists})
        told = {"epochs": asked.epochs, "fine_tune": asked.fine_tune, "settings": asked.settings}
        told |= of_workers(workers_of(asked))
        return digest({**told, "tasks": self.tasks, "split": self.split, "inputs": jobs})

    def measuring(self, finalist: Finalist, *, of: str, domain: str = "") -> Asked:
        """Return what is measured of a training; of the teacher where `of` is "".

        Args:
            finalist: of whose job data and teacher are.
            of: name of the training; one for a task is measured in that alone.
            domain: other data.
        """
        job = finalist.job
        data = self.domains[domain] if domain else job.dataset
        order = Measuring(
            teacher=job.teacher,
            teacher_fingerprint=finalist.teacher.files.fingerprint,
            dataset=data,
            dataset_fingerprint=make_dataset(data).fingerprint if domain else job.dataset_fingerprint,
            split=split_of(make_dataset(data)),
            tasks={of: self.tasks[of]} if of in self.tasks else self.tasks,
            evaluation=dict(self.evaluation),
        )
        return Asked(of=of, order=order, domain=domain)

    def students(self, finalist: Finalist) -> Students:
        """Return what knows sizes and costs of a finalist and its teacher, deployed for the tasks."""
        classes = make_dataset(finalist.job.dataset).classes
        config = finalist.job.config
        known = {str(config.get("teacher", finalist.job.teacher)): finalist.teacher}
        return Students(self.made, known, allow_partial=True, classes=classes)

    def line(self, finalist: Finalist, method: str, seed: int, others: Mapping[str, str]) -> Line:
        """Return one line.

        Args:
            finalist: the student.
            method: of `METHODS`.
            seed: 0, 1, ...
            others: what of its job differs from the search's: cache; of the random teacher its folder and fingerprint.
        """
        trial, job = finalist.trial, finalist.job
        configs = dict(finalist.configs[method])
        begins = begun = ""
        if method == STUDENT and seed == 0 and finalist.kept:
            del configs[SEARCHED]
            begins = str(self.run.folder.absolute() / CHECKPOINTS / trial.candidate_id)
            begun = digest({"searched": trial.candidate_id, **decisive(job)})
        elif method == RANDOM:  # the other teacher has not its weights
            begins, begun = (
                str(self.initial(finalist, seed)),
                digest({"initial": decisive(job), "seed": seed}),
            )
        job = replace(
            job,
            seed=job.seed + seed,
            code=code_digest(),
            cache=others.get("cache", ""),
            teacher=others.get("teacher", job.teacher),
            teacher_fingerprint=others.get("teacher_fingerprint", finalist.teacher.files.fingerprint),
        )
        draft = Draft(
            candidate_id=trial.candidate_id,
            method=method,
            seed=seed,
            job=job,
            taught_by=finalist.teacher.files.fingerprint + heard(self.request, method),
            configs=configs,
            tasks={name: self._cheap(name, job) for name in configs},
            epoch_s={name: expected_s(trial, job, config) for name, config in configs.items()},
            begins=begins,
            begun=begun,
            workers=workers_of(self.request),
        )
        measured = [name for name in configs if name != SEARCHED]
        asked = [self.measuring(finalist, of=name) for name in measured]
        asked += [self.measuring(finalist, of=LONGER, domain=domain) for domain in self.domains]
        return Line(
            candidate_id=trial.candidate_id,
            method=method,
            seed=seed,
            stages=stages_of(draft, self.run.folder.absolute()),
            asked=tuple(asked),
        )

    def initial(self, finalist: Finalist, seed: int) -> Path:
        """Return the folder of the weights with which a student begins: those of its own teacher, where it inherits."""
        name = digest({"initial": decisive(finalist.job), "seed": seed})[:12]
        folder = self.run.folder.absolute() / FOLDER / finalist.trial.candidate_id
        return folder / f"initial-{seed}-{name}"

    def lines(self, others: Mapping[tuple[str, str], Mapping[str, str]] | None = None) -> list[Line]:
        """Return all lines: seed after seed, so that an early end leaves all methods with as many seeds.

        Args:
            others: (teacher, method) -> see `line`; None for a plan that is only told.
        """
        known = others or {}
        return [
            self.line(one, method, seed, known.get((one.job.teacher, method), {}))
            for seed in range(self.request.seeds)
            for one in self.finalists
            for method in METHODS
            if method in one.configs
        ]

    def teachers(self) -> list[tuple[Finalist, Line]]:
        """Return what is measured of each teacher."""
        firsts = {one.job.teacher: one for one in reversed(self.finalists)}
        return [
            (one, Line(candidate_id="", method=TEACHER, seed=0, asked=(asked,)))
            for one in firsts.values()
            for domain in ("", *self.domains)
            for asked in [self.measuring(one, of="", domain=domain)]
        ]

    def _cheap(self, name: str, job: Job) -> dict[str, Mapping[str, Any]]:
        """Return what a training itself measures at its end, of the tasks of the search where it can."""
        return {name: job.tasks.get(name, {})} if name in self.tasks else dict(job.tasks)

    def request_facts(self, command: str) -> dict[str, Any]:
        """Return what `finalised.json` keeps of the request."""
        asked = self.request
        return {
            "epochs": asked.epochs,
            "fine_tune": asked.fine_tune,
            "seeds": asked.seeds,
            "settings": list(asked.settings),
            "tasks": {name: dict(options) for name, options in self.tasks.items()},
            "counts": self.counts,
            "split": self.split,
            "candidates": [one.trial.candidate_id for one in self.finalists],
            "teachers": {one.trial.candidate_id: one.job.teacher for one in self.finalists},
            "domains": list(self.domains),
            "notes": list(self.notes),
            "command": command,
        }


def plan_of(request: Request) -> Plan:
    """Return what a request means, without doing anything.

    Raises:
        StudentSearchError: no such run, students, tasks, losses or data, or others by now.
    """
    request.check()
    run = read_run(request.folder)
    check_ids(run)
    check_format(request.folder, run.facts, str(request.folder))
    return _Planning(run, request).plan()


@final
class _Planning:
    """Makes one plan; sentences for the user gather on the way."""

    def __init__(self, run: Run, request: Request) -> None:
        self._run, self._request = run, request
        self._notes: list[str] = []
        self._teachers: dict[str, Teacher] = {}
        self._made: dict[str, Task] = {}
        self._settings = list(settings_of(request.settings))

    def plan(self) -> Plan:
        """Return it."""
        if wished := cache_settings(self._request):
            read_space(self._run.folder, wished)  # what does not fit is told before anybody is waited for
        trials = chosen(self._run, self._request)
        jobs = [read_job(self._run, self._run.folder / CHECKPOINTS / one.candidate_id) for one in trials]
        for job in jobs:
            check_data(self._run, job)
        tasks, told = final_tasks(self._request, jobs[0].tasks, partial(self._lack, trials, jobs))
        self._notes += told
        self._made = made = make_tasks(tasks)
        finalists = [self._finalist(trial, job, made) for trial, job in zip(trials, jobs, strict=True)]
        domains = {one: self._domain(one, finalists[0]) for one in self._request.domains}
        split = split_of(make_dataset(jobs[0].dataset))
        evaluation, told_size = final_size(request=self._request, own=jobs[0].evaluation, split=split)
        said = [f"{name} {remark}" for name, task in made.items() if (remark := task.remark())]
        return Plan(
            run=self._run,
            request=self._request,
            tasks=tasks,
            split=split,
            finalists=tuple(finalists),
            notes=tuple(dict.fromkeys([*self._notes, *said, told_size])),
            domains=domains,
            evaluation=evaluation,
        )

    def _finalist(self, trial: Trial, job: Job, tasks: Mapping[str, Task]) -> Finalist:
        """Return a student with the configs of all its trainings."""
        teacher, student, fields = self._around(job)
        check_tasks(tasks, teacher, fields)
        check_able(trial, tasks, student.offers)
        around = Around(student=student.offers, teacher=teacher.offers, fields=fields, tasks=tasks)
        config, unfed = fed(changed(job.config, self._settings), around)
        self._notes += [f"{trial.candidate_id}: {one}" for one in unfed]
        final_config, added = with_task_losses(config, around)
        if added:
            self._notes.append(
                f"{trial.candidate_id}: nothing in its losses trains what {', '.join(added)} looks at; it comes with weight 1, "
                f"other weights: --set losses.{added[0]}.weight=0.5"
            )
        taught = self._all(job.config, final_config, around)
        self._notes += [
            f"{trial.candidate_id}: {one}"
            for one in long_warmups({k: v for k, v in taught.items() if k != SEARCHED})
        ]
        self._notes += worker_notes(self._request, taught)
        configs = {STUDENT: taught}
        if PLAIN in self._request.controls:
            searched = Around(
                student=student.offers, teacher=teacher.offers, fields=fields, tasks=make_tasks(job.tasks)
            )
            plain = self._all(undistilled(job.config, searched), undistilled(final_config, around), around)
            configs[PLAIN] = {name: one for name, one in plain.items() if name in taught}
        if RANDOM in self._request.controls:
            if source_of(student, wants_of(tasks.values()) & frozenset(student.offers)):
                self._notes.append(
                    f"{trial.candidate_id}: reads its teacher whenever it is used; no control with a random one"
                )
            else:
                true, alone = with_true_losses(final_config, around)
                configs[RANDOM] = self._all(job.config, true, around)
                told = f"with a random teacher trained by {', '.join(alone)} too, as without distillation"
                self._notes += [f"{trial.candidate_id}: {told}"] if alone else []
        kept = (self._run.folder / CHECKPOINTS / trial.candidate_id / checkpoint.FILE).is_file()
        own = (
            "begins with the weights that the search kept" if kept else "has no weights that the search kept"
        )
        others = "other seeds and controls" if kept else "all seeds and controls"
        before = f"their initialisation and the {plural(job.epochs, 'epoch')} of the search"
        self._notes.append(f"{trial.candidate_id}: seed 0 {own}; {others} begin with {before}")
        return Finalist(trial=trial, job=job, teacher=teacher, configs=configs, kept=kept)

    def _around(self, job: Job) -> tuple[Teacher, Blueprint, frozenset[str]]:
        """Return teacher and student of a job, and the fields of its data."""
        if job.teacher not in self._teachers:
            self._teachers[job.teacher] = teacher_of(self._run, job)
        teacher, data = self._teachers[job.teacher], make_dataset(job.dataset)
        student = student_plan(job.config, teacher.around(data.classes), ()).training
        return teacher, student, frozenset(fields_of(data.kinds))

    def _lack(self, trials: Sequence[Trial], jobs: Sequence[Job], task: Task) -> str | None:
        """Return why a task cannot be measured of all students and their teachers here, or None."""
        for trial, job in zip(trials, jobs, strict=True):
            teacher, student, fields = self._around(job)
            offers = {f"the teacher {teacher.files.name}": teacher.offers}
            offers[f"the student {trial.candidate_id}"] = student.offers
            for name, offered in offers.items():
                if lack := task.model_lack(offered):
                    return f"{name} {lack}"
            if lack := task.data_lack(fields):
                return lack
        return task.machine_lack()

    def _all(self, searched: Mapping[str, Any], longer: Mapping[str, Any], around: Around) -> Configs:
        """Return the config of each training: the search's, the longer one, and one for each task."""
        asked = self._request
        found: Configs = {SEARCHED: dict(searched), LONGER: lasting(longer, asked.epochs)}
        if asked.fine_tune:
            for name, task in around.tasks.items():
                if (own := for_task(longer, task, around)) is not None:
                    found[name] = lasting(own, asked.fine_tune)
        return found

    def _domain(self, name: str, finalist: Finalist) -> dict[str, Any]:
        """Return the settings of other data on which all are measured: `KIND[:PLACE][,OPTION=VALUE...]`.

        Raises:
            RunError: there is none such, or the tasks cannot be measured on it.
        """
        try:
            settings = settled_data(domain_settings(name, finalist.job.dataset))
            data = make_dataset(settings)
            check_tasks(self._made, finalist.teacher, fields_of(data.kinds))
        except StudentSearchError as error:
            raise RunError(f"--domain {name}: {error}") from error
        return settings


def split_of(dataset: Dataset) -> str:
    """Return the split on which the finals are measured: the test split where the data has one."""
    return "test" if "test" in dataset.split_names else "val"
