"""Engines: a searcher with a scheduler, simulated under several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from search.simulator.goals import Goals
from search.simulator.measures import Anytime, Measures, measure
from search.simulator.simulation import NONE, Setup, simulate
from search.simulator.table import CurveTable
from search.simulator.volume import Volume

POINTS = 200  # of a curve, evenly spaced in the logarithm of compute
EARLIEST = 1000.0  # what comes before a thousandth of the compute is not drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What one engine did under all seeds.

    Attributes:
        setup: of all of them, but for the seed.
        runs: the numbers of each seed.
        compute: where the curves are read, rising.
        shares: for each seed the share of the exact hypervolume at each of these.
    """

    setup: Setup
    runs: Sequence[Measures]
    compute: Sequence[float]
    shares: Sequence[Sequence[float]]

    @property
    def name(self) -> str:
        """The engine for the user: `evolution + moasha`, or `evolution` where nobody is stopped."""
        return engine_name(self.setup)


def engine_name(setup: Setup) -> str:
    """Return how a setup is called."""
    return setup.searcher if setup.scheduler == NONE else f"{setup.searcher} + {setup.scheduler}"


def simulate_seeds(
    table: CurveTable,
    goals: Goals,
    *,
    setup: Setup,
    seeds: Sequence[int],
    volume: Volume,
    told: Callable[[int, float], None],
) -> Engine:
    """Return what an engine does under several seeds, one after the other.

    Args:
        table: see `simulate`.
        goals: the objectives.
        setup: its seed is not looked at.
        seeds: of the searches.
        volume: of the table and the goals.
        told: called now and then with the place of a seed and the share of its search that is done.
    """
    runs, curves = [], []
    for place, seed in enumerate(seeds):
        trace = simulate(table, goals, setup=replace(setup, seed=seed), told=partial(told, place))
        anytime = Anytime(trace, volume)
        runs.append(measure(trace, volume, seed=seed, anytime=anytime))
        curves.append(anytime)
    compute = _grid(min(one.first for one in curves), max(run.compute for run in runs))
    shares = [[one.at(spent) for spent in compute] for one in curves]
    return Engine(setup=setup, runs=runs, compute=compute, shares=shares)


def _grid(first: float, last: float) -> list[float]:
    """Return where the curves are read, from the first finished candidate to the end; nothing if there is none."""
    if first > last:
        return []
    first = max(first, last / EARLIEST)
    grid = np.geomspace(first, last, POINTS)
    grid[0], grid[-1] = first, last  # not a rounding error beside them
    return [float(spent) for spent in np.unique(grid)]
