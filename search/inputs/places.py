"""Where data, teachers and weights of a space lie: the same from whatever folder a command is given."""

from collections.abc import Mapping
from typing import Any

from spaces.domains import Domain
from spaces.paths import is_there, settled, user_path
from spaces.schema import Space
from spaces.sections import StudentSection
from trainables.datasets import PLACES
from trainables.families import PLACES as PLACES_OF_STUDENTS
from trainables.teachers import TEACHERS

PATH_OPTIONS = PLACES  # of data sets


def settled_teacher(name: str) -> str:
    """Return a teacher's name as any process can load it: a folder from the root, any other as it is."""
    if name in TEACHERS or not user_path(name).is_dir():
        return name
    return str(settled(name))


def settled_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set, its paths from the root."""
    paths = {name: settings[name] for name in PATH_OPTIONS if isinstance(settings.get(name), str)}
    return {**settings, **{name: str(settled(path)) for name, path in paths.items()}}


def settled_space(space: Space) -> Space:
    """Return a space whose data, teacher and files of weights are named from the root, as its run folder keeps them.

    What is not there stays as typed, to be told as the user named it. Of several teachers or files the names stay, too: they
    are values that a candidate has; run.json keeps the teachers' places.
    """
    settings = settled_data(space.dataset.options)
    paths = {name: settings[name] for name in PATH_OPTIONS if isinstance(settings.get(name), str)}
    there = {name: path for name, path in paths.items() if is_there(path)}
    teacher = space.teacher if isinstance(space.teacher, Domain) else settled_teacher(space.teacher)
    dataset = space.dataset.model_copy(update=there)
    student = _settled_student(space.student)
    baselines = {name: one.model_copy(update=_there(one.options)) for name, one in space.baselines.items()}
    return space.model_copy(
        update={"teacher": teacher, "dataset": dataset, "student": student, "baselines": baselines}
    )


def _settled_student(section: StudentSection) -> StudentSection:
    """Return a student whose files are named from the root, those under the name of a kind too."""
    moved: dict[str, Any] = _there(section.shared())
    for kind in section.kinds:
        if found := _there(section.own(kind)):
            moved[kind] = {**section.own(kind), **found}
    return section.model_copy(update=moved)


def _there(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that options of a student name and that are there, from the root."""
    named = {name: options[name] for name in PLACES_OF_STUDENTS if isinstance(options.get(name), str)}
    return {name: str(settled(path)) for name, path in named.items() if is_there(path)}
