"""One search on a virtual clock: the classes of a real run, a table in place of the training."""

import functools
import heapq
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from analysis.rungs import STOP
from search.schedulers import SCHEDULERS
from search.schedulers.base import RungScheduler
from search.searchers import SEARCHERS
from search.searchers.candidate_searcher import CandidateSearcher, SearchPlan
from search.simulator.admissions import TableAdmissions
from search.simulator.goals import Goals, directions
from search.simulator.nearest import Neighbours
from search.simulator.rungs import Rungs
from search.simulator.table import CurveTable
from search.simulator.trace import FINISHED, RUNNING, STOPPED, Event, Judgement, Start, Trace
from spaces.errors import PluginError, TableError
from spaces.plugins import resolve, unknown

NONE = "none"  # the scheduler that stops nobody

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Who searches, with what.

    Attributes:
        searcher: a name of SEARCHERS.
        searcher_options: fields of its Config.
        scheduler: a name of SCHEDULERS, or "none" to stop nobody.
        scheduler_options: fields of its Config, without the rungs.
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


def simulate(table: CurveTable, goals: Goals, *, setup: Setup, told: Told | None = None) -> Trace:
    """Return what a search over the table does; the same for the same setup, whatever the number of workers.

    Nothing takes time but training. What is due at one moment is reported in the order in which the candidates
    started; then free workers, the first one first, ask for candidates.

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
        self._names = [goal.name for goal in goals]
        self._columns = [table.column(name) for name in self._names]
        self._measured = table.measured(goals)
        objectives = directions(goals)
        kind = resolve(SEARCHERS, setup.searcher, "searchers")
        proposer = kind(
            kind.Config(**setup.searcher_options),
            table.fields,
            seed=setup.seed,
            objectives=objectives,
            conditions=table.conditions,
        )
        self._trials = min(setup.trials or len(table), len(table))
        admissions = TableAdmissions(table, _neighbours(table), goals=goals, seed=setup.seed)
        # a clock that stands still: a search that gives up after a second would not repeat
        self._searcher = CandidateSearcher(
            proposer, admissions, plan=SearchPlan(trials=self._trials), clock=lambda: 0.0
        )
        self._rungs = Rungs(())
        self._judge: RungScheduler | None = None
        self._stations: list[dict[int, int]] = []
        if setup.scheduler != NONE:
            self._rungs = setup.rungs or Rungs.of(table, goals)
            self._stations = self._rungs.all_stations(table, goals)
            self._judge = _scheduler(setup, objectives, self._rungs)
        self._due: list[tuple[float, int, int, int]] = []  # (when, number of the trial, its worker, row)
        self._idle = list(range(setup.workers))
        self._trace = Trace()

    def run(self, told: Told | None) -> Trace:
        """Search to the end."""
        trace = self._trace
        self._hand_out()
        while self._due and not trace.ended_by:
            now = self._due[0][0]
            while self._due and self._due[0][0] == now and not trace.ended_by:
                self._report(*heapq.heappop(self._due))
            self._hand_out()
            if told is not None:
                told(self._share())
        if not trace.ended_by:
            trace.ended_by = self._searcher.ended_by or ""
            trace.ended_reason = self._searcher.ended_reason
        trace.duplicates = self._searcher.duplicates
        return trace

    def _hand_out(self) -> None:
        """Give every free worker a candidate, as long as there are any."""
        while self._idle and not self._searcher.ended_by and not self._trace.ended_by:
            trial = len(self._trace.starts)
            before = time.perf_counter()
            config = self._searcher.suggest(str(trial))
            self._trace.proposal_s.append(time.perf_counter() - before)
            if not isinstance(config, dict):
                self._trace.proposal_s.pop()
                return
            worker = heapq.heappop(self._idle)
            start = Start(
                clock=self._trace.clock,
                compute=self._trace.compute,
                worker=worker,
                candidate_id=config["candidate_id"],
            )
            self._trace.starts.append(start)
            row = int(self._table.starts[self._table.places[start.candidate_id]])
            self._schedule(trial, worker, row)

    def _schedule(self, trial: int, worker: int, row: int) -> None:
        """Put the end of an epoch on the clock."""
        heapq.heappush(self._due, (self._trace.clock + float(self._table.costs[row]), trial, worker, row))

    def _report(self, when: float, trial: int, worker: int, row: int) -> None:
        """Let one candidate end an epoch, and go on, stop or finish."""
        trace, limit = self._trace, self._setup.compute
        spent = trace.compute + float(self._table.costs[row])
        if limit is not None and spent > limit * (1 + 1e-9):
            trace.ended_by, trace.ended_reason = "compute", f"{trace.compute:g} of {limit:g} spent"
            return
        trace.clock, trace.compute = when, spent
        candidate_id = trace.starts[trial].candidate_id
        place = self._table.places[candidate_id]
        last = row == self._table.starts[place + 1] - 1
        result = self._result(candidate_id, row, last=last)
        status = FINISHED if last else RUNNING
        if result is not None and not last and self._stops(place, result):
            status = STOPPED
        trace.events.append(
            Event(
                compute=spent,
                clock=when,
                candidate_id=candidate_id,
                epoch=int(self._table.epochs[row]),
                status=status,
            )
        )
        if status == RUNNING:
            if result is not None:
                self._searcher.on_trial_result(str(trial), result)
            self._schedule(trial, worker, row + 1)
        else:
            self._searcher.on_trial_complete(str(trial), result)
            heapq.heappush(self._idle, worker)

    def _result(self, candidate_id: str, row: int, *, last: bool) -> dict[str, Any] | None:
        """Return the result row of an epoch, None where not all objectives were measured."""
        if not self._measured[row]:
            return None
        values = {name: float(column[row]) for name, column in zip(self._names, self._columns, strict=True)}
        return {
            "candidate_id": candidate_id,
            "epoch": int(self._table.epochs[row]),
            "status": FINISHED if last else RUNNING,
            "role": "search",
            **values,
        }

    def _stops(self, place: int, result: Mapping[str, Any]) -> bool:
        """Ask the scheduler about a candidate, at a rung."""
        if self._judge is None or result["epoch"] not in self._stations[place]:
            return False
        number = self._stations[place][result["epoch"]]
        decision = self._judge.judge(result["candidate_id"], {**result, "epoch": number})
        if decision is None:
            return False
        self._trace.judgements.append(
            Judgement(
                candidate_id=decision.candidate_id,
                epoch=result["epoch"],
                rung=self._rungs.label(number),
                rank=decision.rank,
                size=decision.size,
                verdict=decision.verdict,
            )
        )
        return decision.verdict == STOP

    def _share(self) -> float:
        """Return the share of the search that is done, by trials or by compute."""
        done = (len(self._trace.starts) - self._setup.workers + len(self._idle)) / max(self._trials, 1)
        spent = self._trace.compute / self._setup.compute if self._setup.compute else 0.0
        return min(max(done, spent, 0.0), 1.0)


@functools.lru_cache(maxsize=2)
def _neighbours(table: CurveTable) -> Neighbours:
    """Return the look-up of a table, made once for all simulations over it."""
    return Neighbours(table)


def _scheduler(setup: Setup, objectives: Mapping[str, str], rungs: Rungs) -> RungScheduler:
    """Return the scheduler; its rungs stay in memory."""
    kind = resolve(SCHEDULERS, setup.scheduler, "schedulers")
    config = kind.Config(**setup.scheduler_options, rungs=rungs.numbers)
    judge: RungScheduler = kind(config, objectives, folder=None)
    return judge


def check_setup(table: CurveTable, setup: Setup) -> None:
    """Raise TableError for what a table cannot answer, PluginError for a plug-in that does not exist."""
    if not table.fields:
        raise TableError(
            f"table {table.name}: no column is searched; allowed: one or more. Name them with --fields."
        )
    if setup.scheduler != NONE:
        if setup.scheduler not in SCHEDULERS:
            raise PluginError(unknown("schedulers", setup.scheduler, (*SCHEDULERS, NONE)))
        if table.final_only:
            raise TableError(
                f"table {table.name}: has final values only, so --scheduler {setup.scheduler} could stop nobody; allowed: "
                "a table with several epochs per candidate. Use --scheduler none."
            )
    for name, value in (("workers", setup.workers), ("trials", setup.trials), ("compute", setup.compute)):
        if value is not None and value <= 0:
            raise TableError(f"--{name}: got {value}; allowed: above 0. Give a positive number.")
