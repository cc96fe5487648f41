"""Part B: who stops whom, on recorded learning curves of small students.

Candidates come in the same random orders for all schedulers. Compute is what the table's epochs cost; a candidate
counts for hypervolume and front once it was trained to its end.
"""

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, final

from engines.peer_schedulers import PEER_SCHEDULERS, register
from engines.problem import Problem
from engines.tasks import Task
from search.simulator.goals import parse_goals
from search.simulator.rungs import Rungs
from search.simulator.simulation import NONE, Setup, simulate
from search.simulator.table import CurveTable
from spaces.domains import Float

CURVES = Path(__file__).parents[1] / "tables" / "embedded_curves.arrow"
OBJECTIVES = (
    ("max:retention", "min:params[log]"),
    ("max:retention", "min:params[log]", "min:latency_ms[log]"),
)
ORDERS = 5  # of the candidates, for each seed of the benchmark: one order says little, and costs little
WORKERS = (1, 8)
TARGETS = (0.95, 0.98)  # of the final hypervolume without stopping, which is the exact one


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A scheduler with its options.

    Attributes:
        scheduler: its name as a plug-in.
        keep: the best 1 / keep go on; 0 for nobody is stopped.
        rungs: ours; a peer's follow from `keep`.
        quota: no more go on in all, but those that nobody dominates; ours alone has that.
    """

    scheduler: str
    keep: int = 0
    rungs: tuple[int, ...] = ()
    quota: bool = False


CONTENDERS = {
    "no stopping": Contender(scheduler=NONE),
    "**moasha**, rungs 1 2, best half": Contender(scheduler="moasha", keep=2, rungs=(1, 2)),
    "**moasha**, rungs 1 2, best half, under a quota": Contender(
        scheduler="moasha", keep=2, rungs=(1, 2), quota=True
    ),
    "**moasha**, rungs 1 3, best half": Contender(scheduler="moasha", keep=2, rungs=(1, 3)),
    "**moasha**, rungs 1 3, best third": Contender(scheduler="moasha", keep=3, rungs=(1, 3)),
    "**asha**, quality alone, rungs 1 3, best third": Contender(scheduler="asha", keep=3, rungs=(1, 3)),
    "Ray ASHA, quality alone, best half": Contender(scheduler="ray_asha", keep=2),
    "Ray ASHA, quality alone, best third": Contender(scheduler="ray_asha", keep=3),
    "Syne Tune MOASHA, best half": Contender(scheduler="syne_tune_moasha", keep=2),
    "Syne Tune MOASHA, best third": Contender(scheduler="syne_tune_moasha", keep=3),
}
UNSTOPPED = next(iter(CONTENDERS))


@cache
def curves(path: str, objectives: tuple[str, ...]) -> Problem:
    """Return the recorded table."""
    return Problem.load(path, parse_goals(objectives))


def tasks(seeds: Sequence[int], path: Path) -> list[Task]:
    """Return what there is to run."""
    return [
        Task((str(path), objectives, workers, name, order), run)
        for objectives in OBJECTIVES
        for workers in WORKERS
        for name in CONTENDERS
        for order in range(ORDERS * len(seeds))
    ]


def run(path: str, objectives: tuple[str, ...], workers: int, name: str, order: int) -> dict[str, Any]:
    """Return when which hypervolume was reached, and the final figures."""
    register()
    problem, contender = curves(path, objectives), CONTENDERS[name]
    options: dict[str, int] = {"reduction_factor": contender.keep} if contender.keep else {}
    if contender.quota:
        options["quota"] = True
    rungs = contender.rungs
    if contender.scheduler in PEER_SCHEDULERS:
        options["max_epochs"] = int(problem.table.lengths.max())
        measured = problem.table.epochs[problem.table.measured(problem.goals)]
        rungs = tuple(sorted(set(measured.tolist())))[:-1]
    setup = Setup(
        searcher="random",
        scheduler=contender.scheduler,
        scheduler_options=options,
        rungs=Rungs.parse(rungs) if rungs else None,
        workers=workers,
        seed=order,
    )
    trace = simulate(_shuffled(problem.table, order), problem.goals, setup=setup)
    finished = [event.candidate_id for event in trace.finished]
    full = problem.table.full_compute
    return {
        "compute": [event.compute / full for event in trace.finished],
        "shares": [problem.volume.share(finished[: number + 1]) for number in range(len(finished))],
        "used": trace.compute / full,
        "finished": len(finished),
        "front": problem.volume.front_share(finished),
    }


def _shuffled(table: CurveTable, order: int) -> CurveTable:
    """Return the table with one searched value, each candidate's place in a random order.

    Random points among the students' own values would not come in an even order: the nearest candidate to such a
    point is seldom one at the rim of the space, and those at the rim would come last.
    """
    places = random.Random(order).sample(range(len(table)), len(table))
    return replace(
        table,
        fields={"place": Float(low=0.0, high=float(len(table)))},
        values=[{"place": place + 0.5} for place in places],
        conditions={},
    )


Runs = Mapping[tuple[Any, ...], Mapping[str, Any]]


def summarise(results: Runs, seeds: Sequence[int], path: Path) -> dict[str, Any]:
    """Return for each set of objectives: workers -> contender -> figures over the orders."""
    orders = range(ORDERS * len(seeds))
    found = []
    for objectives in OBJECTIVES:
        problem = curves(str(path), objectives)
        entry: dict[str, Any] = {"objectives": list(objectives), "front_size": problem.volume.front_size}
        for workers in WORKERS:
            rows = {
                name: [results[str(path), objectives, workers, name, order] for order in orders]
                for name in CONTENDERS
            }
            entry[str(workers)] = {name: _figures(rows[name], rows[UNSTOPPED]) for name in CONTENDERS}
        found.append(entry)
    return {"candidates": len(curves(str(path), OBJECTIVES[0]).table), "orders": len(orders), "sets": found}


def _figures(own: Sequence[Mapping[str, Any]], unstopped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one contender beside those of no stopping."""
    found: dict[str, Any] = {
        "used": statistics.fmean(one["used"] for one in own),
        "finished": statistics.fmean(one["finished"] for one in own),
        "final": _spread(one["shares"][-1] for one in own),
        "front": _spread(one["front"] for one in own),
        "curves": {
            "compute": [_rounded(one["compute"]) for one in own],
            "shares": [_rounded(one["shares"]) for one in own],
        },
    }
    for target in TARGETS:
        compute = [_reached(one, target) for one in own]
        median = statistics.median(compute)
        whole = statistics.median(_reached(one, target) for one in unstopped)
        found[f"to_{target}"] = {
            "reached": sum(map(math.isfinite, compute)),
            "ratio": median / whole if math.isfinite(median) else None,
        }
    return found


def _reached(one: Mapping[str, Any], target: float) -> float:
    """Return the compute at which a share of the hypervolume is reached first, infinite if it never is."""
    pairs = zip(one["compute"], one["shares"], strict=True)
    return next((compute for compute, share in pairs if share >= target), math.inf)


def _spread(values: Iterable[float]) -> dict[str, float]:
    """Return mean and standard deviation."""
    listed = list(values)
    return {"mean": statistics.fmean(listed), "std": statistics.pstdev(listed)}


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 5) for value in values]
