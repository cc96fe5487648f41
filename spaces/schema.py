"""Space, the loaded space file: what may be tried, with the mark of every value."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from spaces.candidate import Candidate, TeacherFacts
from spaces.checks import contradictions, limit_ranges, rounding_sentences
from spaces.document import Mark, Path, Problem, dotted
from spaces.domains import Domain, FlatSpec, Scalar
from spaces.errors import IllegalCandidate, SpaceError
from spaces.leaves import Finding, fixed
from spaces.plugins import near
from spaces.rules import Word
from spaces.sections import (
    EvaluationSection,
    LimitsSection,
    LossSection,
    Plugin,
    ResourcesSection,
    SearchSection,
    Section,
    StudentSection,
    TeacherCacheSection,
    Text,
    TrainingSection,
)
from spaces.sizes import resolve_student
from spaces.start_points import complete

COSTS = ("params", "flops", "latency_ms", "size_mib")


class Space(Section):
    """A loaded space file: what may be tried.

    Fields hold literals or domains. The file's `limits` are `limits_section`; `limits()` resolves them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    teacher: Text
    dataset: Plugin
    student: StudentSection
    losses: dict[str, LossSection]
    training: TrainingSection
    objectives: dict[str, Annotated[Literal["max", "min"], fixed(Word(options=("max", "min")))]]
    limits_section: LimitsSection = Field(default=LimitsSection(), alias="limits")
    search: SearchSection
    evaluation: EvaluationSection = EvaluationSection()
    resources: ResourcesSection = ResourcesSection()
    teacher_cache: TeacherCacheSection = TeacherCacheSection()

    _marks: dict[Path, Mark] = PrivateAttr(default_factory=dict)
    _source: str = PrivateAttr(default="space")

    def __eq__(self, other: object) -> bool:
        """Return whether both say the same, wherever they were written."""
        return isinstance(other, Space) and self.resolved() == other.resolved()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def loaded(cls, fields: dict[str, Any], marks: Mapping[Path, Mark], source: str) -> "Space":
        """Return the validated space with its marks.

        Raises:
            pydantic.ValidationError: `spaces.load` turns it into a SpaceError.
        """
        space = cls.model_validate(fields)
        space._marks.update(marks)
        space._source = source
        return space

    @property
    def quality(self) -> str:
        """The quality objective: the first maximised one that is no cost, else the first that is no cost."""
        metrics = [name for name in self.objectives if name not in COSTS]
        return next((name for name in metrics if self.objectives[name] == "max"), metrics[0])

    def mark(self, path: str) -> Mark:
        """Return the mark of a dotted path, or of the nearest part around it that stands in the file."""
        return self._mark(tuple(int(part) if part.isdigit() else part for part in path.split(".")))

    def where(self, path: str) -> str:
        """Return `spaces/dlip.yaml:14`, or the --set flag that gave the value."""
        return str(self.mark(path))

    def place(self, path: str) -> str:
        """Return `spaces/dlip.yaml:14, student.image.heads`: how a message about a field begins."""
        return f"{self.where(path)}, {path}"

    def option_place(self, path: str) -> Callable[[str], str]:
        """Return option name -> place, for `spaces.options.check_options` on the section at `path`."""
        return lambda option: self.place(f"{path}.{option}")

    def domains(self) -> dict[str, Domain]:
        """Return dotted path -> Domain of all that is searched, in the order of the sections."""
        return {path: leaf for path, leaf in self.searchable().items() if isinstance(leaf, Domain)}

    def searchable(self) -> dict[str, Any]:
        """Return dotted path -> literal or Domain of all that a candidate's config is made of."""
        return dict(_leaves(self._searched()))

    def conditions(self) -> dict[str, str]:
        """Return searched path -> the searched path whose zero switches it off.

        The placement of no fusion layers and the options of a loss of weight 0 change nothing.
        """
        domains = self.domains()
        switches = {"student.fusion.placement": "student.fusion.layers"}
        for path in domains:
            room, _, rest = path.partition(".")
            if room == "losses" and not rest.endswith(".weight"):
                switches[path] = f"losses.{rest.split('.')[0]}.weight"
        return {path: switch for path, switch in switches.items() if path in domains and switch in domains}

    def default_values(self) -> dict[str, Scalar] | None:
        """Return the default of every domain, a first candidate; None when a domain has none."""
        defaults = {path: domain.default for path, domain in self.domains().items()}
        full = {path: value for path, value in defaults.items() if value is not None}
        return full if len(full) == len(defaults) else None

    def start_values(self) -> list[dict[str, Scalar]]:
        """Return the start points in their order, one value for each path of `domains()`."""
        return [values for values, _ in self._start_points()]

    def start_problems(self) -> list[Problem]:
        """Return what is wrong with the start points, with the line of each; a loaded space has none."""
        found = []
        for number, (_, findings) in enumerate(self._start_points()):
            for keys, text in findings:
                at: Path = ("search", "start", number, *keys)
                found.append(Problem(self._mark(at), dotted(at), f"start point {number + 1}: {text}"))
        return found

    def flat(self) -> dict[str, FlatSpec]:
        """Return label -> (kind, arguments) for a searcher with a flat space; see `Domain.flat`."""
        return {
            label: spec
            for path, domain in self.domains().items()
            for label, spec in domain.flat(path).items()
        }

    def flatten(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the flat labels of path -> value."""
        return {
            k: v
            for path, domain in self.domains().items()
            for k, v in domain.flatten(path, values[path]).items()
        }

    def unflatten(self, labels: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return path -> value of flat labels: plain Python, inside the bounds."""
        return {path: domain.unflatten(path, labels) for path, domain in self.domains().items()}

    def resolved(self) -> dict[str, Any]:
        """Return the whole space, defaults and overrides included, as plain values that load back to it."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def build(self, values: Mapping[str, Scalar], facts: TeacherFacts, seed: int) -> Candidate:
        """Return the candidate at one point of the space.

        Args:
            values: one value for each path of `domains()`.
            facts: the teacher that relative values refer to.
            seed: the seed of the search.

        Raises:
            IllegalCandidate: sizes that do not fit together, or nothing to train; the message is the reason.
            ValueError: `values` does not name exactly the domains.
        """
        domains = self.domains()
        if set(values) != set(domains):
            missing, extra = sorted(set(domains) - set(values)), sorted(set(values) - set(domains))
            raise ValueError(f"values: missing {missing}, unknown {extra}")
        config = _plain_with(self._searched(), values)
        config["student"] = resolve_student(config["student"], facts)
        config["blind"] = False
        return Candidate.of(config, seed)

    def roundings(self, facts: TeacherFacts) -> list[str]:
        """Return a sentence for each relative value that had to be rounded to a legal size."""
        return rounding_sentences(self._student(), facts)

    def limits(self, facts: TeacherFacts) -> dict[str, tuple[float | None, float | None]]:
        """Return cost -> (min, max), absolute, for each cost with a limit."""
        return limit_ranges(_plain(self.limits_section), facts)

    def check(self, facts: TeacherFacts) -> None:
        """Check the space against the teacher.

        Raises:
            SpaceError: what no candidate can satisfy, all of it.
        """
        found = contradictions(self._student(), facts)
        for name, (low, high) in self.limits(facts).items():
            if low is not None and high is not None and low > high:
                text = f"got min {low:g} above max {high:g}; allowed: min <= max. Swap them, or drop one."
                found.append((f"limits.{name}", text))
        problems = [Problem(self.mark(path), path, text) for path, text in found]
        problems += self._illegal_start_points(facts) if not found else []
        if problems:
            raise SpaceError([str(problem) for problem in problems])

    def _illegal_start_points(self, facts: TeacherFacts) -> Iterator[Problem]:
        """Yield a problem for each start point whose parts do not fit together."""
        for number, values in enumerate(self.start_values()):
            try:
                self.build(values, facts, self.search.seed)
            except IllegalCandidate as error:
                at: Path = ("search", "start", number)
                yield Problem(
                    self._mark(at), dotted(at), f"start point {number + 1} is no candidate: {error}"
                )

    def _start_points(self) -> list[tuple[dict[str, Scalar], list[Finding]]]:
        """Return values of each start point, and what is wrong with it."""
        domains = self.domains()
        literals = {path: leaf for path, leaf in self.searchable().items() if path not in domains}
        points = self.search.start
        return [complete(point, domains, literals=literals, where=self.where) for point in points]

    def _mark(self, parts: Path) -> Mark:
        """Return the mark of a path, or of the nearest part around it that stands in the file."""
        while parts and parts not in self._marks:
            parts = parts[:-1]
        return self._marks.get(parts, Mark(self._source))

    def _searched(self) -> dict[str, Any]:
        return {"student": self.student, "losses": self.losses, "training": self.training}

    def _student(self) -> dict[str, Any]:
        """Return dotted path -> literal or domain of the student section."""
        return dict(_leaves({"student": self.student}))


def check_objectives(space: Space, known: Iterable[str]) -> list[str]:
    """Return a problem for each objective that nothing produces.

    Args:
        space: the loaded space.
        known: names of all metrics and costs.
    """
    names = sorted(known)
    problems = []
    for name in [name for name in space.objectives if name not in names]:
        guess = near(name, names)
        hint = f"Did you mean {guess!r}?" if guess else "Use one of these."
        place = space.place(f"objectives.{name}")
        problems.append(f"{place}: got {name!r}, which nothing produces; allowed: {', '.join(names)}. {hint}")
    return problems


def _children(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the parts of a section or mapping, or None for a leaf."""
    if isinstance(value, BaseModel):
        fields = [
            (field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items()
        ]
        return fields + list((value.__pydantic_extra__ or {}).items())
    return list(value.items()) if isinstance(value, dict) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, leaf) of everything under `value`."""
    parts = _children(value)
    if parts is None:
        yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, f"{path}.{key}" if path else key)


def _plain(value: Any) -> Any:
    """Return plain values, domains as they stand in a file."""
    if isinstance(value, Domain):
        return value.spec()
    parts = _children(value)
    if parts is None:
        return value
    return {key: _plain(part) for key, part in parts}


def _plain_with(value: Any, values: Mapping[str, Scalar], path: str = "") -> Any:
    """Return plain values, each domain replaced by the value at its path."""
    if isinstance(value, Domain):
        return values[path]
    parts = _children(value)
    if parts is None:
        return value
    return {key: _plain_with(part, values, f"{path}.{key}" if path else key) for key, part in parts}
