"""Part C: what must never happen, counted."""

import random
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from analysis.rungs import STOP
from engines.peer_schedulers import register
from engines.peer_searchers import PEER_SEARCHERS, PeerSearcher, ScalarisedHyperOpt
from engines.problem import Problem
from engines.proposals import ours
from engines.tasks import Task
from search.schedulers import SCHEDULERS
from search.simulator.goals import Goal
from search.simulator.simulation import Setup, simulate
from spaces.plugins import resolve

CASES = 2000
OTHER_CASES = 500  # of the two properties that are not about the dominating newcomer
RECORDED = (6, 30)  # candidates at the rung before the newcomer
REDUCTION = 3
WAYS = {"retention": "max", "params": "min", "latency_ms": "min"}
STOPPERS = {"moasha": "**moasha**", "syne_tune_moasha": "Syne Tune MOASHA"}

# 4 x 4 x 3 x 3 x 3 = 432 configurations
SMALL_SPACE: dict[str, tuple[float, ...]] = {
    "width": (0.25, 0.5, 0.75, 1.0),
    "depth": (2, 4, 6, 8),
    "fusion": (1, 2, 3),
    "temperature": (1, 2, 4),
    "rate": (0.0005, 0.001, 0.002),
}
SMALL_GOALS = (Goal("error", "min"), Goal("params", "min"))
PROPOSALS = 200
PLAIN = "HyperOptSearch, error alone"
REPEATING = (*ours(), *PEER_SEARCHERS, PLAIN)


def tasks(seeds: Sequence[int]) -> list[Task]:
    """Return what there is to run."""
    return [
        *(Task(("newcomers", name, 0), newcomers) for name in STOPPERS),
        *(Task(("repeats", name, seed), repeats) for name in REPEATING for seed in seeds),
    ]


def newcomers(_: str, name: str, seed: int) -> dict[str, float]:
    """Return shares of cases in which a scheduler errs on a newcomer at a rung of random candidates."""
    rng = random.Random(seed)
    stopped = spared = flipped = 0
    for case in range(CASES):
        recorded = [[rng.random() for _ in WAYS] for _ in range(rng.randint(*RECORDED))]
        best = [min(column) - 0.01 for column in zip(*recorded, strict=True)]
        stopped += _verdict(name, recorded, best) == STOP
        if case < OTHER_CASES:
            worst = [max(column) + 0.01 for column in zip(*recorded, strict=True)]
            spared += _verdict(name, recorded, worst) != STOP
            usual = [rng.random() for _ in WAYS]
            shuffled = rng.sample(recorded, len(recorded))
            flipped += _verdict(name, recorded, usual) != _verdict(name, shuffled, usual)
    return {
        "dominating_stopped": stopped / CASES,
        "worst_spared": spared / OTHER_CASES,
        "order_matters": flipped / OTHER_CASES,
    }


def _verdict(name: str, recorded: Sequence[Sequence[float]], newcomer: Sequence[float]) -> str:
    """Return what a scheduler decides on the last of these candidates at its first rung."""
    register()
    kind = resolve(SCHEDULERS, name, "schedulers")
    scheduler = kind(kind.Config(rungs=(1, 3), reduction_factor=REDUCTION), WAYS, folder=None)
    verdict = ""
    for number, point in enumerate((*recorded, newcomer)):
        signed = {n: -v if way == "max" else v for (n, way), v in zip(WAYS.items(), point, strict=True)}
        decision = scheduler.judge(str(number), {"candidate_id": str(number), "epoch": 1, **signed})
        verdict = decision.verdict
    return verdict


def repeats(_: str, name: str, seed: int) -> float:
    """Return the share of proposals that had been proposed before."""
    problem = _small_problem()
    if name in ours():
        trace = simulate(
            problem.table, problem.goals, setup=Setup(searcher=name, trials=PROPOSALS, seed=seed)
        )
        ids = [start.candidate_id for start in trace.starts]
    else:
        searcher = _peer(name, problem, seed)
        ids = []
        for _number in range(PROPOSALS):
            place = problem.place(searcher.ask())
            searcher.tell(place)
            ids.append(problem.table.ids[place])
    assert len(ids) == PROPOSALS
    return 1 - len(set(ids)) / len(ids)


def _peer(name: str, problem: Problem, seed: int) -> PeerSearcher:
    """Return the searcher of another tool."""
    if name != PLAIN:
        return PEER_SEARCHERS[name](problem, seed)
    alone = Problem(problem.table, SMALL_GOALS[:1])
    return ScalarisedHyperOpt(alone, seed=seed, maximum=False, whole_history=False)


@cache
def _small_problem() -> Problem:
    """Return a table of 432 students with smooth made-up errors, as a user would write it."""
    rows: list[dict[str, float]] = [{}]
    for path, options in SMALL_SPACE.items():
        rows = [{**row, path: option} for row in rows for option in options]
    lines = [",".join(["candidate_id", "epoch", "epoch_cost", "error", "params", *SMALL_SPACE])]
    for number, row in enumerate(rows):
        error = 40 / (1 + row["width"] * row["depth"]) + 3 * abs(row["temperature"] - 2)
        error += 1000 * abs(row["rate"] - 0.001) + 2 / row["fusion"]
        params = row["width"] ** 2 * (row["depth"] + 0.5 * row["fusion"])
        lines.append(",".join(map(str, [f"c{number:03}", 1, 1, error, params, *row.values()])))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.csv"
        file.write_text("\n".join(lines), encoding="utf-8")
        return Problem.load(str(file), SMALL_GOALS, fields=tuple(SMALL_SPACE))


def summarise(results: Mapping[tuple[str, str, int], Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the shares by scheduler, and the mean share of repeats by searcher."""
    return {
        "newcomers": {name: results["newcomers", name, 0] for name in STOPPERS},
        "repeats": {
            name: sum(results["repeats", name, seed] for seed in seeds) / len(seeds) for name in REPEATING
        },
    }
