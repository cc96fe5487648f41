"""Part B: who stops whom, on recorded learning curves of small students.

Candidates come in the same random order for all schedulers. Compute is what the table's epochs cost; a candidate
counts for hypervolume and front once it was trained to its end.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from engines.peer_schedulers import PEER_SCHEDULERS, register
from engines.problem import Problem
from engines.tasks import Task
from search.simulator.goals import parse_goals
from search.simulator.rungs import Rungs
from search.simulator.simulation import NONE, Setup, simulate

CURVES = Path(__file__).parents[1] / "tables" / "embedded_curves.arrow"
OBJECTIVES = ("max:retention", "min:params[log]", "min:latency_ms[log]")
SCHEDULERS = (NONE, "moasha", "asha", *PEER_SCHEDULERS)
RUNGS = ("1", "3")
REDUCTION = 3
WORKERS = (1, 8)
TARGETS = (0.95, 0.98)  # of the final hypervolume without stopping, which is the exact one


@cache
def curves(path: str) -> Problem:
    """Return the recorded table."""
    return Problem.load(path, parse_goals(OBJECTIVES))


def tasks(seeds: Sequence[int], path: Path) -> list[Task]:
    """Return what there is to run."""
    return [
        Task((str(path), workers, scheduler, seed), run)
        for workers in WORKERS
        for scheduler in SCHEDULERS
        for seed in seeds
    ]


def run(path: str, workers: int, scheduler: str, seed: int) -> dict[str, Any]:
    """Return when which hypervolume was reached, and the final figures."""
    register()
    problem = curves(path)
    options: dict[str, int] = {}
    if scheduler != NONE:
        options["reduction_factor"] = REDUCTION
    if scheduler in PEER_SCHEDULERS:
        options["max_epochs"] = int(problem.table.lengths.max())
    setup = Setup(
        searcher="random",
        scheduler=scheduler,
        scheduler_options=options,
        rungs=Rungs.parse(RUNGS),
        workers=workers,
        seed=seed,
    )
    trace = simulate(problem.table, problem.goals, setup=setup)
    finished = [event.candidate_id for event in trace.finished]
    full = problem.table.full_compute
    return {
        "compute": [event.compute / full for event in trace.finished],
        "shares": [problem.volume.share(finished[: number + 1]) for number in range(len(finished))],
        "used": trace.compute / full,
        "finished": len(finished),
        "front": problem.volume.front_share(finished),
    }


Runs = Mapping[tuple[str, int, str, int], Mapping[str, Any]]


def summarise(results: Runs, seeds: Sequence[int], path: Path) -> dict[str, Any]:
    """Return workers -> scheduler -> figures over the seeds."""
    problem = curves(str(path))
    found: dict[str, Any] = {
        "objectives": list(OBJECTIVES),
        "candidates": len(problem.table),
        "front_size": problem.volume.front_size,
        "rungs": list(RUNGS),
        "reduction_factor": REDUCTION,
    }
    for workers in WORKERS:
        rows = {name: [results[str(path), workers, name, seed] for seed in seeds] for name in SCHEDULERS}
        found[str(workers)] = {name: _figures(rows[name], rows[NONE]) for name in SCHEDULERS}
    return found


def _figures(own: Sequence[Mapping[str, Any]], unstopped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one scheduler beside those of no stopping, seed by seed."""
    found: dict[str, Any] = {
        "used": _spread(one["used"] for one in own),
        "finished": statistics.fmean(one["finished"] for one in own),
        "final": _spread(one["shares"][-1] for one in own),
        "front": _spread(one["front"] for one in own),
        "seeds": {"compute": [one["compute"] for one in own], "shares": [one["shares"] for one in own]},
    }
    for target in TARGETS:
        pairs = [
            (_reached(mine, target), _reached(all_, target))
            for mine, all_ in zip(own, unstopped, strict=True)
        ]
        ratios = [mine / all_ for mine, all_ in pairs if mine is not None and all_ is not None]
        found[f"to_{target}"] = {"reached": len(ratios), **(_spread(ratios) if ratios else {})}
    return found


def _reached(one: Mapping[str, Any], target: float) -> float | None:
    """Return the compute at which a share of the hypervolume is reached first, None if it never is."""
    pairs = zip(one["compute"], one["shares"], strict=True)
    return next((compute for compute, share in pairs if share >= target), None)


def _spread(values: Iterable[float]) -> dict[str, float]:
    """Return mean, standard deviation and the worst two ends."""
    listed = list(values)
    return {
        "mean": statistics.fmean(listed),
        "std": statistics.pstdev(listed),
        "min": min(listed),
        "max": max(listed),
    }
