"""Teachers of a plan: of one whose weights are not on this machine its sizes, from its config. Nothing large is downloaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spaces.errors import TeacherError
from spaces.paths import user_path
from spaces.plugins import resolve
from trainables.model_folder import is_model_folder
from trainables.teachers import OTHER_FORMS, OUTLINES, PUBLISHED, TEACHERS
from trainables.teachers.hub import CONFIG, cached_file, cached_snapshot, small_file
from trainables.teachers.json_file import read_object
from trainables.teachers.kept import open_teacher
from trainables.teachers.loading import ORIGINAL_ENDINGS, SEVERAL
from trainables.teachers.naming import TeacherName
from trainables.teachers.teacher import Teacher
from trainables.teachers.weights import PLACES

NO_WEIGHTS = "none: its weights are not here"
PLANNED = {"planned": True}  # is measured of a teacher of sizes alone, whatever its name tells beside


def open_for_plan(name: str) -> Teacher:
    """Return a teacher as `open_teacher` does; where its weights are not here, one that knows its sizes and says nothing.

    Its config is looked for in its folder, in the hub's cache, among those of published teachers that this program knows, and on
    the hub, in this order.

    Raises:
        TeacherError, PluginError: as `open_teacher`; or its config is nowhere.
    """
    told = TeacherName.parsed(name)
    if all(map(weights_are_here, told.names)):
        return open_teacher(name)
    if told.parts:
        parts = {task: open_for_plan(place) for task, place in told.parts.items()}
        several: Callable[[TeacherName, Mapping[str, Teacher]], Teacher] = resolve(
            OUTLINES, SEVERAL, "teachers"
        )
        teacher = several(told, parts)
    else:
        where, settings = _config(told.whole)
        kind = settings.get("model_type")
        if kind not in OUTLINES or kind in OTHER_FORMS:
            return open_teacher(name)  # only its loader knows what its config means, or tells what is wrong
        one: Callable[[TeacherName, Path, Mapping[str, Any]], Teacher] = resolve(
            OUTLINES, str(kind), "teachers"
        )
        teacher = one(told, where, settings)
    if told.temperature is not None:
        teacher.tell_temperature(told.temperature, origin="as its name says")
    return teacher


def is_outline(teacher: Teacher) -> bool:
    """Return whether a teacher has sizes alone."""
    return teacher.files.measured == PLANNED


def weights_are_here(name: str) -> bool:
    """Return whether one checkpoint can be opened without the network; what is no name of one is for its reader to tell."""
    folder = user_path(name)
    if name in TEACHERS or folder.is_file():
        return True
    if folder.is_dir():
        known = any((folder / place).is_file() for place in PLACES) or is_model_folder(folder)
        original = any(path.suffix in ORIGINAL_ENDINGS for path in folder.iterdir())
        return known or original or not (folder / CONFIG).is_file()
    return name.count("/") != 1 or cached_snapshot(name) is not None


def _config(name: str) -> tuple[Path, Mapping[str, Any]]:
    """Return the config of a checkpoint, and what it is called in messages.

    Raises:
        TeacherError: it is nowhere, or damaged.
    """
    path = user_path(name) / CONFIG
    found = path if path.is_file() else cached_file(name, CONFIG)
    if found is not None:
        return found, read_object(found)
    if name in PUBLISHED:
        return Path(name) / CONFIG, resolve(PUBLISHED, name, "teachers")()
    try:
        fetched = small_file(name, CONFIG)
    except TeacherError as error:
        raise TeacherError(
            f"{error} A plan (--dry-run) needs its {CONFIG} alone: hf download {name} {CONFIG} --local-dir DIR, then "
            f"--teacher DIR; without any file it knows {', '.join(PUBLISHED)}."
        ) from error
    return fetched, read_object(fetched)
