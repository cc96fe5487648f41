"""Space, the loaded space file: what may be tried, with the mark of every value."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr

from spaces.ablation import AblationSection
from spaces.candidate import Candidate, Plugins
from spaces.checks import Values, contradictions, limit_ranges, points, refusals
from spaces.conditions import Conditions, active
from spaces.document import Mark, Path, Problem, dotted
from spaces.domains import Domain, Scalar, relative
from spaces.errors import IllegalCandidate, SpaceError
from spaces.leaves import Finding, fixed
from spaces.objectives import quality_objective
from spaces.planning import PlanSection
from spaces.rules import Word
from spaces.sections import (
    CheckpointsSection,
    EvaluationSection,
    FailuresSection,
    LimitsSection,
    LossSection,
    Name,
    Plugin,
    ResourcesSection,
    SearchSection,
    Section,
    StudentSection,
    Tasks,
    TeacherCacheSection,
    Text,
    TrainingSection,
    Truth,
    trained_as,
)
from spaces.start_points import complete, filled
from spaces.switches import KIND, structural, when_findings
from spaces.target import LatencySection
from spaces.tree import at, corner_values, depth, leaves, located, plain, unlocated

TEACHER = "teacher"
PLACE = re.compile("[0-9]{1,9}")  # in a list


class Space(Section):
    """A loaded space file: what may be tried.

    Fields hold literals or domains. The file's `limits` are `limits_section`; `limits()` resolves them.
    `tasks` maps names to options; None means all that teacher and data allow. `baselines` maps names to students, given whole,
    that are trained along and do not compete.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    teacher: Name
    dataset: Plugin
    student: StudentSection
    tasks: Tasks = None
    allow_partial: Truth = False
    losses: dict[str, LossSection]
    training: TrainingSection
    objectives: dict[str, Annotated[Literal["max", "min"], fixed(Word(options=("max", "min")))]]
    baselines: dict[str, Plugin] = Field(default_factory=dict)
    limits_section: LimitsSection = Field(default=LimitsSection(), alias="limits")
    search: SearchSection
    evaluation: EvaluationSection = EvaluationSection()
    resources: ResourcesSection = ResourcesSection()
    failures: FailuresSection = FailuresSection()
    teacher_cache: TeacherCacheSection = TeacherCacheSection()
    checkpoints: CheckpointsSection = CheckpointsSection()
    latency: LatencySection = LatencySection()
    ablation: AblationSection | None = None
    plan: PlanSection | None = None

    _marks: dict[Path, Mark] = PrivateAttr(default_factory=dict)
    _source: str = PrivateAttr(default="space")
    _doubtful: frozenset[Path] = PrivateAttr(default=frozenset())
    # domains and conditions, worked out once: a search asks for them at every candidate
    _known: tuple[dict[str, Domain], Conditions] | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Return whether both say the same, wherever they were written."""
        return isinstance(other, Space) and self.resolved() == other.resolved()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def loaded(
        cls, fields: Any, marks: Mapping[Path, Mark], source: str, *, doubtful: Collection[Path] = ()
    ) -> "Space":
        """Return the validated space with its marks.

        Args:
            fields: plain values.
            marks: path -> its place.
            source: the file.
            doubtful: where something stands in for a wrong or missing value, see `spaces.drafts`.

        Raises:
            pydantic.ValidationError: `spaces.load` turns it into a SpaceError.
        """
        space = cls.model_validate(fields)
        space._marks.update(marks)
        for place, name in enumerate(space.tasks or ()):
            if ("tasks", place) in marks:  # written as a list
                space._marks["tasks", name] = marks["tasks", place]
        space._source = source
        space._doubtful = frozenset(doubtful)
        return space

    @property
    def source(self) -> str:
        """The file that it was read from."""
        return self._source

    def is_doubtful(self, path: str, *, inside: bool = False) -> bool:
        """Return whether what stands at a dotted path is no value of the file, but stands in for a wrong one.

        Args:
            path: dotted.
            inside: whether anything below the path counts, too.
        """
        keys = tuple(path.split("."))
        return any(
            keys[: len(one)] == one or (inside and one[: len(keys)] == keys)
            for one in ((*map(str, some),) for some in self._doubtful)
        )

    @property
    def quality(self) -> str:
        """The quality objective: the first maximised one that is no cost, else the first that is no cost."""
        return quality_objective(self.objectives)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that a student may be of, in the order of the file."""
        return self.student.kinds

    @property
    def teachers(self) -> tuple[str, ...]:
        """All teachers; the first one is the reference: the default, or else the first in the file."""
        teacher = self.teacher
        if not isinstance(teacher, Domain):
            return (teacher,)
        names, reference = [str(name) for name in teacher.corners()], teacher.default
        return tuple(sorted(names, key=lambda name: name != reference))

    def mark(self, path: str | Path) -> Mark:
        """Return the mark of a path, dotted or in parts, or of the nearest part around it that stands in the file."""
        parts = path.split(".") if isinstance(path, str) else ()
        return self._mark(
            tuple(int(part) if PLACE.fullmatch(part) else part for part in parts) or tuple(path)
        )

    def where(self, path: str) -> str:
        """Return `spaces/dlip.yaml:14`, or the --set flag that gave the value."""
        return str(self.mark(path))

    def place(self, path: str) -> str:
        """Return `spaces/dlip.yaml:14, student.image.heads`: how a message about a field begins."""
        return f"{self.where(path)}, {path}"

    def kind_options(self, kind: str) -> dict[str, Any]:
        """Return the options of a kind as its Config takes them, shared ones included; values may be domains."""
        options: dict[str, Any] = unlocated(self.student.tree(kind))
        return options

    def option_path(self, kind: str, option: str) -> str:
        """Return where an option of a kind such as `image.width` stands: shared, or under the kind's name."""
        keys = option.split(".")
        own = depth(self.student.own(kind), keys)
        if own and own >= depth(self.student.shared_part(keys[0]), keys):
            return f"student.{kind}.{option}"
        return f"student.{option}" if option else "student"

    def option_place(self, path: str, kind: str = "") -> Callable[[str], str]:
        """Return option name -> place, for `spaces.options.check_options` on the section at `path`.

        Args:
            path: of the section, such as `losses.itc`; `student` together with `kind`.
            kind: of the student, whose options may also stand under its name.
        """
        if kind:
            return lambda option: self.place(self.option_path(kind, option))
        return lambda option: self.place(f"{path}.{option}")

    def domains(self) -> dict[str, Domain]:
        """Return dotted path -> Domain of all that is searched, in the order of the sections.

        What counts for no candidate is left out: options of a loss of weight 0, shared options that each kind has anew.
        """
        return dict(self._switched()[0])

    def searchable(self) -> dict[str, Any]:
        """Return dotted path -> literal or Domain of all that a candidate's config is made of; a teacher only if searched."""
        return dict(leaves(located(self._searched())))

    def conditions(self) -> Conditions:
        """Return searched path -> what must hold for it to count, for paths that do not always count."""
        return dict(self._switched()[1])

    def default_values(self) -> dict[str, Scalar] | None:
        """Return the default of every domain, a first candidate; None when a domain that counts there has none."""
        values, missing = filled({}, self.domains(), conditions=self.conditions())
        return None if missing else values

    def start_values(self) -> list[dict[str, Scalar]]:
        """Return the start points in their order, one value for each path of `domains()`."""
        return [values for values, _ in self.completed(self.search.start)]

    def start_problems(self) -> list[Problem]:
        """Return what is wrong with the start points, with the line of each; a loaded space has none."""
        found = []
        for number, (_, findings) in enumerate(self.completed(self.search.start)):
            for keys, text in findings:
                path: Path = ("search", "start", number, *keys)
                found.append(Problem(self._mark(path), dotted(path), f"start point {number + 1}: {text}"))
        return found

    def when_problems(self) -> list[Problem]:
        """Return what is wrong with the conditions of domains, with the line of each; a loaded space has none."""
        needed = {
            f"training.{name}" for name, field in TrainingSection.model_fields.items() if field.is_required()
        }
        findings = when_findings(
            self.domains(),
            self.conditions(),
            literals=self._literals(),
            always={TEACHER, KIND, *needed},
            where=self.where,
        )
        return [Problem(self._mark(keys), dotted(keys), text) for keys, text in findings]

    def resolved(self) -> dict[str, Any]:
        """Return the whole space, defaults and overrides included, as plain values that load back to it."""
        return dict(plain(self))

    def build(self, values: Mapping[str, Scalar], plugins: Plugins, seed: int) -> Candidate:
        """Return the candidate at one point of the space.

        Args:
            values: one value for each path of `domains()`; those that do not count are not looked at and may be missing.
            plugins: families, losses and tasks.
            seed: the seed of the search.

        Raises:
            IllegalCandidate: options that do not fit together, or nothing to train; the message is the reason.
            ValueError: `values` names other paths than the domains.
        """
        point = self._counted(values)
        config: dict[str, Any] = {
            "student": plugins.student(*self._student(point)),
            "losses": {name: self._loss(name, point, plugins=plugins) for name in self.losses},
            "training": trained_as(at(located(self.training, "training"), point)),
            "tasks": sorted(plugins.tasks),
            "blind": False,
        }
        if TEACHER in point:
            config[TEACHER] = point[TEACHER]
        return Candidate.of(config, seed)

    def sections(self, kind: str, teacher: str) -> Iterator[dict[str, Any]]:
        """Yield the student section at every point of it, or at many, for one kind and teacher: `Plugins.student` takes it."""
        for point in self._students(kind, teacher):
            yield self._student(point)[0]

    def roundings(self, plugins: Plugins) -> list[str]:
        """Return a sentence for each relative value of a student that had to be rounded to a legal size."""
        found: dict[str, None] = {}
        if not any(map(relative, corner_values(self.student))):
            return []
        for kind in self.kinds:
            for teacher in self.teachers:
                for point in self._students(kind, teacher):
                    found.update(dict.fromkeys(plugins.roundings(*self._student(point))))
        return list(found)

    def limits(self, teacher_costs: Mapping[str, float]) -> dict[str, tuple[float | None, float | None]]:
        """Return cost -> (min, max), absolute, for each cost with a limit; relative ones are shares of `teacher_costs`."""
        return limit_ranges(plain(self.limits_section), teacher_costs)

    def check(self, plugins: Plugins, teacher_costs: Mapping[str, float]) -> None:
        """Check the space against its teachers, `teacher_costs` being those of the reference teacher.

        Raises:
            SpaceError: what no candidate can satisfy, all of it.
        """
        problems = [*self.contradictions(plugins), *self.limit_problems(teacher_costs)]
        problems += self.illegal_start_points(plugins) if not problems else []
        if problems:
            raise SpaceError([str(problem) for problem in problems])

    def limit_problems(self, teacher_costs: Mapping[str, float]) -> list[Problem]:
        """Return a problem for each limit that nothing can meet, `teacher_costs` being those of the reference teacher."""
        return [
            Problem(
                self.mark(f"limits.{name}"),
                f"limits.{name}",
                f"got min {low:g} above max {high:g}; allowed: min <= max. Swap them, or drop one.",
            )
            for name, (low, high) in self.limits(teacher_costs).items()
            if low is not None and high is not None and low > high
        ]

    def contradictions(self, plugins: Plugins) -> list[Problem]:
        """Return a problem for each kind that fits no teacher, and each teacher that no other kind fits."""
        refused = {
            (kind, teacher): refusals(
                self._students(kind, teacher), lambda point: plugins.student(*self._student(point))
            )
            for kind in self.kinds
            for teacher in self.teachers
        }
        found = contradictions(self.kinds, self.teachers, refused, place=self.option_path)
        return [Problem(self.mark(path), path, text) for path, text in found]

    def illegal_start_points(self, plugins: Plugins) -> list[Problem]:
        """Return a problem for each start point whose parts do not fit together; what is wrong otherwise is left out."""
        problems = []
        for number, (values, findings) in enumerate(self.completed(self.search.start)):
            path: Path = ("search", "start", number)
            try:
                if not findings:
                    self.build(values, plugins, self.search.seed)
            except IllegalCandidate as error:
                text = f"start point {number + 1} is no candidate: {error}"
                problems.append(Problem(self._mark(path), dotted(path), text))
        return problems

    def rewritten(self, fields: Mapping[str, Any]) -> "Space":
        """Return a space with other plain values as of `resolved`, each with the mark of what stood there."""
        return type(self).loaded(dict(fields), self._marks, self._source)

    def completed(self, some: Iterable[Mapping[str, Any]]) -> list[tuple[dict[str, Scalar], list[Finding]]]:
        """Return a value for each domain at points that are given in part, and what is wrong with each."""
        known = (self.domains(), self.conditions(), self._literals())
        return [complete(one, *known, where=self.where) for one in some]

    def _literals(self) -> dict[str, Any]:
        """Return dotted path -> literal, or domain that never counts, of all that is not searched."""
        domains = self.domains()
        known = {TEACHER: self.teacher, **self.searchable()}
        return {path: leaf for path, leaf in known.items() if path not in domains}

    def _mark(self, parts: Path) -> Mark:
        """Return the mark of a path, or of the nearest part around it that stands in the file."""
        while parts and parts not in self._marks:
            parts = parts[:-1]
        return self._marks.get(parts, Mark(self._source))

    def _searched(self) -> dict[str, Any]:
        teacher = {TEACHER: self.teacher} if isinstance(self.teacher, Domain) else {}
        return {**teacher, "student": self.student, "losses": self.losses, "training": self.training}

    def _switched(self) -> tuple[dict[str, Domain], Conditions]:
        """Return domains and conditions."""
        if self._known is None:
            needs = structural(self.student, self.losses)
            found = {path: leaf for path, leaf in self.searchable().items() if isinstance(leaf, Domain)}
            domains = {path: domain for path, domain in found.items() if needs.get(path, ()) is not None}
            both = {path: (*(needs.get(path) or ()), *domain.when) for path, domain in domains.items()}
            self._known = domains, {path: conditions for path, conditions in both.items() if conditions}
        return self._known

    def _counted(self, values: Mapping[str, Scalar]) -> Values:
        """Return the values that count.

        Raises:
            ValueError: one of them is missing, or a path is none of the domains.
        """
        domains, conditions = self.domains(), self.conditions()
        counted = active({**dict.fromkeys(domains, 0), **values}, conditions)
        missing, extra = sorted(counted.keys() - values.keys()), sorted(values.keys() - domains.keys())
        if missing or extra:
            raise ValueError(f"values: missing {missing}, unknown {extra}")
        return counted

    def _student(self, point: Mapping[str, Scalar]) -> tuple[dict[str, Any], str]:
        """Return the student section at a point, its kind's own options laid over the shared ones, and the teacher."""
        kind = str(point.get(KIND, self.kinds[0]))
        section = {"kind": kind, **at(self.student.tree(kind), point)}
        return section, str(point.get(TEACHER, self.teachers[0]))

    def _students(self, kind: str, teacher: str) -> Iterator[Values]:
        """Yield the points of the student section alone, and of what its conditions look at, for one kind and teacher."""
        domains, conditions = self.domains(), self.conditions()
        wanted = [path for path in domains if path.startswith("student.")]
        for path in wanted:  # grows while it is read
            wanted += [one.path for one in conditions.get(path, ()) if one.path not in wanted]
        varied = {path: domain for path, domain in domains.items() if path in wanted}
        return points(varied, conditions, fixed={KIND: kind, TEACHER: teacher})

    def _loss(self, name: str, point: Mapping[str, Scalar], *, plugins: Plugins) -> dict[str, Any]:
        """Return a loss at a point; defaults are filled in unless it is off."""
        options = at(located(self.losses[name], f"losses.{name}"), point)
        return plugins.loss(name, options) if options.get("weight") else {**options, "weight": 0}
