"""What is wrong with a space beyond its structure, without a look at teacher and data: plug-ins and their options."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search.inputs.plugins import fidelity_problem
from search.schedulers import SCHEDULERS, config_class
from search.searchers import SEARCHERS
from spaces.document import Problem, in_order
from spaces.domains import Domain
from spaces.errors import PluginError, SpaceError
from spaces.objectives import COSTS
from spaces.options import option_problems
from spaces.plugins import listed, meant, resolve_config, unknown
from spaces.schema import Space
from trainables.datasets import DATASETS
from trainables.families import FAMILIES
from trainables.losses import LOSSES
from trainables.tasks import DEFAULT, TASKS
from trainables.tasks.evaluation import make_tasks
from trainables.tasks.retention import ABOVE_BLIND, ACCURACY, RETENTION
from trainables.training.config import smallest_batch


def check_plugins(space: Space) -> None:
    """Refuse unknown plug-ins, options that they do not take, and objectives that nothing produces.

    Raises:
        SpaceError: all problems at once, each with file and line.
    """
    if problems := plugin_problems(space):
        raise SpaceError(in_order(map(str, problems), space.source))


def plugin_problems(space: Space) -> list[Problem]:
    """Return what is wrong with the plug-ins of a space; what stands in for a wrong value is left alone."""
    found = [*_plugins(space), *_students(space)]
    broken = {problem.field for problem in found}
    if not any(path.startswith("tasks") for path in broken) and not space.is_doubtful("tasks", inside=True):
        found += _objectives(space)
    if not any(path.startswith("search.scheduler") for path in broken):
        found += fidelity_problem(space)
    if not any(map(space.is_doubtful, ("training.batch_size", "training.pairs_per_epoch", "resources"))):
        found += _small_batches(space)
    return [one for one in found if not space.is_doubtful(one.field.partition(" ")[0])]


def _small_batches(space: Space) -> Iterator[Problem]:
    """Yield a problem where some candidates' batches are too small for the workers of a trial: each of these would crash."""
    workers = space.resources.workers_per_trial
    sizes, pairs = (
        [int(end) for end in one.bounds()] if isinstance(one, Domain) else [one]
        for one in (space.training.batch_size, space.training.pairs_per_epoch)
    )
    least = min((smallest_batch(whole, size), size) for size in sizes for whole in pairs)
    if least[0] < 2 * workers:
        path = "training.batch_size"
        text = (
            f"got {least[1]}, of which batches of {least[0]} come for the {workers} workers of a trial; allowed: {2 * workers} "
            "or more, two pairs for each. Raise it, or lower resources.workers_per_trial (--workers-per-trial)."
        )
        yield Problem(space.mark(path), path, text)


def _plugins(space: Space) -> Iterator[Problem]:
    """Yield what is wrong with all plug-ins but the student's kinds."""
    for table, room, name, options, path in _sections(space):
        if space.is_doubtful(path):
            continue
        try:
            if name not in table:
                yield Problem(space.mark(path), path, unknown(room, name, table))
                continue
            config = config_class(name) if room == "schedulers" else resolve_config(table, name, room)
        except PluginError as error:  # an installed package that is broken
            yield Problem(space.mark(path), path, str(error))
            continue
        for option, text in option_problems(config, options):
            place = f"{path}.{option}" if option else path
            yield Problem(space.mark(place), place, text)


def _students(space: Space) -> Iterator[Problem]:
    """Yield what is wrong with the student: unknown kinds, options that they do not take, or of a kind that none is of."""
    if space.is_doubtful("student"):
        return
    configs: dict[str, Any] = {}
    for kind in space.kinds:
        try:
            configs[kind] = resolve_config(FAMILIES, kind, "families")
        except PluginError as error:
            yield Problem(space.mark("student.kind"), "student.kind", str(error))
    own = {*space.kinds, *(option for config in configs.values() for option in config.__dataclass_fields__)}
    stray = {name for name in space.student.options if name in FAMILIES and name not in own}
    for name in sorted(stray):
        text = (
            f"got options of the kind {name!r}, which no student here is of; allowed: {', '.join(space.kinds)}. "
            f"Delete them, or add {name!r} to student.kind."
        )
        yield Problem(space.mark(f"student.{name}"), f"student.{name}", text)
    for kind, config in configs.items():
        options = {name: value for name, value in space.kind_options(kind).items() if name not in stray}
        for option, text in option_problems(config, options):
            path = space.option_path(kind, option)
            shared = len(space.kinds) > 1 and not path.startswith(f"student.{kind}.")
            yield Problem(space.mark(path), f"{path} of the kind {kind}" if shared else path, text)


def _sections(space: Space) -> Iterable[tuple[Mapping[str, str], str, str, Mapping[str, Any], str]]:
    """Yield table, room, name, options and path of every plug-in that the space names, the student's kinds aside."""
    dataset, searcher, scheduler = space.dataset, space.search.searcher, space.search.scheduler
    yield DATASETS, "datasets", dataset.kind, dataset.options, "dataset"
    yield SEARCHERS, "searchers", searcher.kind, searcher.options, "search.searcher"
    yield SCHEDULERS, "schedulers", scheduler.kind, scheduler.options, "search.scheduler"
    for name, student in space.baselines.items():
        yield FAMILIES, "families", student.kind, student.options, f"baselines.{name}"
    for name, options in (space.tasks or {}).items():
        yield TASKS, "tasks", name, options, f"tasks.{name}"
    for name, loss in space.losses.items():
        yield LOSSES, "losses", name, loss.options, f"losses.{name}"


def _objectives(space: Space) -> Iterator[Problem]:
    """Yield a problem for each objective that nothing produces, or whose direction is the wrong one."""
    tasks = space.tasks if space.tasks is not None else {name: {} for name in DEFAULT}
    metrics = {name for task in make_tasks(tasks).values() for name in task.metrics}
    names = sorted({RETENTION, ABOVE_BLIND, ACCURACY, *metrics, *COSTS})
    for name in [name for name in space.objectives if name not in names]:
        text = f"got {name!r}, which nothing produces; allowed: {listed(names)}. {meant(name, names, 'Use one of these.')}"
        yield Problem(space.mark(f"objectives.{name}"), f"objectives.{name}", text)
    for name, way in space.objectives.items():
        right = "min" if name in COSTS else "max" if name in (RETENTION, ABOVE_BLIND, ACCURACY) else way
        if way != right:
            bound = f" A bound from below is limits.{name}.min." if name in COSTS else ""
            better = "less" if right == "min" else "more"
            text = f"got {way}; allowed: {right}, since {better} of it is better.{bound} Write {right}."
            yield Problem(space.mark(f"objectives.{name}"), f"objectives.{name}", text)
