"""What a search works with: a checked space, its teachers, its tasks and its data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from search.inputs.capability import BLIND, GUESSING, caveat, untrained
from search.inputs.checks import check_capable, check_measurable, left_out
from search.inputs.completed import completed
from search.inputs.gathering import Agree, Opening, dataset_settings, fingerprints, gather
from search.inputs.places import PATH_OPTIONS, Elsewhere, settled_teacher
from search.inputs.teacher_figures import Say, TeacherFigures, figures_path, temperature_of
from search.latency.latencies import Latencies
from spaces.arms import arms
from spaces.baselines import baselines
from spaces.candidate import Candidate
from spaces.errors import ShapeError, SpaceError
from spaces.left_out import start_points_naming, without_losses
from spaces.schema import Space
from trainables.costs.latency import Latency
from trainables.costs.store import CostStore
from trainables.datasets.base import Dataset
from trainables.datasets.encoded import EncodedSplit
from trainables.share import within_share
from trainables.tasks.chance import Chance
from trainables.tasks.evaluation import chances, evaluate, reads_bank
from trainables.tasks.pool import EvaluationSize
from trainables.tasks.retention import ABOVE_BLIND, ACCURACY, RETENTION, accuracy
from trainables.teachers.naming import with_temperature
from trainables.teachers.teacher import Teacher
from trainables.training.build import prepare_split
from trainables.training.calibrating import calibrate
from trainables.training.measuring import Measuring, measure_model

PLAN_S = 120.0  # that a dry run may take to measure a teacher; a large one takes hours on a laptop
FLOPS_PER_CPU_S = 4e10  # of small models on one 2.3 GHz core: for estimates only
PREPARING_S = 0.005  # to read, decode and shrink one picture


class Inputs:
    """A checked space with its teachers and data. Splits and figures are made on first use, with progress.

    Attributes:
        teachers: name -> teacher, the reference first: limits and fronts refer to it, retention to a student's own.
        measures: name -> what a teacher costs, deployed for what it can do of the tasks.
        students: families, tasks and losses of the space.
        space: as it is searched: less the losses that nothing can feed.
        left_out: these losses, and why.
        notes: what the user should know of what was chosen for him.
        baselines: students that are trained along and do not compete.
        arms: trainings of an ablation.
        latencies: of students and teachers on the target of the space, once `latency.opening` has begun to measure.
        elsewhere: runs what is long where the trials are to run, once a cluster is joined; None does it in this process.
        copies: teacher -> its copy in the storage, of those that some node does not see.
    """

    def __init__(
        self,
        space: Space,
        *,
        say: Say,
        told: Sequence[str] = (),
        places: Mapping[str, str] | None = None,
        agree: Agree | None = None,
        planned: bool = False,
    ) -> None:
        """Load and check.

        Args:
            space: loaded, perhaps with doubtful places.
            say: takes a line for the user.
            told: what is wrong with it already; the rest is added, and all of it told.
            places: teacher -> where it lies now, of those whose name does not say so.
            agree: gets the fingerprints as soon as they are known, and raises where they are not those of the run to resume.
            planned: a plan is all that is wanted: of what is not here sizes will do.

        Raises:
            SpaceError: whatever is wrong, all of it.
        """
        self.store = CostStore(say=say)
        self._places = dict(places or {})
        opening = Opening(places=self._places, agree=agree, planned=planned)
        parts = gather(space, self.store, told, opening=opening, say=say)
        self.space, self.say = space, say
        self.dataset: Dataset = parts.dataset
        self.teachers, self.students = parts.teachers, parts.students
        self.notes, self.measures = list(parts.notes), dict(parts.measures)
        self.elsewhere: Elsewhere | None = None
        self.latencies = Latencies()
        self.copies: dict[str, str] = {}
        self._prepared: dict[tuple[str, str], EncodedSplit] = {}
        self.evaluation = EvaluationSize(**space.evaluation.model_dump())
        self._leave_out(parts.unread)
        self.baselines = baselines(self.space, self.students, self.feedable_part)
        self.arms = arms(self.space, self.students, self.feedable_part)
        self.space = completed(self.space, self.students.made)
        self.dataset_settings = dataset_settings(self.space)

    def _leave_out(self, unread: Mapping[str, Mapping[str, str]]) -> None:
        """Take losses that nothing can feed out of the search, once for all candidates, and note why.

        Raises:
            SpaceError: no loss is left, for all candidates or for those of a teacher.
        """
        space, found = self.space, left_out(self.space, self.students, unread)
        self.left_out, self._left_out_of = dict(found.everywhere), found.of_teachers
        self.notes += found.notes
        for number in start_points_naming(space, self.left_out):
            self.notes.append(f"start point {number} names a loss that is left out; the rest of it is taken")
        self.space = without_losses(space, self.left_out)
        self.notes += untrained(self.space, self.students, self.dataset)

    @property
    def teacher(self) -> Teacher:
        """The reference teacher."""
        return next(iter(self.teachers.values()))

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """What tells whether another run had the same teachers and data."""
        return fingerprints(self.teachers, self.dataset, self.say)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured of each student, in the order of the table's columns."""
        return (
            RETENTION,
            ABOVE_BLIND,
            *([ACCURACY] if ACCURACY in self.space.objectives else []),
            *(name for task in self.students.made.values() for name in task.metrics),
        )

    @property
    def counts(self) -> tuple[str, ...]:
        """The metric of each task that retention is made of."""
        return tuple(task.counts for task in self.students.made.values())

    @property
    def task_settings(self) -> dict[str, dict[str, Any]]:
        """Task -> its options, as a job carries them."""
        named = self.space.tasks or {}
        return {name: {**named.get(name, {}), **task.settled()} for name, task in self.students.made.items()}

    def trial_teacher(self, name: str) -> str:
        """Return a teacher's name as a trial on any node can load it: its copy in the storage where there is one."""
        return self.copies.get(name) or self.teacher_path(name)

    def teacher_path(self, name: str) -> str:
        """Return a teacher's name as a trial can load it, whatever its working directory."""
        return settled_teacher(self._places.get(name, name))

    @property
    def teacher_costs(self) -> dict[str, float]:
        """What relative limits refer to: the reference teacher, deployed for the tasks of the space."""
        return self.measures[self.space.teachers[0]].costs

    def limits(self) -> dict[str, tuple[float | None, float | None]]:
        """Return the limits that can be told by now: one in shares of the teacher's latency comes with that."""
        return self.space.limits(self.teacher_costs)

    def measure_teachers(self, begun: Mapping[str, Latency]) -> None:
        """Measure the latency of all teachers; what a run to resume has `begun` with stays, on the same device.

        Raises:
            SpaceError: limits that nothing can meet.
        """
        found = self.latencies.measured([one.subject for one in self.measures.values()])
        for (name, measure), latency in zip(list(self.measures.items()), found, strict=True):
            kept = begun.get(name, latency)
            self.measures[name] = replace(measure, latency=kept if kept.device == latency.device else latency)
        if problems := self.space.limit_problems(self.teacher_costs):
            raise SpaceError([str(problem) for problem in problems])

    @cached_property
    def splits(self) -> dict[str, EncodedSplit]:
        """The splits in the reference teacher's encoding; prepared on disk at the first use. `test` may be missing."""
        return {name: self.split(name, self.space.teachers[0]) for name in self.dataset.split_names}

    def split(self, name: str, teacher: str) -> EncodedSplit:
        """Return a split in the encoding of one of the teachers: its students have its tokenizer and preprocessing."""
        if (name, teacher) not in self._prepared:
            self._prepared[name, teacher] = prepare_split(
                self.teachers[teacher], self.dataset, name, self.say
            )
        return self._prepared[name, teacher]

    def is_soon_measured(self) -> bool:
        """Return whether the teachers' figures are kept, or take no longer than a plan may."""
        made = self.students.made
        self.take_temperatures(measure=False)
        left = [
            name
            for name, teacher in self.teachers.items()
            if not figures_path(teacher, made, self._key("val")).exists()
        ]
        seen = self.evaluation.images + self.dataset.num_images * reads_bank(made.values())
        passes = sum(seen * self.measures[name].static.flops / FLOPS_PER_CPU_S for name in left)
        framings = {self.teachers[name].preprocess.framing for name in left}
        return passes + len(framings) * self.dataset.num_images * PREPARING_S < PLAN_S

    @cached_property
    def metrics_of_teachers(self) -> dict[str, dict[str, float]]:
        """Teacher -> what it scores on the validation split; kept in the cache folder.

        Raises:
            TeacherError: one can do no task at all on this data.
            SpaceError: an objective that none has.
        """
        self.take_temperatures(measure=True)
        found = {name: self._metrics("val", name) for name in self.teachers}
        for name, metrics in found.items():
            check_capable(name, metrics, self.counts)
        check_measurable(self.space, {name: 0.0 for metrics in found.values() for name in metrics})
        return found

    @property
    def teacher_metrics(self) -> dict[str, float]:
        """What the reference teacher scores on the validation split.

        Raises:
            TeacherError, SpaceError: as `metrics_of_teachers` does.
        """
        return self.metrics_of_teachers[self.space.teachers[0]]

    @cached_property
    def figures_of_teachers(self) -> dict[str, TeacherFigures]:
        """Teacher -> its figures on both held-out splits: what retention of its students refers to.

        Raises:
            TeacherError, SpaceError: as `metrics_of_teachers` does.
        """
        has_test = "test" in self.dataset.split_names
        return {
            name: TeacherFigures(
                metrics=metrics, test_metrics=self._metrics("test", name) if has_test else {}
            )
            for name, metrics in self.metrics_of_teachers.items()
        }

    @property
    def figures(self) -> TeacherFigures:
        """The figures of the reference teacher on both held-out splits.

        Raises:
            TeacherError, SpaceError: as `metrics_of_teachers` does.
        """
        return self.figures_of_teachers[self.space.teachers[0]]

    @cached_property
    def chances_of_teachers(self) -> dict[str, dict[str, Chance]]:
        """Teacher -> what guessing scores on the validation split in its encoding, by the metric that counts."""
        tasks = self.students.made.values()
        return {
            name: chances(self.split("val", name), tasks=tasks, size=self.evaluation)
            for name in self.teachers
        }

    @property
    def chances(self) -> dict[str, Chance]:
        """What guessing scores on the validation split, by the metric that counts; of tasks that know it."""
        return self.chances_of_teachers[self.space.teachers[0]]

    def caveats(self, blind: Mapping[str, float] | None = None) -> list[str]:
        """Return sentences on the tasks in which a teacher is not clearly better than guessing, or than the blind student.

        Args:
            blind: metrics of the blind student, which is one of the reference, once they are known.
        """
        found: list[str | None] = []
        for name, metrics in self.metrics_of_teachers.items():
            levels = self.chances_of_teachers[name]
            found.append(caveat(name, metrics, levels, counts=self.counts, rival=GUESSING))
            if name == self.space.teachers[0] and blind:
                counted = {metric: chance.count for metric, chance in levels.items()}
                unseen = {
                    metric: Chance(level=level, count=counted.get(metric, self.evaluation.images))
                    for metric, level in blind.items()
                }
                found.append(caveat(name, metrics, unseen, counts=self.counts, rival=BLIND))
        return [sentence for sentence in found if sentence]

    def feedable_part(self, candidate: Candidate) -> Candidate:
        """Return the candidate without the losses that its student, or its teacher of several, cannot feed.

        Raises:
            IllegalCandidate: no loss is left.
        """
        try:
            unfed = self.students.unfed(candidate)
        except ShapeError:
            return candidate  # the cost filter names the reason and records it
        return candidate.without_losses({*unfed, *self.left_out_of(candidate.config)})

    def left_out_of(self, config: Mapping[str, Any]) -> Mapping[str, str]:
        """Return loss -> why it is left out for all students of a candidate's teacher, of those that are searched."""
        return self._left_out_of[self.students.teacher_name(config)]

    def run_facts(self) -> dict[str, Any]:
        """Return what run.json says of teacher, tasks and data."""
        dataset, teachers = self.dataset, {name: self._teacher_facts(name) for name in self.teachers}
        target, settings = self.latencies.target, self.dataset_settings
        of_teachers = {name: dict(losses) for name, losses in self._left_out_of.items() if losses}
        return {
            "teacher": {
                "name": self.space.teachers[0],
                **teachers[self.space.teachers[0]],
                "fingerprint": self.fingerprints["teacher"],
                "fingerprints": {name: one.files.fingerprint for name, one in self.teachers.items()},
                "places": {name: self.teacher_path(name) for name in self.teachers},
            },
            "teachers": teachers,
            **({"target": target.to_dict()} if target else {}),
            "caveats": self.caveats(),
            "tasks": list(self.students.made),
            # a resumed run has it from its beginning
            **({"left_out": self.left_out} if self.left_out else {}),
            **({"left_out_of_teachers": of_teachers} if of_teachers else {}),
            "dataset": {
                "kind": self.space.dataset.kind,
                "fingerprint": self.fingerprints["dataset"],
                "places": {name: settings[name] for name in PATH_OPTIONS if name in settings},
                "description": dataset.describe(),
                **({"classes": list(dataset.classes)} if dataset.classes else {}),
            },
        }

    def _teacher_facts(self, name: str) -> dict[str, Any]:
        """Return what run.json says of one teacher: fingerprint, costs, and what it scores."""
        figures, measure = self.figures_of_teachers[name], self.measures[name]
        return {
            "fingerprint": self.teachers[name].files.fingerprint,
            **measure.costs,
            "latency": measure.latency.to_dict() if measure.latency else None,
            "metrics": figures.metrics,
            "test_metrics": figures.test_metrics,
            "guessing": {metric: one.level for metric, one in self.chances_of_teachers[name].items()},
        }

    def _key(self, split: str) -> tuple[str, ...]:
        data = self.dataset.fingerprinted(self.say)  # which reads all pictures, the first time
        return (data, split, *map(str, vars(self.evaluation).values()))

    def measuring(self, split: str, teacher: str, **more: Any) -> Measuring:
        """Return the order to evaluate a teacher on one split, or a student of it with what `more` says of that."""
        return Measuring(
            teacher=self.trial_teacher(teacher),
            teacher_fingerprint=self.teachers[teacher].files.fingerprint,
            dataset=self.dataset_settings,
            dataset_fingerprint=self.fingerprints["dataset"],
            split=split,
            tasks=self.task_settings,
            evaluation=vars(self.evaluation),
            **more,
        )

    def take_temperatures(self, *, measure: bool) -> None:
        """Give each teacher that lacks its ITC temperature the most likely one, kept or measured; its name tells it to others."""
        for name, teacher in self.teachers.items():
            run = partial(self._run, calibrate, name) if measure else None
            if not teacher.lacks_temperature:
                continue
            if (found := temperature_of(teacher, run, key=self._key("val"), say=self.say)) is not None:
                teacher.tell_temperature(found, origin="the most likely one for the validation pairs")
                self._places[name] = with_temperature(self._places.get(name, name), found)
                if name in self.copies:
                    self.copies[name] = with_temperature(self.copies[name], found)

    def _run(self, function: Callable[[Measuring], Any], teacher: str, split: str = "val") -> Any:
        """Run what measures a teacher on a split where the trials are to run, else in this process."""
        self.split(split, teacher)  # prepared here, once, with progress
        order = self.measuring(split, teacher)
        return function(order) if self.elsewhere is None else self.elsewhere.run(function, order)

    def _metrics(self, split: str, teacher: str) -> dict[str, float]:
        """Return a teacher's metrics on one split."""
        found = TeacherFigures.measured(
            self.teachers[teacher],
            self.students.made,
            lambda: self._measured(split, teacher),
            key=self._key(split),
            say=self.say,
        )
        asked = ACCURACY in self.space.objectives
        return {**found, ACCURACY: accuracy(found, self.counts)} if asked else found

    def _measured(self, split: str, teacher: str) -> dict[str, float]:
        """Measure a teacher on one split: where the trials are to run, else in this process."""
        if self.elsewhere is not None:
            return dict(self._run(measure_model, teacher, split))
        made = self.students.made.values()
        with within_share():
            return evaluate(
                self.teachers[teacher].model,
                self.split(split, teacher),
                tasks=made,
                size=self.evaluation,
                bank=self.split("train", teacher) if reads_bank(made) else None,
            )
