"""Options of plug-ins from `--set`, and the setups of a command: every searcher with every scheduler."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from search.simulator.simulation import NONE, Setup
from spaces.document import read_document
from spaces.errors import PluginError
from spaces.options import check_options
from spaces.plugins import near, resolve, unknown

ROOMS = ("searcher", "scheduler")

Options = dict[str, dict[str, Any]]  # searcher, scheduler or a plug-in's name -> option -> value


def setups(
    searchers: Sequence[str], schedulers: Sequence[str], settings: Sequence[str], *, base: Setup
) -> list[Setup]:
    """Return a setup for each searcher with each scheduler.

    Args:
        searchers: names of SEARCHERS.
        schedulers: names of SCHEDULERS, or "none".
        settings: texts such as `searcher.population=30`, for all searchers, or `evolution.population=30` for one.
        base: everything else.

    Raises:
        PluginError: an unknown name, or an option that a plug-in does not take.
    """
    for name in searchers:
        if name not in SEARCHERS:
            raise PluginError(f"--searcher: {unknown('searchers', name, SEARCHERS)}")
    for name in schedulers:
        if name not in (*SCHEDULERS, NONE):
            raise PluginError(f"--scheduler: {unknown('schedulers', name, (*SCHEDULERS, NONE))}")
    options = _parse(settings, [*ROOMS, *searchers, *(name for name in schedulers if name != NONE)])
    searching = {name: _options(SEARCHERS, name, "searcher", options) for name in searchers}
    stopping = {name: _options(SCHEDULERS, name, "scheduler", options) for name in schedulers}
    return [
        Setup(
            searcher=searcher,
            searcher_options=searching[searcher],
            scheduler=scheduler,
            scheduler_options=stopping[scheduler],
            rungs=base.rungs,
            workers=base.workers,
            compute=base.compute,
            trials=base.trials,
        )
        for searcher in dict.fromkeys(searchers)
        for scheduler in dict.fromkeys(schedulers)
    ]


def _parse(settings: Sequence[str], rooms: Sequence[str]) -> Options:
    """Return the options that texts set, values read as YAML."""
    found: Options = {}
    for text in settings:
        path, equals, written = text.partition("=")
        room, dot, option = path.strip().partition(".")
        if not equals or not dot or not option:
            raise PluginError(
                f"--set {text}: got {text!r}; allowed: PLUGIN.OPTION=VALUE. Write for example "
                "--set searcher.population=30 or --set scheduler.reduction_factor=2."
            )
        if room not in rooms:
            guess = near(room, rooms)
            hint = f"Did you mean {guess!r}?" if guess else "Use one of these."
            raise PluginError(
                f"--set {text}: got {room!r}; allowed: {', '.join(dict.fromkeys(rooms))}. {hint}"
            )
        if option == "rungs":
            raise PluginError(
                f"--set {text}: rungs have a flag of their own; allowed: epochs or fractions. Use --rungs."
            )
        document = read_document(written, f"--set {text}", flag=True)
        if document.problems:
            raise PluginError("\n".join(str(problem) for problem in document.problems))
        found.setdefault(room, {})[option] = document.value
    return found


def _options(table: Mapping[str, str], name: str, room: str, options: Options) -> dict[str, Any]:
    """Return the options of one plug-in: those of all of its room, then its own."""
    if name == NONE:
        return {}
    given = {**options.get(room, {}), **options.get(name, {})}
    config = resolve(table, name, f"{room}s").Config
    problems = check_options(config, given, lambda option: f"--set {name}.{option}")
    if problems:
        raise PluginError("\n".join(problems))
    return {option: tuple(value) if isinstance(value, list) else value for option, value in given.items()}
