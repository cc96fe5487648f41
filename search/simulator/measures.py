"""What simulated searches reached: hypervolume over compute, the share of the exact front, and what that cost."""

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import moocore
import numpy as np

from analysis.figures.anytime import LEVELS, quantile
from search.simulator.goals import Goals
from search.simulator.simulation import Setup, Trace, simulate
from search.simulator.table import CurveTable

REFERENCE = 1.1
TOLERANCE = 1e-9  # of a share: rounding in the last digits is no missing share
POINTS = 200  # of a curve, evenly spaced in the logarithm of compute
EARLIEST = 1000.0  # what comes before a thousandth of the compute is not drawn


@final
class Volume:
    """Hypervolume and front of a table's final values (Zitzler and Thiele 1999, doi 10.1109/4235.797969).

    Each objective is scaled to [0, 1] by its smallest and largest final value of the whole table, all to be minimised;
    the reference point is 1.1 in each. A candidate counts once it was trained to its end.

    Attributes:
        table, goals: what it is of.
        exact: hypervolume of the whole table.
        front_size: different points of the exact front; candidates with the same final values are one point.
        front_ids: all candidates on it.
    """

    def __init__(self, table: CurveTable, goals: Goals) -> None:
        """Work out the exact front.

        Raises:
            TableError: a goal that the table cannot answer.
        """
        finals = table.finals(goals)
        span = np.ptp(finals, axis=0)
        self.table, self.goals, self._places = table, goals, table.places
        self._points = (finals - finals.min(axis=0)) / np.where(span > 0, span, 1.0)
        distinct, owners = np.unique(finals, axis=0, return_inverse=True)
        owners = owners.reshape(-1)
        on_front = moocore.is_nondominated(distinct)
        self._front_point = np.where(on_front[owners], owners, -1)
        self.front_size = int(on_front.sum())
        self.front_ids = tuple(one for one, place in self._places.items() if self._front_point[place] >= 0)
        self.exact = self.of(table.ids)

    def of(self, ids: Iterable[str]) -> float:
        """Return the hypervolume of candidates, 0 for none."""
        points = self._points[[self._places[one] for one in ids]]
        return float(moocore.hypervolume(points, ref=[REFERENCE] * points.shape[1])) if len(points) else 0.0

    def share(self, ids: Iterable[str]) -> float:
        """Return the hypervolume of candidates as a share of the exact one."""
        return self.of(ids) / self.exact

    def front_share(self, ids: Iterable[str]) -> float:
        """Return the share of the exact front's points that candidates stand on."""
        return len({int(self._front_point[self._places[one]]) for one in ids} - {-1}) / self.front_size


@final
class Anytime:
    """The share of the exact hypervolume that a search has reached at any compute.

    It only changes where a candidate is trained to its end, and never falls, so each question is answered by a search
    among the ends; what was asked before is kept.
    """

    def __init__(self, trace: Trace, volume: Volume) -> None:
        """Take the candidates that the search trained to their end."""
        self._volume = volume
        self._ids = [event.candidate_id for event in trace.finished]
        self._compute = [event.compute for event in trace.finished]
        self._known: dict[int, float] = {0: 0.0}

    @property
    def first(self) -> float:
        """The compute at which the first candidate was finished, infinite if none was."""
        return self._compute[0] if self._compute else math.inf

    def at(self, compute: float) -> float:
        """Return the share that is reached when so much is spent."""
        return self.after(bisect.bisect_right(self._compute, compute))

    def after(self, finished: int) -> float:
        """Return the share that the first so many finished candidates reach."""
        if finished not in self._known:
            self._known[finished] = self._volume.share(self._ids[:finished])
        return self._known[finished]

    def compute_to(self, share: float) -> float:
        """Return the compute at which a share is reached, infinite where it never is."""
        counts = range(len(self._ids) + 1)
        found = bisect.bisect_left(counts, share - TOLERANCE, key=self.after)
        return self._compute[found - 1] if 0 < found < len(counts) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One search in numbers.

    Attributes:
        hypervolume: of the candidates trained to their end; `share`: the same as a share of the exact one.
        front_found: share of the exact front's points that were found and trained to their end.
        compute: spent in ended epochs; `clock`: virtual time that the search took.
        compute_to: share of the exact hypervolume -> compute at which it was reached, infinite if never.
        trials: candidates handed out; some of them may still have been training at the end.
        duplicates: proposals refused because their candidate was known.
        proposal_ms: median real time of a proposal; proposal_ms_late: of the last tenth of them.
        ended_by: trials, exhausted or compute.
    """

    seed: int
    hypervolume: float
    share: float
    front_found: float
    compute: float
    clock: float
    compute_to: dict[float, float]
    trials: int
    finished: int
    stopped: int
    duplicates: int
    proposal_ms: float
    proposal_ms_late: float
    ended_by: str


def measure(trace: Trace, volume: Volume, *, seed: int, anytime: Anytime) -> Measures:
    """Return the numbers of one search."""
    ids = [event.candidate_id for event in trace.finished]
    share = anytime.after(len(ids))
    late = trace.proposal_s[-max(len(trace.proposal_s) // 10, 1) :]
    return Measures(
        seed=seed,
        hypervolume=share * volume.exact,
        share=share,
        front_found=volume.front_share(ids),
        compute=trace.compute,
        clock=trace.clock,
        compute_to={level: anytime.compute_to(level) for level in LEVELS},
        trials=len(trace.starts),
        finished=len(ids),
        stopped=len(trace.stopped),
        duplicates=trace.duplicates,
        proposal_ms=_median_ms(trace.proposal_s),
        proposal_ms_late=_median_ms(late),
        ended_by=trace.ended_by,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A searcher with a scheduler, and what it did under several seeds.

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
        """The engine for the user."""
        return self.setup.name


def simulate_seeds(
    volume: Volume, *, setup: Setup, seeds: Sequence[int], told: Callable[[int, float], None]
) -> Engine:
    """Return what an engine does under several seeds, one after the other.

    Args:
        volume: of the table that is searched, under its goals.
        setup: its seed is not looked at.
        seeds: of the searches.
        told: called now and then with the place of a seed and the share of its search that is done.
    """
    runs, curves = [], []
    for place, seed in enumerate(seeds):
        trace = simulate(
            volume.table, volume.goals, setup=replace(setup, seed=seed), told=partial(told, place)
        )
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


def _median_ms(seconds: Sequence[float]) -> float:
    """Return the median in ms."""
    return 1000 * quantile(seconds, 0.5) if seconds else math.nan
