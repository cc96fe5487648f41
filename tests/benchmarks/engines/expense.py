"""Part D: what our own search costs: proposals, simulated trials, memory. CPU time, which a busy machine does not change."""

import gc
import math
import multiprocessing
import os
import random
import resource
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engines.problem import Problem, nas_bench
from engines.proposals import ours
from engines.tasks import Task
from search.searchers import SEARCHERS
from search.searchers.base import Outcome, Proposer
from search.simulator.goals import Goal
from search.simulator.simulation import NONE, Setup, simulate
from search.simulator.table import CurveTable
from spaces.domains import Choice, Float, Log
from spaces.load import load_space
from spaces.plugins import resolve

SPACE = Path(__file__).parents[3] / "spaces" / "dlip.yaml"
OBSERVED = (100, 1000, 5000)
OBSERVED_OF_SLOW = (100, 1000)
SLOW = "hyperopt"
TIMED = 25  # proposals timed at each number of observed trials
TRIALS = 5000
CANDIDATES = 6000  # of the made-up table with learning curves
EPOCHS = (1, 3, 9)
SIMULATED = (("random", NONE), ("evolution", NONE), ("random", "moasha"), ("evolution", "moasha"))
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20


def tasks() -> list[Task]:
    """Return what there is to run."""
    proposing = [Task(("propose", name), propose) for name in ours()]
    simulating = [
        Task(("simulate", f"{searcher} {scheduler}"), simulate_many)
        for searcher, scheduler in SIMULATED
        if searcher in SEARCHERS
    ]
    return [*proposing, *simulating]


def propose(_: str, name: str) -> dict[str, float]:
    """Return the median CPU milliseconds of a proposal in the full student space, by the number of observed trials."""
    space = load_space(SPACE)
    domains, objectives = space.domains(), dict(space.objectives)
    kind = resolve(SEARCHERS, name, "searchers")
    proposer: Proposer = kind(
        kind.Config(),
        domains,
        seed=0,
        objectives=objectives,
        conditions=space.conditions(),
    )
    rng = random.Random(0)
    counts = OBSERVED_OF_SLOW if name == SLOW else OBSERVED
    spent: dict[str, float] = {}
    recent: list[float] = []
    for index in range(counts[-1] + 1):
        before = time.process_time()
        values = proposer.propose(index)
        recent.append(time.process_time() - before)
        if index in counts:
            spent[str(index)] = 1e3 * statistics.median(recent[-TIMED:])
        row = {"epoch": 9, "status": "finished", **{name: rng.lognormvariate(0, 1) for name in objectives}}
        proposer.observe(index, values, Outcome(state="pending", full_epochs=9))
        proposer.observe(index, values, Outcome(state="measured", rows=(row,), full_epochs=9))
    return spent


def simulate_many(_: str, name: str) -> dict[str, float]:
    """Return what TRIALS simulated trials cost, measured in a fresh process for the sake of its memory."""
    searcher, scheduler = name.split()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_simulate, searcher, scheduler).result()


def _simulate(searcher: str, scheduler: str) -> dict[str, float]:
    """Return CPU and wall seconds and the growth of memory of one simulation."""
    problem = nas_bench("cifar10") if scheduler == NONE else _made_up()
    setup = Setup(searcher=searcher, scheduler=scheduler, trials=TRIALS)
    warm = Setup(searcher=searcher, scheduler=scheduler, trials=20)
    simulate(problem.table, problem.goals, setup=warm)  # imports, and the look-up of the table
    gc.collect()
    base = _resident()
    cpu, wall = time.process_time(), time.perf_counter()
    trace = simulate(problem.table, problem.goals, setup=setup)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(trace.starts) == TRIALS, f"only {len(trace.starts)} trials: {trace.ended_reason}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "mib_per_1000": (max(peak, _resident()) - base) / MIB / (TRIALS / 1000),
    }


def _resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@cache
def _made_up() -> Problem:
    """Return a table of learning curves, large enough for TRIALS trials."""
    rng = np.random.default_rng(0)
    width, depth = rng.choice([24, 32, 48, 64, 96], CANDIDATES), rng.choice([1, 2, 3, 4, 6], CANDIDATES)
    rate, share = np.exp(rng.uniform(math.log(5e-4), math.log(3e-3), CANDIDATES)), rng.random(CANDIDATES)
    final = 40 + 12 * np.log(width * depth) - 8 * np.abs(np.log(rate / 1.5e-3)) - 5 * share
    speed = 0.2 + 0.3 / depth
    epochs = np.tile(EPOCHS, CANDIDATES)
    reached = np.repeat(final, 3) * (1 - np.exp(-np.repeat(speed, 3) * epochs))
    params = np.repeat(12.0 * width**2 * depth, 3)
    table = CurveTable(
        name="made up",
        ids=tuple(f"{number:06}" for number in range(CANDIDATES)),
        fields={
            "depth": Choice(options=(1, 2, 3, 4, 6)),
            "rate": Log(low=5e-4, high=3e-3),
            "share": Float(low=0.0, high=1.0),
            "width": Choice(options=(24, 32, 48, 64, 96)),
        },
        values=[
            {"depth": int(d), "rate": float(r), "share": float(s), "width": int(w)}
            for d, r, s, w in zip(depth, rate, share, width, strict=True)
        ],
        starts=np.arange(CANDIDATES + 1) * len(EPOCHS),
        epochs=epochs,
        costs=np.repeat(1.0 + params[::3] / 1e5, 3) * np.tile(np.diff([0, *EPOCHS]), CANDIDATES),
        columns={
            "retention": reached + rng.normal(0, 0.5, len(reached)),
            "params": params,
            "latency_ms": params**0.5,
        },
    )
    return Problem(table, (Goal("retention", "max"), Goal("params", "min"), Goal("latency_ms", "min")))


def summarise(results: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return the figures by searcher, and by searcher and scheduler."""
    return {
        "proposal_ms": {name: figures for (kind, name), figures in results.items() if kind == "propose"},
        "simulated": {name: figures for (kind, name), figures in results.items() if kind == "simulate"},
    }
