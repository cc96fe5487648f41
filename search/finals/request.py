"""What is asked for: which students, how much longer, for which tasks; what is wrong with it is told before work begins."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.pareto import pick
from analysis.run_folder import Run, Trial
from search.results.orders import members
from spaces.errors import PluginError, RunError
from spaces.load import parse_setting
from spaces.plugins import resolve
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.teacher import Teacher

FRONT = "front"
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "retrieval": {"rerank": 32},
    "captioning": {"decode": "beam"},
    "vqa": {"decode": "generate"},
}
"""Tasks as papers measure them, which trials cannot afford; options of the run's own space, and of the user, go before."""
MOST_EPOCHS = 10_000
SETTABLE = ("losses", "training", "tasks")  # parts of a candidate that may be set otherwise
LONGEST = {"losses": 3, "training": 2, "tasks": 3}  # keys of a path in each part


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        folder: of the run.
        pick: `front`, or ids of candidates, separated by commas.
        epochs: of the longer training; those of the search come before.
        fine_tune: epochs for each task after that; 0 for none.
        tasks: names; () for those of the run.
        seeds: trainings of each student and each control.
        members: at most so many of the front.
        settings: `losses.NAME.weight=...` and the like.
        controls: which controls are trained.
        domains: other data, `KIND` or `KIND:FILE`, on which all are measured without training.
        compress: measure int8 and pruned forms, too.
    """

    folder: Path
    pick: str = FRONT
    epochs: int
    fine_tune: int = 0
    tasks: tuple[str, ...] = ()
    seeds: int = 3
    members: int = 3
    settings: tuple[str, ...] = ()
    controls: tuple[str, ...] = ("plain", "random")
    domains: tuple[str, ...] = ()
    compress: bool = False

    def check(self) -> None:
        """Refuse numbers that no training can have.

        Raises:
            RunError: names the flag.
        """
        bounds = {"--epochs": (self.epochs, 1), "--fine-tune": (self.fine_tune, 0)}
        bounds |= {"--seeds": (self.seeds, 1), "--members": (self.members, 1)}
        for flag, (value, low) in bounds.items():
            if not low <= value <= MOST_EPOCHS:
                raise RunError(f"{flag}: got {value}; allowed: {low} to {MOST_EPOCHS:,}. Give such a number.")
        if unknown := [one for one in self.controls if one not in ("plain", "random")]:
            raise RunError(
                f"--controls: got {', '.join(unknown)}; allowed: plain, random, or none. Name some of these."
            )


def chosen(run: Run, request: Request) -> list[Trial]:
    """Return the students that are asked for.

    Raises:
        RunError: none is finished, or an id is unknown, not finished, or named twice.
    """
    if request.pick == FRONT:
        return members(run, FRONT, request.members)
    names = [name.strip() for name in request.pick.split(",")]
    if not all(names):
        raise RunError(
            f"--pick: got {request.pick!r}; allowed: front, best, knee, or ids separated by commas."
        )
    found = {trial.candidate_id: trial for trial in (pick(run, name) for name in names)}
    return list(found.values())


def final_tasks(request: Request, own: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the tasks as they are measured in the end, name -> options.

    Args:
        request: which of them, and options.
        own: tasks of a candidate of the run, with its options.

    Raises:
        RunError: an unknown task or option.
    """
    names = request.tasks or tuple(own)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            resolve(TASKS, name, "tasks")
        except PluginError as error:
            raise RunError(f"--tasks: {error}") from error
        found[name] = {**WHOLE.get(name, {}), **own.get(name, {})}
    for path, value in settings_of(request.settings):
        part, name, *rest = path
        if part == "tasks":
            if name not in found or len(rest) != 1:
                raise RunError(
                    f"--set {'.'.join(path)}: allowed: tasks.NAME.OPTION with one of {', '.join(found)}."
                )
            found[name][rest[0]] = value
    try:
        make_tasks(found)
    except PluginError as error:
        raise RunError(f"{error}") from error
    return found


def settings_of(settings: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of each setting.

    Raises:
        RunError: one of another form, or of a part that is not to be set.
    """
    for text in settings:
        override, problems = parse_setting(text)
        if override is None or problems:
            raise RunError(str(problems[0]))
        path = tuple(override.path.split("."))
        if path[0] not in SETTABLE or len(path) != LONGEST[path[0]]:
            raise RunError(
                f"--set {text}: allowed: losses.NAME.OPTION=VALUE, training.OPTION=VALUE and tasks.NAME.OPTION=VALUE. "
                "Write for example --set losses.itc.weight=0.5."
            )
        yield path, override.value


def check_tasks(tasks: Mapping[str, Task], teacher: Teacher, fields: Collection[str]) -> None:
    """Refuse tasks that teacher, data or machine cannot do: nothing of them could be kept, or told.

    Args:
        tasks: that are asked for.
        teacher: of the run.
        fields: of the data.

    Raises:
        RunError: names each, and why.
    """
    lacks = {}
    for name, task in tasks.items():
        of_teacher = task.model_lack(teacher.offers)
        lack = f"the teacher {teacher.files.name} {of_teacher}" if of_teacher else None
        lack = lack or task.data_lack(fields) or task.machine_lack()
        if lack:
            lacks[name] = lack
    if lacks:
        able = ", ".join(name for name in tasks if name not in lacks) or "none of those asked for"
        why = "; ".join(f"{name} {lack}" for name, lack in lacks.items())
        raise RunError(
            f"--tasks {','.join(lacks)}: cannot be measured ({why}); allowed: {able}. Leave the others out."
        )
