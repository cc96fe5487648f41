"""One search on a virtual clock: the classes of a real run, a table in place of the training."""

import functools
import heapq
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from analysis.rungs import Decision
from search.candidates.candidate_searcher import CandidateSearcher
from search.candidates.search_plan import SearchPlan
from search.schedulers import SCHEDULERS
from search.searchers import SEARCHERS
from search.simulator.admissions import Neighbours, TableAdmissions
from search.simulator.goals import Goals, directions
from search.simulator.rungs import Rungs, Stations
from search.simulator.table import CurveTable
from spaces.errors import PluginError, TableError
from spaces.plugins import resolve, unknown

NONE = "none"  # the scheduler that stops nobody
RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Who searches, with what.

    Attributes:
        searcher: a name of SEARCHERS; `searcher_options`: fields of its Config.
        scheduler: a name of SCHEDULERS, or "none" to stop nobody; `scheduler_options`: fields of its Config, less the rungs.
        rungs: where candidates are judged; None for those of the table.
        workers: candidates in training at a time.
        seed: of the search.
        compute: the search ends where it would spend more than this; None for no such limit.
        trials: candidates to train; None for as many as the table has.
    """

    searcher: str = "random"
    searcher_options: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = NONE
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    rungs: Rungs | None = None
    workers: int = 1
    seed: int = 0
    compute: float | None = None
    trials: int | None = None

    @property
    def name(self) -> str:
        """What it is called: `evolution + moasha`, or `evolution` where nobody is stopped."""
        return self.searcher if self.scheduler == NONE else f"{self.searcher} + {self.scheduler}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A candidate goes to a worker, at a virtual time, when so much compute was spent in ended epochs."""

    clock: float
    compute: float
    worker: int
    candidate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A candidate ends an epoch: `running`, `finished` (its last one) or `stopped`; `compute` includes this epoch."""

    compute: float
    clock: float
    candidate_id: str
    epoch: int
    status: str


@dataclass(slots=True, kw_only=True)
class Trace:
    """One simulated search, everything in order.

    Attributes:
        decisions: of the scheduler, with each candidate's own epoch; the rung is its number (`Rungs.numbers`).
        proposal_s: real seconds that each candidate took to be proposed, refused proposals included.
        duplicates: proposals refused because their candidate was known.
        compute: spent in ended epochs; what runs when a limit on it is met is not counted.
        clock: virtual time of the last event.
        ended_by: "trials", "exhausted" (nothing new is proposed) or "compute".
    """

    starts: list[Start] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    proposal_s: list[float] = field(default_factory=list)
    duplicates: int = 0
    compute: float = 0.0
    clock: float = 0.0
    ended_by: str = ""

    @property
    def finished(self) -> list[Event]:
        """The events by which candidates were trained to their end."""
        return [event for event in self.events if event.status == FINISHED]

    @property
    def stopped(self) -> list[Event]:
        """The events by which candidates were stopped."""
        return [event for event in self.events if event.status == STOPPED]


def simulate(table: CurveTable, goals: Goals, *, setup: Setup, told: Told | None = None) -> Trace:
    """Return what a search over the table does; the same for the same setup, whatever the number of workers.

    Nothing takes time but training. What is due at one moment is reported in the order in which the candidates
    started; then free workers, the first one first, take candidates. As under Tune, one candidate is always proposed
    ahead: a worker that frees up takes the one that was proposed before.

    Args:
        table: with every goal measured at each candidate's last epoch (`CurveTable.complete`).
        goals: the objectives.
        setup: who searches, with what.
        told: called now and then with the share that is done.

    Raises:
        PluginError: no such searcher or scheduler.
        TableError: what the table cannot answer.
    """
    return _Simulation(table, goals, setup=setup).run(told)


@final
class _Simulation:
    """The state of one simulated search."""

    def __init__(self, table: CurveTable, goals: Goals, *, setup: Setup) -> None:
        table.finals(goals)  # tells what is missing
        check_setup(table, setup)
        self._table, self._setup = table, setup
        self._columns = {goal.name: table.column(goal.name) for goal in goals}
        self._measured = table.measured(goals)
        self._trials = min(setup.trials or len(table), len(table))
        kind = resolve(SEARCHERS, setup.searcher, "searchers")
        proposer = kind(
            kind.Config(**setup.searcher_options),
            table.fields,
            seed=setup.seed,
            objectives=directions(goals),
            conditions=table.conditions,
        )
        admissions = TableAdmissions(table, _neighbours(table), goals=goals, seed=setup.seed)
        plan = SearchPlan(trials=self._trials)
        # a clock that stands still: a search that gives up after a second would not repeat
        self._searcher = CandidateSearcher(proposer, admissions, plan=plan, clock=lambda: 0.0)
        self._judge, self._stations = None, list[Stations]()
        if setup.scheduler != NONE:
            rungs = setup.rungs or Rungs.of(table, goals)
            self._stations = rungs.all_stations(table, goals)
            judge = resolve(SCHEDULERS, setup.scheduler, "schedulers")
            config = judge.Config(**setup.scheduler_options, rungs=rungs.numbers)
            self._judge = judge(config, directions(goals), folder=None)
        self._due: list[tuple[float, int, int, int]] = []  # (when, number of the trial, its worker, row)
        self._idle = list(range(setup.workers))
        self._ready: str | None = None  # the candidate that was proposed ahead
        self._trace = Trace()

    def run(self, told: Told | None) -> Trace:
        """Search to the end."""
        trace = self._trace
        self._hand_out()
        while self._due and not trace.ended_by:
            now = self._due[0][0]
            while self._due and self._due[0][0] == now and not trace.ended_by:
                self._report(*heapq.heappop(self._due))
            if not trace.ended_by:
                self._hand_out()
            if told is not None:
                told(self._share())
        if not trace.ended_by:
            trace.ended_by = self._searcher.ended_by or ""
        trace.duplicates = self._searcher.duplicates
        return trace

    def _hand_out(self) -> None:
        """Give every free worker a candidate, as long as there are any, and have one more proposed."""
        while True:
            self._ready = self._ready or self._proposed()
            if self._ready is None or not self._idle:
                return
            trace, worker = self._trace, heapq.heappop(self._idle)
            start = Start(clock=trace.clock, compute=trace.compute, worker=worker, candidate_id=self._ready)
            self._schedule(
                len(trace.starts), worker, int(self._table.starts[self._table.places[self._ready]])
            )
            trace.starts.append(start)
            self._ready = None

    def _proposed(self) -> str | None:
        """Return the next candidate, None where there is none."""
        trial, before = str(len(self._trace.starts)), time.perf_counter()
        config = None if self._searcher.ended_by else self._searcher.suggest(trial)
        if not isinstance(config, dict):
            return None
        self._trace.proposal_s.append(time.perf_counter() - before)
        return str(config["candidate_id"])

    def _schedule(self, trial: int, worker: int, row: int) -> None:
        """Put the end of an epoch on the clock."""
        heapq.heappush(self._due, (self._trace.clock + float(self._table.costs[row]), trial, worker, row))

    def _report(self, when: float, trial: int, worker: int, row: int) -> None:
        """Let one candidate end an epoch, and go on, stop or finish."""
        trace, limit = self._trace, self._setup.compute
        spent = trace.compute + float(self._table.costs[row])
        if limit is not None and spent > limit * (1 + 1e-9):
            trace.ended_by = "compute"
            return
        trace.clock, trace.compute = when, spent
        candidate_id, epoch = trace.starts[trial].candidate_id, int(self._table.epochs[row])
        place = self._table.places[candidate_id]
        status = FINISHED if row == self._table.ends[place] else RUNNING
        result = self._result(candidate_id, row, status)
        if result is not None and status == RUNNING and self._stops(place, result):
            status = STOPPED
        event = Event(compute=spent, clock=when, candidate_id=candidate_id, epoch=epoch, status=status)
        trace.events.append(event)
        if status != RUNNING:
            self._searcher.on_trial_complete(str(trial), result)
            heapq.heappush(self._idle, worker)
            return
        if result is not None:
            self._searcher.on_trial_result(str(trial), result)
        self._schedule(trial, worker, row + 1)

    def _result(self, candidate_id: str, row: int, status: str) -> dict[str, Any] | None:
        """Return the result row of an epoch, None where not all objectives were measured."""
        if not self._measured[row]:
            return None
        values = {name: float(column[row]) for name, column in self._columns.items()}
        epoch = int(self._table.epochs[row])
        return {"candidate_id": candidate_id, "epoch": epoch, "status": status, "role": "search", **values}

    def _stops(self, place: int, result: Mapping[str, Any]) -> bool:
        """Ask the scheduler about a candidate, at a rung."""
        number = self._stations[place].get(result["epoch"]) if self._judge is not None else None
        if self._judge is None or number is None:
            return False
        decision = self._judge.judge(result["candidate_id"], {**result, "epoch": number})
        if decision is not None:
            self._trace.decisions.append(replace(decision, epoch=result["epoch"]))
        return decision is not None and bool(decision.stopped)

    def _share(self) -> float:
        """Return the share of the search that is done, by trials or by compute."""
        done = (len(self._trace.starts) - self._setup.workers + len(self._idle)) / max(self._trials, 1)
        spent = self._trace.compute / self._setup.compute if self._setup.compute else 0.0
        return min(max(done, spent, 0.0), 1.0)


@functools.lru_cache(maxsize=2)
def _neighbours(table: CurveTable) -> Neighbours:
    """Return the look-up of a table, made once for all simulations over it."""
    return Neighbours(table)


def check_setup(table: CurveTable, setup: Setup) -> None:
    """Raise TableError for what a table cannot answer, PluginError for a plug-in that does not exist."""
    if not table.fields:
        raise TableError(
            f"table {table.name}: no column is searched; allowed: one or more. Name them with --fields."
        )
    if setup.scheduler != NONE and setup.scheduler not in SCHEDULERS:
        raise PluginError(unknown("schedulers", setup.scheduler, (*SCHEDULERS, NONE)))
    if setup.scheduler != NONE and table.final_only:
        raise TableError(
            f"table {table.name}: has final values only, so --scheduler {setup.scheduler} could stop nobody; allowed: "
            "a table with several epochs per candidate. Use --scheduler none."
        )
    for name, value in (("workers", setup.workers), ("trials", setup.trials), ("compute", setup.compute)):
        if value is not None and not 0 < value < math.inf:  # nan, too
            raise TableError(f"--{name}: got {value}; allowed: above 0, and finite. Give a positive number.")
