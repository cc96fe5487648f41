"""What is asked for: which students, how much longer, for which tasks; what is wrong with it is told before work begins."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.run_folder import Run, Trial
from analysis.wording import plural
from search.finals.lines import PLAIN, RANDOM
from search.reporting.recipe import MATCHING, RANK, other_workers, own_pairs
from search.results.orders import members
from search.run_folder.facts import read_space
from spaces.errors import PluginError, RunError, StudentSearchError
from spaces.load import Override, parse_setting
from spaces.plugins import resolve
from trainables.configs import made_config, plain
from trainables.datasets import place_option
from trainables.signals import Offers
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.teacher import Teacher

FRONT = "front"
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "retrieval": {"rerank": 32},
    "captioning": {"decode": "beam"},
    "vqa": {"decode": "generate"},
}
"""Tasks as papers measure them, which trials cannot afford; what a run's space says otherwise, and the user, goes before."""
READ_ALIKE = ("text", "max_words")  # options of a data set that say how texts are read, whatever they are
Lack = Callable[[Task], str | None]
MOST_EPOCHS = 10_000
LONGEST = {"losses": 3, "training": 2, "tasks": 3, "evaluation": 2, "teacher_cache": 2}
"""Parts that may be set otherwise, keys of a path in each."""


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
        workers: of each training; None as the run's trials had them.
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
    workers: int | None = None

    def check(self) -> None:
        """Refuse numbers that no training can have.

        Raises:
            RunError: names the flag.
        """
        bounds = {"--epochs": (self.epochs, 1), "--fine-tune": (self.fine_tune, 0)}
        bounds |= {"--seeds": (self.seeds, 1), "--members": (self.members, 1)}
        if self.workers is not None:
            bounds["--workers-per-trial"] = (self.workers, 1)
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
    names = [name.strip() for name in request.pick.split(",")]
    if not all(names):
        raise RunError(
            f"--pick: got {request.pick!r}; allowed: front, best, knee, or ids separated by commas."
        )
    found = {trial.candidate_id: trial for name in names for trial in members(run, name, request.members)}
    return list(found.values())


def final_tasks(
    request: Request, own: Mapping[str, Mapping[str, Any]], lack: Lack
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the tasks as they are measured in the end, name -> options, and sentences on how that is.

    Args:
        request: which of them, and options.
        own: tasks of a candidate of the run, with all of its options.
        lack: why a task in its whole form cannot be measured, or None: then it is measured as in the search.

    Raises:
        RunError: an unknown task or option.
    """
    asked = [(path, value) for path, value in settings_of(request.settings) if path[0] == "tasks"]
    found: dict[str, dict[str, Any]] = {}
    wrong: dict[str, PluginError] = {}
    notes = []
    for name in request.tasks or tuple(own):
        try:
            resolve(TASKS, name, "tasks")
        except PluginError as error:
            raise RunError(f"--tasks: {error}") from error
        wished = {path[2]: value for path, value in asked if path[1] == name}
        found[name] = {**own.get(name, {}), **wished}
        if name not in WHOLE:
            continue
        whole = {**WHOLE[name], **_chosen_options(name, own.get(name, {})), **wished}
        try:
            why = lack(make_tasks({name: whole})[name])
        except PluginError as error:  # its options say already how it is measured, or are wrong
            wrong[name] = error
            continue
        if why is None:
            found[name] = whole
        elif not wished:
            notes.append(f"{name} is measured as in the search, not as papers do: {why}")
    if strange := [".".join(path) for path, _ in asked if path[1] not in found]:
        raise RunError(f"--set {strange[0]}: allowed: tasks.NAME.OPTION with one of {', '.join(found)}.")
    for name, options in found.items():
        try:
            make_tasks({name: options})
        except PluginError as error:  # of the form in which finals measure it, where that is wrong, too
            raise RunError(f"{wrong.get(name, error)}") from error
    told = [
        f"tasks.{name}.{option}={value}"
        for name, options in WHOLE.items()
        for option, value in options.items()
        if name in found and found[name].get(option) == value
    ]
    if told:
        notes.append(f"measured as papers do: {', '.join(told)}; otherwise: --set tasks.NAME.OPTION=VALUE")
    # what is left to a machine is settled on this one, for all that measure: a tokeniser decides which figure counts
    return {
        name: {**options, **make_tasks({name: options})[name].settled()} for name, options in found.items()
    }, notes


def final_size(*, request: Request, own: Mapping[str, Any], split: str) -> tuple[dict[str, int], str]:
    """Return how much of a split is measured, and a sentence on it.

    Args:
        request: with the user's settings.
        own: that of the search.
        split: its name.

    Raises:
        RunError: an unknown option, or a number below 1.
    """
    wished = {path[1]: value for path, value in settings_of(request.settings) if path[0] == "evaluation"}
    try:
        size = made_config(EvaluationSize, {**own, **wished}, "evaluation")
    except PluginError as error:
        raise RunError(f"--set, --recipe: {error}") from error
    told = (
        f"measured on {size.images:,} pictures of the {split} split, or all of fewer, with "
        f"{plural(size.captions_per_image, 'caption')} and {plural(size.questions_per_image, 'question')} of each; "
        "otherwise: --set evaluation.images=N evaluation.captions_per_image=N"
    )
    return plain(size), told


def _chosen_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a candidate's task that are not what every task has where nobody says anything."""
    (bare,) = make_tasks({name: {}}).values()
    defaults = plain(bare.config)
    return {option: value for option, value in options.items() if defaults.get(option, ...) != value}


def settings_of(settings: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of each setting.

    Raises:
        RunError: one of another form, or of a part that is not to be set.
    """
    for text in settings:
        override, problems = parse_setting(text)
        if override is None or problems:
            raise RunError(str(problems[0]))
        check_settable(override)
        yield tuple(override.path.split(".")), override.value


def cache_settings(request: Request) -> list[Override]:
    """Return what the user set of how teachers are cached, as a space takes it."""
    settings = settings_of(request.settings)
    return [
        Override("--set", ".".join(path), value) for path, value in settings if path[0] == "teacher_cache"
    ]


def heard(request: Request, method: str) -> str:
    """Return how a student of a method hears its teacher, where it is not as in the run: of random weights, by other settings."""
    if method == PLAIN:
        return ""
    names: list[str] = []
    if wished := cache_settings(request):
        own, now = (read_space(request.folder, changes).teacher_cache for changes in ((), wished))
        told = {name: getattr(now, name) for name in ("kind", "precision", "top_k")}
        names = [f", {name} {value}" for name, value in told.items() if value != getattr(own, name)]
    return "".join([" at random" if method == RANDOM else "", *names])


def workers_of(request: Request) -> int:
    """Return how many workers each training has: as asked for, else as the run's trials had."""
    if request.workers is not None:
        return request.workers
    try:
        return read_space(request.folder, ()).resources.workers_per_trial
    except StudentSearchError:  # of an earlier version, perhaps; `finalise` says so
        return 1


def worker_notes(request: Request, configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a warning where finals have another number of workers than the search, and what they train hangs on that.

    Args:
        request: what is asked for.
        configs: of a student's trainings, name -> config.
    """
    mined = any(
        (one["losses"].get(MATCHING) or {}).get("weight") and one["training"].get("negatives", RANK) == RANK
        for one in configs.values()
    )
    own = own_pairs([one["student"]["kind"] for one in configs.values()], mined=mined)
    before = workers_of(replace(request, workers=None))
    return other_workers(own, got=workers_of(request), before=before, whose="the candidates of the search")


def check_settable(override: Override) -> None:
    """Refuse to set what a longer training does not take.

    Raises:
        RunError: names place and path.
    """
    path = tuple(override.path.split("."))
    if path == ("training", "epochs"):
        raise RunError(
            f"{override.flag}: how long a training is comes from --epochs and --fine-tune. Give these."
        )
    if len(path) != LONGEST.get(path[0]):
        raise RunError(
            f"{override.flag}: finals do not take {override.path}; allowed: losses.NAME.OPTION, "
            "training.OPTION, tasks.NAME.OPTION, evaluation.OPTION and teacher_cache.OPTION. Write for example "
            "--set losses.itc.weight=0.5."
        )


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


def check_able(trial: Trial, tasks: Mapping[str, Task], offers: Offers) -> None:
    """Refuse a student that cannot do a task at all.

    Raises:
        RunError: names what it lacks.
    """
    lacks = {name: lack for name, task in tasks.items() if (lack := task.model_lack(offers)) is not None}
    if lacks:
        why = "; ".join(f"{name} {lack}" for name, lack in lacks.items())
        raise RunError(
            f"--tasks: the student {trial.candidate_id} cannot do {', '.join(lacks)} ({why}), however long it is trained. "
            "Leave that out, or pick students that can with --pick."
        )


def domain_settings(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `KIND[:PLACE][,OPTION=VALUE...]`.

    Args:
        name: that.
        own: settings of the data that students were trained on: of the same kind, texts are read alike unless said otherwise.

    Raises:
        PluginError: there is no such kind.
        RunError: an option of another form.
    """
    place, *options = re.split(r",(?=[\w.]+=)", name)
    kind, _, place = place.partition(":")
    option = place_option(kind)
    settings: dict[str, Any] = {"kind": kind, **({option: place} if place else {})}
    for text in options:
        override, problems = parse_setting(text)
        if override is None or problems:
            raise RunError(str(problems[0]))
        if override.path in settings:
            raise RunError(f"{override.path} stands twice; allowed: each option once. Leave one out.")
        settings[override.path] = override.value
    alike = {one: own[one] for one in READ_ALIKE if one in own} if own.get("kind") == kind else {}
    return {**alike, **settings}
