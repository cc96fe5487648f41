"""What a student is trained on in the end: its own losses, what its tasks ask for beside them, and those of one task alone."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search.reporting.recipe import warmup_lines
from search.results.orders import plain_losses
from spaces.errors import PluginError, RunError
from spaces.plugins import resolve
from trainables.configs import made_config, plain
from trainables.losses import LOSSES
from trainables.losses.base import ADVICE, Ends, Needs, data_lack, reading_lack, source_lack, student_lack
from trainables.signals import Offers, modes
from trainables.tasks.base import Task
from trainables.training.build import loss_config
from trainables.training.config import TrainingConfig

Config = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Around:
    """Between whom and on what a student is trained.

    Attributes:
        student, teacher: what both can say.
        fields: of the data.
        tasks: what the student is to do in the end.
    """

    student: Offers
    teacher: Offers
    fields: frozenset[str]
    tasks: Mapping[str, Task]


def changed(config: Mapping[str, Any], settings: Iterable[tuple[tuple[str, ...], Any]]) -> Config:
    """Return a candidate's config with the user's settings.

    Raises:
        RunError: a loss or option that there is not, or a value that it does not take.
    """
    made: Config = copy.deepcopy(dict(config))
    for path, value in settings:
        if path[0] == "losses":
            made["losses"].setdefault(path[1], {"weight": 0.0})[path[2]] = value
        elif path[0] == "training":
            made["training"][path[1]] = value
    try:
        made["losses"] = {name: plain(loss_config(name, one)) for name, one in made["losses"].items()}
        made_config(TrainingConfig, made["training"], "training")
    except PluginError as error:
        raise RunError(f"--set, --recipe: {error}") from error
    return made


def fed(config: Mapping[str, Any], around: Around) -> tuple[Config, list[str]]:
    """Return a config without the losses that teacher or data cannot feed, and a sentence on each: as in a search, whose losses a
    recipe may bring back.

    Raises:
        RunError: none is left.
    """
    kept, told = {}, []
    for name, options in config["losses"].items():
        needs = _needs(name, options, around)
        offers = {**around.student, **around.teacher}
        lack = source_lack(needs, _ends(name, around)) or reading_lack(needs, offers, around.fields)
        if lack and options.get("weight"):
            told.append(f"loss {name} is left out: it {lack.removesuffix(ADVICE).rstrip(' .')}")
        else:
            kept[name] = options
    if told and not any(options.get("weight") for options in kept.values()):
        raise RunError(f"--set, --recipe: no loss is left to train by. {'; '.join(told)}. Give others.")
    return {**config, "losses": kept}, told


def with_task_losses(config: Mapping[str, Any], around: Around) -> tuple[Config, list[str]]:
    """Return a config whose losses train all that the tasks measure, and the names of those that came to it.

    A candidate may have been searched with retrieval by similarity, so that nothing has trained its matching; a loss of a task
    comes with weight 1 where no active loss looks at anything that it looks at.
    """
    made: Config = copy.deepcopy(dict(config))
    looked_at = frozenset().union(*(needs.student for needs in _active(made["losses"], around).values()))
    added = []
    for name in dict.fromkeys(loss for task in around.tasks.values() for loss in task.losses):
        bare = plain(loss_config(name, {"weight": 1.0}))
        needs = _needs(name, bare, around)
        able = student_lack(needs, _ends(name, around)) is None and data_lack(needs, around.fields) is None
        if able and not needs.student & looked_at:
            made["losses"][name] = bare
            added.append(name)
    return made, added


def with_true_losses(config: Mapping[str, Any], around: Around) -> tuple[Config, list[str]]:
    """Return a config for a teacher of random weights, and the names of the losses that came to it.

    What a task is measured by may be learnt of the teacher alone. Of a random one that would be noise, which says nothing about
    what any regulariser gives: the control then has the losses of `undistilled` beside those of its teacher.
    """
    losses = config["losses"]
    true = plain_losses(losses, around.tasks.values(), around.student)
    added = {name: one for name, one in true.items() if not losses.get(name, {}).get("weight")}
    return {**config, "losses": {**losses, **added}}, list(added)


def for_task(config: Mapping[str, Any], task: Task, around: Around) -> Config | None:
    """Return a config with the losses that look at nothing but what a task runs; None where none is left.

    Args:
        config: with all losses.
        task: the only one to be trained for.
        around: see `Around`.
    """
    run = {one.mode for one in task.serving(around.student)} | modes(task.wants)
    kept = {}
    for name, needs in _active(config["losses"], around).items():
        about = modes(want for want in needs.student if around.student[want].rows)
        if about <= run:
            kept[name] = config["losses"][name]
    return {**config, "losses": kept} if kept else None


def undistilled(config: Mapping[str, Any], around: Around) -> Config:
    """Return a config without anything of the teacher in its losses, see `orders.plain_losses`.

    Raises:
        RunError: nothing teaches the tasks without a teacher.
    """
    losses = plain_losses(config["losses"], around.tasks.values(), around.student)
    if not losses:
        raise RunError(
            f"no loss teaches {', '.join(around.tasks)} without a teacher, so that there is no control without distillation. "
            "Leave it out: --controls random"
        )
    return {**config, "losses": losses, "training": {**config["training"], "itm_negatives": "student"}}


def lasting(config: Mapping[str, Any], epochs: int) -> Config:
    """Return a config that trains so many epochs; its schedule spans them."""
    return {**config, "training": {**config["training"], "epochs": epochs}}


def long_warmups(configs: Mapping[str, Config]) -> Iterator[str]:
    """Yield a warning for each training of which the warm-up lasts for half or more.

    Args:
        configs: name of a training -> its config.
    """
    for name, config in configs.items():
        training = config["training"]
        yield from warmup_lines(
            training["warmup_steps"],
            pairs=training["pairs_per_epoch"],
            batch=training["batch_size"] * training["accumulate"],
            epochs=training["epochs"],
            of=f"the training {name!r}",
        )


def _active(losses: Mapping[str, Mapping[str, Any]], around: Around) -> dict[str, Needs]:
    """Return the losses that are not switched off and that this student and its teacher can feed, with what they read."""
    found = {}
    for name, options in losses.items():
        if options.get("weight"):
            needs = _needs(name, options, around)
            if student_lack(needs, _ends(name, around)) is None:
                found[name] = needs
    return found


def _needs(name: str, options: Mapping[str, Any], around: Around) -> Needs:
    found: Needs = resolve(LOSSES, name, "losses").needs_of(loss_config(name, options), _ends(name, around))
    return found


def _ends(name: str, around: Around) -> Ends:
    return Ends(name=name, student=around.student, source=around.teacher)
