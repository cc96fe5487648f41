"""Part A: who proposes best, one candidate at a time, on NAS-Bench-201 where the exact front is known.

A tool that proposes the same candidate again pays for it again: its repeats count as evaluations.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from engines.peer_searchers import PEER_SEARCHERS
from engines.problem import DATA_SETS, Problem, nas_bench
from engines.tasks import Task
from search.searchers import SEARCHERS
from search.simulator.simulation import Setup, simulate

COUNTS = (*range(20, 301, 20), *range(350, 1001, 50))  # evaluations at which the hypervolume is taken
SHOWN = (100, 300, 1000)
EVALUATIONS = 1000
FEWER = 300  # of HyperOptSearch, which gets slow and has shown by then where it stands
SLOW = tuple(name for name in PEER_SEARCHERS if name.startswith("HyperOptSearch"))
PAIRED = 300  # evaluations at which seeds are compared pairwise
FROM = 100  # evaluations from which on a searcher has to beat random search


@final
@dataclass(frozen=True, kw_only=True)
class Search:
    """What one searcher did with one seed.

    Attributes:
        shares: of the exact hypervolume, at COUNTS.
        unique: share of the evaluated candidates that are different ones.
        cpu_ms: of an evaluation: to propose, and to learn from the result.
    """

    shares: list[float | None]
    unique: float
    cpu_ms: float


def ours() -> list[str]:
    """Return the names of our searchers, random search first."""
    return sorted(SEARCHERS, key=lambda name: (name != "random", name))


def engines() -> list[str]:
    """Return the names of all searchers, ours first."""
    return [*ours(), *PEER_SEARCHERS]


def tasks(seeds: Sequence[int], chosen: Sequence[str]) -> list[Task]:
    """Return what there is to run for the chosen searchers."""
    return [
        Task((data_set, engine, seed), run)
        for data_set in DATA_SETS
        for engine in engines()
        if engine in chosen
        for seed in seeds
    ]


def run(data_set: str, engine: str, seed: int) -> dict[str, Any]:
    """Run one searcher with one seed."""
    problem = nas_bench(data_set)
    evaluate = _ours if engine in SEARCHERS else _peer
    evaluate(problem, engine, seed, 1)  # imports, and what is made once for a table
    before = time.process_time()
    ids = evaluate(problem, engine, seed, FEWER if engine in SLOW else EVALUATIONS)
    spent = time.process_time() - before
    return asdict(
        Search(
            shares=problem.shares(ids, COUNTS),
            unique=len(set(ids)) / len(ids),
            cpu_ms=1e3 * spent / len(ids),
        )
    )


def _ours(problem: Problem, engine: str, seed: int, evaluations: int) -> list[str]:
    """Return the candidates in the order of their evaluation."""
    setup = Setup(searcher=engine, trials=evaluations, seed=seed)
    return [event.candidate_id for event in simulate(problem.table, problem.goals, setup=setup).finished]


def _peer(problem: Problem, engine: str, seed: int, evaluations: int) -> list[str]:
    """Return the same for a searcher of another tool."""
    searcher = PEER_SEARCHERS[engine](problem, seed)
    ids = []
    for _ in range(evaluations):
        place = problem.place(searcher.ask())
        searcher.tell(place)
        ids.append(problem.table.ids[place])
    return ids


Runs = Mapping[tuple[str, str, int], Mapping[str, Any]]


def summarise(results: Runs, seeds: Sequence[int]) -> dict[str, Any]:
    """Return data set -> searcher -> figures over the seeds."""
    found: dict[str, Any] = {}
    for data_set in DATA_SETS:
        rows = {
            engine: [results[data_set, engine, seed] for seed in seeds]
            for engine in engines()
            if all((data_set, engine, seed) in results for seed in seeds)
        }
        found[data_set] = {engine: _figures(engine, rows) for engine in rows}
    return found


def store(results: Runs) -> list[dict[str, Any]]:
    """Return the runs as JSON takes them."""
    return [{"key": list(key), **one} for key, one in results.items()]


def restore(stored: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Return the runs that were stored."""
    return {(str(one["key"][0]), str(one["key"][1]), int(one["key"][2])): one for one in stored}


def _figures(engine: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the figures of one searcher on one data set."""
    own = rows[engine]
    means = _means(own)
    found = {
        "counts": list(COUNTS),
        "mean": means,
        "std": [statistics.pstdev(column) if column else None for column in _columns(own)],
        "unique": statistics.fmean(one["unique"] for one in own),
        "cpu_ms": statistics.fmean(one["cpu_ms"] for one in own),
        "behind": {
            name: sum(_paired(theirs) > _paired(mine) for mine, theirs in zip(own, rows[name], strict=True))
            for name in ours()
            if name in rows and name != engine
        },
    }
    if "random" in rows:
        pairs = zip(COUNTS, means, _means(rows["random"]), strict=True)
        found["behind_random_at"] = [
            count
            for count, mean, random in pairs
            if count >= FROM and mean is not None and random is not None and mean < random
        ]
    return found


def _columns(own: Sequence[Mapping[str, Any]]) -> list[tuple[float, ...]]:
    """Return the shares at each count, over the seeds; none where the searcher went not so far."""
    columns = zip(*(one["shares"] for one in own), strict=True)
    return [column if None not in column else () for column in columns]


def _means(own: Sequence[Mapping[str, Any]]) -> list[float | None]:
    return [statistics.fmean(column) if column else None for column in _columns(own)]


def _paired(one: Mapping[str, Any]) -> float:
    """Return the share that seeds are compared by."""
    share: float = one["shares"][COUNTS.index(PAIRED)]
    return share
