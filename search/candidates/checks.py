"""What is wrong with a space beyond its structure: plug-ins, their options, and objectives that nothing produces."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from search.schedulers import CONFIGS
from search.searchers import SEARCHERS
from spaces.domains import Domain
from spaces.errors import SpaceError
from spaces.objectives import COSTS
from spaces.options import check_options
from spaces.plugins import Table, resolve, unknown
from spaces.schema import Space, check_objectives
from trainables.datasets import DATASETS
from trainables.losses import LOSSES
from trainables.losses.base import Loss
from trainables.models import MODELS
from trainables.teachers.teacher import Teacher

RELATIVE = ("retention", "retention_above_blind")  # to the teacher, over all of its tasks
TASK_METRICS = (
    "mean_recall",
    *(f"{way}_at_{rank}" for way in ("tr", "ir") for rank in (1, 5, 10)),
    "vqa_accuracy",
    "caption_token_accuracy",
)


def check_plugins(space: Space) -> None:
    """Refuse unknown plug-ins, options that they do not take, and objectives that nothing produces.

    Raises:
        SpaceError: all problems at once, each with file and line.
    """
    problems = check_objectives(space, {*RELATIVE, *TASK_METRICS, *COSTS})
    for table, room, name, options, path in _sections(space):
        if name not in table:
            problems.append(f"{space.place(path)}: {unknown(room, name, table)}")
            continue
        found = resolve(table, name, room)
        problems += check_options(getattr(found, "Config", found), options, space.option_place(path))
    if space.student.kind not in MODELS:
        problems.append(f"{space.place('student.kind')}: {unknown('models', space.student.kind, MODELS)}")
    if problems:
        raise SpaceError(problems)


def _sections(space: Space) -> Iterable[tuple[Table, str, str, Mapping[str, Any], str]]:
    """Yield table, room, name, options and path of every plug-in that the space names."""
    dataset, searcher, scheduler = space.dataset, space.search.searcher, space.search.scheduler
    yield DATASETS, "datasets", dataset.kind, dataset.options, "dataset"
    yield SEARCHERS, "searchers", searcher.kind, searcher.options, "search.searcher"
    yield CONFIGS, "schedulers", scheduler.kind, scheduler.options, "search.scheduler"
    for name, loss in space.losses.items():
        yield LOSSES, "losses", name, loss.options, f"losses.{name}"


def loss_configs(space: Space) -> Iterable[tuple[str, type[Loss], Loss.Config]]:
    """Yield name, class and every corner of the options of each loss that can be active at all."""
    for name, section in space.losses.items():
        kind: type[Loss] = resolve(LOSSES, name, "losses")
        axes = {
            option: [v for v in value.corners() if option != "weight" or v != 0]
            if isinstance(value, Domain)
            else [value]
            for option, value in section.options.items()
        }
        if axes["weight"] == [0]:
            continue
        for values in product(*axes.values()):
            yield name, kind, kind.Config(**dict(zip(axes, values, strict=True)))


def check_losses(space: Space, teacher: Teacher) -> None:
    """Refuse losses that this teacher can feed for no student.

    Raises:
        SpaceError: names each of them, with its line and the reason.
    """
    problems: dict[str, str] = {}
    for name, kind, config in loss_configs(space):
        if reason := kind.unfeedable_by_teacher(config, teacher.config):
            problems[name] = f"{space.place(f'losses.{name}')}: {reason} (--set losses.{name}.weight=0)"
    if problems:
        raise SpaceError(list(problems.values()))


def check_measurable(space: Space, teacher: Mapping[str, float]) -> None:
    """Refuse objectives that no student can be ranked by while it trains.

    Args:
        space: the loaded space.
        teacher: its metrics on the validation split; what it lacks, every student lacks.

    Raises:
        SpaceError: names each of them, with its line.
    """
    allowed = ["retention", *sorted(teacher), *COSTS]
    problems = [
        f"{space.place(f'objectives.{name}')}: got {name}, which "
        + (
            "is known only when the blind student is through"
            if name == "retention_above_blind"
            else "this teacher does not have on this data"
        )
        + f"; allowed: {', '.join(allowed)}. Take one of these."
        for name in space.objectives
        if name not in allowed
    ]
    if problems:
        raise SpaceError(problems)
