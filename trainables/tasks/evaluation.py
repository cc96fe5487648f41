"""All metrics of one model on one split."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from torch import nn

from spaces.plugins import resolve
from trainables.configs import made_config
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Family
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.tasks.chance import Chance
from trainables.tasks.pool import EvaluationSize, Pool, PoolRows, Showing


def make_tasks(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Task]:
    """Return the tasks that settings name, name -> options.

    Raises:
        PluginError: an unknown task or option.
    """
    made: dict[str, Task] = {}
    for name, options in settings.items():
        kind: type[Task] = resolve(TASKS, name, "tasks")
        made[name] = kind(made_config(kind.Config, options, f"tasks.{name}"))
    return made


def evaluate(
    model: Family,
    split: EncodedSplit,
    *,
    tasks: Iterable[Task],
    **showing: Unpack[Showing],
) -> dict[str, float]:
    """Return the metrics of all tasks that this model can do, in percent, deterministic.

    Args:
        model: teacher or student; put in eval mode meanwhile.
        split: a held-out split.
        tasks: what is measured; one that the model or the data cannot do gives nothing.
        showing: how much of the split, and what else a task may read, see `Showing`.

    Raises:
        ValueError: a task compares with training pictures, and no `bank` is given.
    """
    training = model.training
    model.eval()
    try:
        pool = Pool(model, split, model.device, **showing)
        offers = model.offers(model.architecture)
        found: dict[str, float] = {}
        for task in tasks:
            if task.model_lack(offers) is None and task.data_lack(split.fields) is None:
                found |= task.evaluate(pool)
        return found
    finally:
        nn.Module.train(model, training)


def reads_bank(tasks: Iterable[Task]) -> bool:
    """Return whether some of the tasks compare with training pictures, so that `evaluate` needs the train split."""
    return any(task.banked for task in tasks)


def chances(split: EncodedSplit, *, tasks: Iterable[Task], size: EvaluationSize) -> dict[str, Chance]:
    """Return what guessing scores, by the metric that counts; without tasks that know no such level, or that the data lacks.

    Args:
        split: a held-out split.
        tasks: what is measured.
        size: how much of the split.
    """
    rows = PoolRows(split, size)
    found = {task.counts: task.chance(rows) for task in tasks if task.data_lack(split.fields) is None}
    return {name: level for name, level in found.items() if level is not None}
