"""Where data and teachers of a space lie: the same from whatever folder a command is given."""

from collections.abc import Mapping
from typing import Any

from spaces.domains import Domain
from spaces.paths import is_there, settled, user_path
from spaces.schema import Space
from trainables.datasets import PLACES
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
    """Return a space whose data and teacher are named from the root, as its run folder keeps them.

    Data that is not there stays as typed, to be told as the user named it. Of several teachers the names stay, too: they are
    values that a candidate has, and run.json keeps their places.
    """
    settings = settled_data(space.dataset.options)
    paths = {name: settings[name] for name in PATH_OPTIONS if isinstance(settings.get(name), str)}
    there = {name: path for name, path in paths.items() if is_there(path)}
    teacher = space.teacher if isinstance(space.teacher, Domain) else settled_teacher(space.teacher)
    dataset = space.dataset.model_copy(update=there)
    return space.model_copy(update={"teacher": teacher, "dataset": dataset})
