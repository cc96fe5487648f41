"""One call of the command: load, simulate every engine under every seed, print and draw."""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from search.simulator.comparison import Comparison, head_lines, result_lines, write_json, write_text
from search.simulator.engines import engine_name, simulate_seeds
from search.simulator.goals import Goals, parse_goals
from search.simulator.page import result_page
from search.simulator.rungs import Rungs
from search.simulator.settings import setups
from search.simulator.simulation import NONE, Setup, check_setup
from search.simulator.sources import load_table
from search.simulator.table import CurveTable
from search.simulator.ticker import Ticker
from search.simulator.user_table import Selection
from search.simulator.volume import Volume
from spaces.errors import ResourceError, TableError

RUNS = Path("runs")
PAGE = "simulation"


def run(options: argparse.Namespace, out: TextIO, progress: TextIO) -> Comparison:
    """Do what a command line asks for, and return the results.

    Args:
        options: as `search/simulate.py` reads them.
        out: gets the result.
        progress: gets a line on how far it is.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    _check_targets([options.json, options.html])
    if options.seeds < 1:
        raise TableError(f"--seeds: got {options.seeds}; allowed: 1 or more. Give a positive number.")
    asked = parse_goals(options.objectives) if options.objectives else ()
    selection = Selection(fields=options.fields, ignore=tuple(options.ignore))
    table = load_table(options.table, asked, selection=selection)
    goals = asked or table.goals
    made = _setups(options, table, goals)
    comparison = Comparison(table=table, goals=goals, volume=Volume(table, goals), rungs=made[0].rungs)
    for line in head_lines(comparison, made[0], options.seeds):
        print(line, file=out, flush=True)
    _simulate(comparison, made, seeds=options.seeds, progress=progress)
    print(file=out)
    for line in result_lines(comparison):
        print(line, file=out)
    if options.json is not None:
        write_json(comparison, options.json)
        print(f"numbers: {options.json}", file=out)
    target = options.html or _new_page()
    write_text(target, result_page(comparison))
    print(f"figure: {target}", file=out)
    return comparison


def _setups(options: argparse.Namespace, table: CurveTable, goals: Goals) -> list[Setup]:
    """Return the setups of a command line, all of them checked."""
    schedulers: Sequence[str] = options.scheduler or [NONE if table.final_only else "moasha"]
    rungs = None
    if any(name != NONE for name in schedulers) and not table.final_only:
        rungs = Rungs.parse(options.rungs) if options.rungs else Rungs.of(table, goals)
        rungs.all_stations(table, goals)
    base = Setup(rungs=rungs, workers=options.workers, compute=options.compute, trials=options.trials)
    made = setups(options.searcher, schedulers, options.set, base=base)
    for setup in made:
        check_setup(table, setup)
    return made


def _simulate(comparison: Comparison, made: Sequence[Setup], *, seeds: int, progress: TextIO) -> None:
    """Simulate all setups under all seeds and add what they reached."""
    ticker = Ticker(progress, searches=len(made) * seeds)
    for place, setup in enumerate(made):
        name = engine_name(setup)

        def told(seed: int, share: float, *, before: int = place * seeds, name: str = name) -> None:
            ticker.tell(before + seed, name, share)

        engine = simulate_seeds(
            comparison.table,
            comparison.goals,
            setup=setup,
            seeds=range(seeds),
            volume=comparison.volume,
            told=told,
        )
        comparison.engines.append(engine)
    ticker.close()


def _check_targets(targets: Sequence[Path | None]) -> None:
    """Raise ResourceError for a file that could not be written when the simulations are through."""
    for target in targets:
        if target is not None and (target.is_dir() or not target.parent.is_dir()):
            what = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
            raise ResourceError(
                f"{target}: {what}; allowed: a file in a folder that exists. Name another one."
            )


def _new_page() -> Path:
    """Return a page that is not there yet: runs/simulation.html, runs/simulation-2.html, ...

    Raises:
        ResourceError: the folder cannot be made.
    """
    try:
        RUNS.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{RUNS}: cannot be made ({error.strerror}). Name a file with --html.") from error
    names = (f"{PAGE}.html" if number == 1 else f"{PAGE}-{number}.html" for number in itertools.count(1))
    return next(RUNS / name for name in names if not (RUNS / name).exists())
