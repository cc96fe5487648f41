"""Teachers, data, tasks and students of a space: loaded, and all that is wrong with them told in one go.

What is wrong in one place does not hide the next: whatever can still be looked at is. A check whose subject is broken is
left out, since it could only repeat that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, final

from search.inputs.checks import Ability, check_losses, check_measurable, chosen_tasks, data_lacks
from search.inputs.places import PATH_OPTIONS, settled_data
from search.inputs.plugin_checks import plugin_problems
from search.inputs.students import Students
from search.inputs.teacher_figures import Say, TeacherMeasure
from spaces.document import in_order
from spaces.errors import DatasetError, PluginError, SpaceError, StudentSearchError, TeacherError
from spaces.paths import is_there, listed
from spaces.schema import Space
from trainables.costs.store import CostStore
from trainables.datasets.base import Dataset
from trainables.datasets.encoded import fields_of
from trainables.datasets.planned import Amount, PlannedDataset
from trainables.signals import LABEL, QUESTION, TEXTS
from trainables.tasks.base import Task
from trainables.teachers.kept import open_teacher
from trainables.teachers.loading import check_pairing
from trainables.teachers.outline import is_outline, open_for_plan
from trainables.teachers.teacher import Teacher
from trainables.training.build import make_dataset

T = TypeVar("T")
Agree = Callable[[Mapping[str, str]], None]
"""Gets the fingerprints of teachers and data, and raises where they are not those of the run to resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How what a space names is opened.

    Attributes:
        places: teacher -> where it lies now, of those whose name does not say so.
        agree: of a run to resume; asked before what only another teacher or other data would make wrong.
        planned: whether a plan is all that is wanted: of what is not here sizes will do then.
    """

    places: Mapping[str, str]
    agree: Agree | None = None
    planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a sound space names, loaded.

    Attributes:
        dataset: the data.
        teachers: name -> teacher, the reference first.
        students: families, tasks and losses.
        notes: what the user should know of what was chosen for him.
        unread: teacher -> loss -> why this data cannot feed it in the teacher's encoding.
        measures: name -> the costs of a teacher.
    """

    dataset: Dataset
    teachers: Mapping[str, Teacher]
    students: Students
    notes: Sequence[str]
    unread: Mapping[str, Mapping[str, str]]
    measures: Mapping[str, TeacherMeasure]


def gather(
    space: Space,
    store: CostStore,
    told: Sequence[str] = (),
    *,
    opening: Opening,
    say: Say,
) -> Parts:
    """Load and check all that a space names.

    Args:
        space: loaded; its doubtful places are left alone.
        store: of costs.
        told: what is wrong already.
        opening: how it is opened.
        say: takes a line on what takes long.

    Raises:
        SpaceError: everything that is wrong, in the order of the file.
        RunError: teachers or data are not those of the run.
    """
    found = _Found(space, told)
    data = (
        found.take(lambda: _open_data(space, planned=opening.planned)) if found.is_sound("dataset") else None
    )
    teachers = _load_teachers(space, found, opening)
    agree = opening.agree
    if agree is not None and data is not None and len(teachers) == len(space.teachers):
        agree(fingerprints(teachers, data, say))
    part = found.sound_part()
    if len(teachers) == len(space.teachers):
        found.take(partial(check_losses, part, teachers))
    for name, teacher in teachers.items():
        if data is not None:
            found.take(partial(_check_pair, space, name, teacher, data))
    reference = teachers.get(space.teachers[0])
    chosen = _choose(part, teachers, data, found) if reference else None
    students, measures = None, dict[str, TeacherMeasure]()
    if reference and chosen and len(teachers) == len(space.teachers):
        students = Students(
            chosen[0], teachers, allow_partial=space.allow_partial, classes=data.classes if data else ()
        )
        for name, teacher in teachers.items():
            measure = found.take(partial(_measure, students, teacher, store))
            measures |= {name: measure} if measure else {}
        if space.teachers[0] in measures:
            _check_whole(space, students, measures[space.teachers[0]].costs, found)
    found.raise_any()
    if data is None or reference is None or chosen is None or students is None:
        raise AssertionError("something is missing, and nobody has told why")
    return Parts(
        dataset=data,
        teachers=teachers,
        students=students,
        notes=chosen[1],
        unread={name: _unread(space, teacher, data.kinds) for name, teacher in teachers.items()},
        measures=measures,
    )


def is_planned(dataset: Dataset, teachers: Iterable[Teacher]) -> bool:
    """Return whether of data or of some teacher only sizes are known: nothing can be measured then."""
    return isinstance(dataset, PlannedDataset) or any(map(is_outline, teachers))


def dataset_settings(space: Space) -> dict[str, Any]:
    """Return kind and options of the data, paths as trials in other folders find them."""
    return settled_data({"kind": space.dataset.kind, **space.dataset.options})


def fingerprints(teachers: Mapping[str, Teacher], data: Dataset, say: Say) -> Mapping[str, str]:
    """Return what tells whether another run had the same teachers and data."""
    joined = "+".join(teacher.files.fingerprint for teacher in teachers.values())
    return {"teacher": joined, "dataset": data.fingerprinted(say)}


@final
class _Found:
    """What is wrong with a space so far."""

    def __init__(self, space: Space, told: Sequence[str]) -> None:
        """Begin with what was told, and what is wrong with plug-ins and their options."""
        problems = plugin_problems(space)
        self._space, self._texts = space, [*told, *map(str, problems)]
        self._broken = [problem.field.partition(" ")[0] for problem in problems]

    def is_sound(self, *paths: str) -> bool:
        """Return whether nothing is wrong at the dotted paths, nor below."""
        return not any(
            self._space.is_doubtful(path, inside=True)
            or any(f"{one}.".startswith(f"{path}.") for one in self._broken)
            for path in paths
        )

    def sound_part(self) -> Space:
        """Return the space with those of its losses, tasks and objectives with which nothing is wrong."""
        fields = self._space.resolved()
        for section in ("losses", "tasks", "objectives"):
            named = fields[section] or {}
            kept = {name: one for name, one in named.items() if self.is_sound(f"{section}.{name}")}
            fields[section] = kept or (None if section == "tasks" else {})
        return self._space.rewritten(fields)

    def note(self, text: str) -> None:
        """Note one more thing that is wrong."""
        self._texts.append(text)

    def take(self, make: Callable[[], T]) -> T | None:
        """Return what is made, or None where that fails, with what is wrong noted."""
        try:
            return make()
        except SpaceError as error:
            self._texts += error.problems
        except StudentSearchError as error:
            self._texts += str(error).splitlines()
        return None

    def raise_any(self) -> None:
        """Raise all that is wrong as one error.

        Raises:
            SpaceError: there is something.
        """
        if self._texts:
            raise SpaceError(in_order(self._texts, self._space.source))


def _unread(space: Space, teacher: Teacher, kinds: frozenset[str]) -> dict[str, str]:
    """Return loss -> why this data cannot feed it in the encoding of a teacher."""
    lacks = data_lacks(space, teacher.offers, fields_of(kinds))
    readable = _readable(kinds, teacher)
    if readable != kinds:
        why = "reads texts, for which the teacher has no tokenizer"
        if teacher.tokenizer:
            why = "reads questions, for which the teacher's tokenizer has no token that begins a text"
        texts = data_lacks(space, teacher.offers, fields_of(readable))
        lacks = {**dict.fromkeys(texts, why), **lacks}
    return lacks


def _measure(students: Students, teacher: Teacher, store: CostStore) -> TeacherMeasure:
    """Return the costs of a teacher, deployed for what it can do of the tasks."""
    return TeacherMeasure.of(students.deployed(teacher.blueprint, teacher), store)


def _choose(
    part: Space, teachers: Mapping[str, Teacher], data: Dataset | None, found: _Found
) -> tuple[dict[str, Task], list[str]] | None:
    """Return the tasks and what was chosen; note tasks and objectives that teacher and data do not allow."""
    if not found.is_sound("tasks") and not part.tasks:
        return None
    kinds = frozenset({*TEXTS, LABEL}) if data is None else data.kinds
    abilities = {
        name: Ability(offers=teacher.offers, fields=fields_of(_readable(kinds, teacher)))
        for name, teacher in teachers.items()
    }
    chosen = found.take(lambda: chosen_tasks(part, abilities))
    for line in data.unread() if data is not None and chosen is None else ():
        found.note(line)  # what is there, and cannot be read, may be why
    if chosen is not None and found.is_sound("tasks"):
        metrics = {name: 0.0 for task in chosen[0].values() for name in task.metrics}
        found.take(lambda: check_measurable(part, metrics))
    return chosen


def _readable(kinds: frozenset[str], teacher: Teacher) -> frozenset[str]:
    """Return the kinds of rows of some data that models can see in the teacher's encoding."""
    if teacher.tokenizer is None:
        return kinds - TEXTS
    return kinds if teacher.tokenizer.answers else kinds - {QUESTION}


def _check_whole(space: Space, students: Students, costs: Mapping[str, float], found: _Found) -> None:
    """Note what no candidate can satisfy, as far as the space is sound."""
    problems = space.limit_problems(costs)
    if found.is_sound("student"):
        hopeless = space.contradictions(students)
        problems += hopeless
        if not hopeless and found.is_sound("losses", "training"):
            problems += space.illegal_start_points(students)
    found.take(lambda: _raise([str(problem) for problem in problems]))


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise SpaceError(problems)


def _open_data(space: Space, *, planned: bool) -> Dataset:
    """Return the data, its rows read; of what is not here its sizes, where a plan is all that is wanted and says them.

    Raises:
        SpaceError: an option that cannot be, with the place of it.
        DatasetError: what is wrong with the rows, each with its line.
    """
    data: Dataset | None = _planned_data(space) if planned else None
    try:
        data = data or make_dataset(dataset_settings(space))
    except (DatasetError, PluginError) as error:
        problems = []
        for line in str(error).splitlines():
            named, _, rest = line.partition(": ")
            option = named.removeprefix("dataset.").split(" ")[0]
            own = named.startswith("dataset.") and rest
            problems.append(
                f"{space.place(f'dataset.{option}')}: {rest}" if own else f"{space.place('dataset')}: {line}"
            )
        raise SpaceError(problems) from error
    if data.varied and space.teacher_cache.kind == "cached":
        raise SpaceError(
            [
                f"{space.place('teacher_cache.kind')}: got 'cached' with data that shows pictures another way at each visit "
                "(dataset.vary), of which no cache tells; allowed: live. Set it, or vary no pictures."
            ]
        )
    assert data.kinds  # reads the rows
    return data


def _planned_data(space: Space) -> PlannedDataset | None:
    """Return what a plan says of data that is not here; None where the data is here, or the plan does not say it."""
    settings = dataset_settings(space)
    named = [path for name in PATH_OPTIONS for path in listed(settings.get(name))]
    gone = [path for path in named if not is_there(path)]
    if not gone or space.plan is None or not space.plan.data:
        return None
    sources = {name: Amount(**one.model_dump()) for name, one in space.plan.data.items()}
    return PlannedDataset(sources, missing=gone[0], varied=settings.get("vary") is True)


def _check_pair(space: Space, name: str, teacher: Teacher, data: Dataset) -> None:
    """Refuse a teacher of another task than that of the data.

    Raises:
        SpaceError: says so.
    """
    try:
        check_pairing(teacher, data, [])
    except TeacherError as error:
        raise SpaceError([f"{space.place('teacher')}: got {name!r}; {error}"]) from error


def _load_teachers(space: Space, found: _Found, opening: Opening) -> dict[str, Teacher]:
    """Return name -> teacher, in the order of the space, each from its place if that is told; note what cannot be loaded."""
    teachers: dict[str, Teacher] = {}
    opened = open_for_plan if opening.planned else open_teacher
    for name in space.teachers if found.is_sound("teacher") else ():
        try:
            teachers[name] = opened(opening.places.get(name, name))
        except (PluginError, TeacherError) as error:
            found.note(f"{space.place('teacher')}: got {name!r}; {error}")
    return teachers
