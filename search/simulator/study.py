"""One call of the command: load a table, simulate every searcher with every scheduler, print and draw."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO, final

from analysis import wording
from search.inputs.plugins import tuples
from search.reporting.status_line import StatusLine
from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from search.simulator.comparison import Comparison, head_lines, result_lines, result_page, to_json
from search.simulator.goals import Goals, parse_goals
from search.simulator.measures import Volume, simulate_seeds
from search.simulator.rungs import Rungs
from search.simulator.simulation import NONE, Setup, check_setup
from search.simulator.sources import load_table
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection
from spaces.document import read_document
from spaces.errors import PluginError, ResourceError, TableError
from spaces.files import make_folder, write_text
from spaces.options import check_options
from spaces.plugins import near, resolve, unknown

RUNS = Path("runs")
PAGE = "simulation"
FORESEEN = 0.01  # of all; from less nothing is foretold
SILENT_S = 2.0  # what is over sooner needs no line


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a command line asks for.

    Attributes:
        table: a run folder, an Arrow or CSV file, or `nasbench201:` with a data set.
        objectives: texts such as `min:val_loss`; () for those of the table.
        selection: which columns are searched.
        searchers: their names.
        schedulers: their names, or `none`; None for moasha, or none for a table of final values.
        rungs: texts such as `1` or `1/3`; () for those of the table.
        settings: texts such as `searcher.population=30`, for all searchers, or `evolution.population=30` for one.
        seeds: of the searches of each kind.
        setup: workers, compute and trials.
        json: where the result goes as JSON, None for nowhere.
        html: where it is drawn, None for a new file in runs/.
    """

    table: str
    objectives: Sequence[str]
    selection: Selection
    searchers: Sequence[str]
    schedulers: Sequence[str] | None
    rungs: Sequence[str]
    settings: Sequence[str]
    seeds: range
    setup: Setup
    json: Path | None
    html: Path | None


def run_study(study: Study, out: TextIO, progress: TextIO) -> Comparison:
    """Do what a command line asks for, and return the results.

    Args:
        study: what is asked.
        out: gets the result.
        progress: gets a line on how far it is.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    _check_targets(study.json, study.html)
    if not study.seeds:
        raise TableError(f"--seeds: got {len(study.seeds)}; allowed: 1 or more. Give a positive number.")
    asked = parse_goals(study.objectives) if study.objectives else ()
    table = load_table(study.table, asked, selection=study.selection)
    goals = asked or table.goals
    made = _setups(study, table, goals)
    comparison = Comparison(table=table, goals=goals, volume=Volume(table, goals), rungs=made[0].rungs)
    for line in head_lines(comparison, made[0], len(study.seeds)):
        print(line, file=out, flush=True)
    ticker = _Ticker(progress, searches=len(made) * len(study.seeds))
    for setup in made:
        ticker.name, done = setup.name, len(comparison.engines) * len(study.seeds)
        engine = simulate_seeds(
            comparison.volume, setup=setup, seeds=study.seeds, told=partial(ticker.tell, done)
        )
        comparison.engines.append(engine)
    ticker.close()
    print("", *result_lines(comparison), sep="\n", file=out)
    if study.json is not None:
        write_text(study.json, json.dumps(to_json(comparison), indent=1, allow_nan=False) + "\n")
        print(f"numbers: {study.json}", file=out)
    target = study.html or _new_page()
    write_text(target, result_page(comparison))
    print(f"figure: {target}", file=out)
    return comparison


def _setups(study: Study, table: CurveTable, goals: Goals) -> list[Setup]:
    """Return the setups of a study, all of them checked."""
    schedulers = study.schedulers or [NONE if table.final_only else "moasha"]
    rungs, stopping = None, any(name != NONE for name in schedulers)
    if study.rungs and not stopping:
        raise TableError(
            f"--rungs: got {' '.join(study.rungs)}, but --scheduler none stops nobody; allowed: with a scheduler that "
            f"does ({', '.join(SCHEDULERS)}). Drop --rungs, or name one."
        )
    if stopping and not table.final_only:
        rungs = Rungs.parse(study.rungs) if study.rungs else Rungs.of(table, goals)
        rungs.all_stations(table, goals)
    made = setups(study.searchers, schedulers, study.settings, base=replace(study.setup, rungs=rungs))
    for setup in made:
        check_setup(table, setup)
    return made


def setups(
    searchers: Sequence[str], schedulers: Sequence[str], settings: Sequence[str], *, base: Setup
) -> list[Setup]:
    """Return a setup for each searcher with each scheduler.

    Args:
        searchers: names of SEARCHERS.
        schedulers: names of SCHEDULERS, or "none".
        settings: see `Study`.
        base: everything else.

    Raises:
        PluginError: an unknown name, or an option that a plug-in does not take.
    """
    for flag, names, known in (
        ("searcher", searchers, tuple(SEARCHERS)),
        ("scheduler", schedulers, (*SCHEDULERS, NONE)),
    ):
        for name in names:
            if name not in known:
                raise PluginError(f"--{flag}: {unknown(f'{flag}s', name, known)}")
    stopping = [name for name in schedulers if name != NONE]
    # a setting for schedulers where there is none would be read by nobody
    given = _parse(settings, ["searcher", *(["scheduler"] if stopping else []), *searchers, *stopping])
    configs = {name: resolve(SEARCHERS, name, "searchers").Config for name in searchers}
    by_searcher = {name: _options(given, "searcher", name, config) for name, config in configs.items()}
    by_scheduler = {
        name: _options(given, "scheduler", name, resolve(SCHEDULERS, name, "schedulers").Config)
        for name in stopping
    }
    return [
        replace(
            base,
            searcher=searcher,
            searcher_options=by_searcher[searcher],
            scheduler=scheduler,
            scheduler_options=by_scheduler.get(scheduler, {}),
        )
        for searcher in dict.fromkeys(searchers)
        for scheduler in dict.fromkeys(schedulers)
    ]


def _parse(settings: Sequence[str], rooms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return room or plug-in -> option -> value of texts; `search.searcher.x` is `searcher.x`, as in a space."""
    found: dict[str, dict[str, Any]] = {}
    for text in settings:
        path, equals, written = text.partition("=")
        room, _, option = path.strip().removeprefix("search.").partition(".")
        if not equals or not option:
            raise PluginError(
                f"--set {text}: got {text!r}; allowed: PLUGIN.OPTION=VALUE. Write for example "
                "--set searcher.population=30 or --set scheduler.reduction_factor=2."
            )
        if room not in rooms:
            guess = near(room, rooms)
            hint = f"Did you mean {guess!r}?" if guess else "Use one of these."
            if room == "scheduler":
                hint = "--scheduler none takes no settings: drop this one, or name a scheduler."
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


def _options(given: Mapping[str, Mapping[str, Any]], room: str, name: str, config: type) -> dict[str, Any]:
    """Return the options of one plug-in: those of all of its room, then its own."""
    options = {**given.get(room, {}), **given.get(name, {})}
    problems = check_options(config, options, lambda option: f"--set {name}.{option}")
    if problems:
        raise PluginError("\n".join(problems))
    return tuples(options)


@final
class _Ticker:
    """Tells how far the simulations are, with the time that is left.

    Attributes:
        name: of what runs.
    """

    def __init__(self, stream: TextIO, *, searches: int) -> None:
        self._line, self._searches = StatusLine(stream), searches
        self.name = ""

    def tell(self, before: int, place: int, share: float) -> None:
        """Print the line if it is due: `before` + `place` simulations are through, and a share of the one that runs."""
        done = before + place
        elapsed = self._line.elapsed_s
        if elapsed < SILENT_S or not self._line.due:
            return
        part = (done + share) / self._searches
        left = f", about {wording.duration(elapsed * (1 - part) / part)} left" if part > FORESEEN else ""
        head = f"simulation {done + 1} of {self._searches} ({self.name}): {share:.0%}"
        self._line.show(f"{head} | {wording.duration(elapsed)}{left}")

    def close(self) -> None:
        """Take the line away, so that what follows begins on a clean one."""
        self._line.close(keep=False)


def _check_targets(json: Path | None, html: Path | None) -> None:
    """Raise ResourceError for a file that could not be written, or would be twice, when the simulations are through."""
    if json is not None and html is not None and json.resolve() == html.resolve():
        raise ResourceError(
            f"--json {json}, --html {html}: got the same file twice; allowed: two files. Name another one."
        )
    for target in (json, html):
        if target is not None and (target.is_dir() or not target.parent.is_dir()):
            what = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
            raise ResourceError(
                f"{target}: {what}; allowed: a file in a folder that exists. Name another one."
            )


def _new_page() -> Path:
    """Return a page that is not there yet: runs/simulation.html, runs/simulation-2.html, ...

    Raises:
        StorageError: the folder cannot be made.
    """
    make_folder(RUNS)
    names = (f"{PAGE}.html" if number == 1 else f"{PAGE}-{number}.html" for number in itertools.count(1))
    return next(RUNS / name for name in names if not (RUNS / name).exists())
